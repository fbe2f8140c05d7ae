"""Connections of strangers that do nothing, over real sockets: they give way, and health is answered."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from brokerpool.gateway import server
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.rest import http_connection as connections
from brokerpool.gateway.server import Gateway
from tests.gateway_client import KEY, gateway
from tests.http_server import AUTHORITY
from tests.rehearsal import until
from tests.unit.test_gateway_tls import written

MOST, SPARE = 6, 4
LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "SPARE", SPARE)


Opened = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Crowd:
    """Opens connections, and closes them all at the end."""

    def __init__(self, served_by: Gateway, tls: ssl.SSLContext | None) -> None:
        self._port = int(served_by.http_url.rpartition(":")[2])
        self._tls = tls
        self.opened: list[Opened] = []

    async def open(
        self,
        sent: bytes = b"",
        *,
        from_address: str = "127.0.0.1",
        plain: bool = False,
        reads: bool = True,
    ) -> Opened:
        tls = None if plain else self._tls
        sock = socket.create_connection(("127.0.0.1", self._port), source_address=(from_address, 0))
        if not reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader, writer = await asyncio.open_connection(
            sock=sock, ssl=tls, server_hostname="localhost" if tls else None
        )
        if not reads:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(sent)
        self.opened.append((reader, writer))
        return reader, writer

    async def close(self) -> None:
        for _, writer in self.opened:
            writer.transport.abort()


@asynccontextmanager
async def crowded(folder: Path | None = None, **environ: str) -> AsyncIterator[tuple[Gateway, Crowd, Any]]:
    """Give a gateway with few places, a crowd, and what asks it as a probe and a program do."""
    trusted = AUTHORITY.trusted() if folder is not None else None
    tls = written(folder, *AUTHORITY.pair()) if folder is not None else {}
    async with gateway(**{"BROKERPOOL_MAX_CLIENTS": str(MOST), **tls, **environ}) as (_, served_by):
        crowd = Crowd(served_by, trusted)

        async def ask(path: str) -> tuple[int, Any]:
            connector = aiohttp.TCPConnector(ssl=trusted or False, force_close=True)
            async with asyncio.timeout(5), aiohttp.ClientSession(connector=connector) as http:
                if path == "ping":
                    url = f"{served_by.http_url}/api/v1/ping"
                    async with http.post(url, json={"apikey": KEY}) as answer:
                        return answer.status, await answer.json()
                async with http.get(served_by.http_url + path) as answer:
                    return answer.status, dict(answer.headers)

        try:
            yield served_by, crowd, ask
        finally:
            await crowd.close()


async def ended(opened: Opened) -> bool:
    """Return whether the gateway ends a connection within two seconds."""
    try:
        async with asyncio.timeout(2):
            while await opened[0].read(2**16):
                pass
    except TimeoutError:
        return False
    except (ConnectionError, ssl.SSLError):
        pass
    return True


HALF_BODY = (
    b"POST /api/v1/ping HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 100\r\n\r\n{"apikey":'
)
IDLERS = {
    "nothing was sent": b"",
    "half a head": b"GET /health/live HTTP/1.1\r\nHost: loc",
    "half a body": HALF_BODY,
    "idle after an answer": LIVE,
    "half a head after an answer": LIVE + b"GET /",
    "a body that nobody wants": b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
}


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the warnings, but for those of the gateway's own health: a busy machine, a certificate's end."""
    return [r for r in caplog.records if r.levelno >= logging.WARNING and r.module != "process_health"]


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("kind", IDLERS)
def test_however_a_connection_idles_it_gives_way_and_health_and_programs_are_answered(
    tmp_path: Path, kind: str, over_tls: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with crowded(tmp_path if over_tls else None) as (_, crowd, ask):
            for _ in range(MOST + SPARE + 3):
                await crowd.open(IDLERS[kind])
            for path in ("/health/live", "/health/ready", "ping", "/stats"):
                assert (await ask(path))[0] == 200, path
            assert await ended(crowd.opened[0]), "the one that has waited longest"

    asyncio.run(main())
    assert not complaints(caplog)


def test_tls_handshakes_that_never_finish_or_fail_hold_no_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with crowded(tmp_path) as (served_by, crowd, ask):
            for _ in range(3 * (MOST + SPARE)):
                await crowd.open(plain=True)
            for hello in (b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", b"\0" * 100):
                await crowd.open(hello, plain=True)
            assert (await ask("/health/live"))[0] == 200
            assert (await ask("ping"))[0] == 200
            assert await ended(crowd.opened[0])
            assert await ended(crowd.opened[-1]), "what is no TLS is freed at once"
            monkeypatch.setattr(connections, "HANDSHAKE_SECONDS", 0.2)
            assert await ended(await crowd.open(plain=True))
            await crowd.close()
            assert served_by._rest is not None
            held = served_by._rest._slots
            await until(lambda: not len(held))

    asyncio.run(main())
    assert not complaints(caplog)


def test_who_leaves_many_open_loses_those_and_nobody_elses() -> None:
    async def main() -> None:
        async with crowded() as (_, crowd, ask):
            mine = await crowd.open(LIVE, from_address="127.0.0.2")
            await mine[0].readuntil(b"}")
            for _ in range(5 * (MOST + SPARE)):
                await crowd.open(LIVE)
            assert (await ask("/health/live"))[0] == 200
            mine[1].write(LIVE)
            assert await mine[0].readuntil(b"}"), "open since before all of them"

    asyncio.run(main())


def test_each_step_of_a_request_has_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr("brokerpool.gateway.rest.admission.BODY_SECONDS", 0.3)

    async def main() -> None:
        async with crowded() as (_, crowd, _):
            resting = await crowd.open(LIVE)
            await resting[0].readuntil(b"}")
            for kind in ("nothing was sent", "half a head", "half a body", "half a head after an answer"):
                opened = await crowd.open(IDLERS[kind])

                async def drip(opened: Opened = opened) -> None:
                    while not opened[1].is_closing():
                        opened[1].write(b" ")
                        await asyncio.sleep(0.05)

                dripping = asyncio.create_task(drip()) if IDLERS[kind] else None
                assert await ended(opened), kind
                if dripping is not None:
                    dripping.cancel()
            resting[1].write(LIVE)
            assert await resting[0].readuntil(b"}"), "between two requests it may rest"

    asyncio.run(main())


def test_who_does_not_read_gives_way_and_is_cut_off_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    many = b"GET /dashboard/static/vendor/uplot.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 300

    async def main() -> None:
        async with crowded() as (served_by, crowd, ask):
            assert served_by._rest is not None
            held = served_by._rest._slots
            for _ in range(MOST + SPARE):
                await crowd.open(many, reads=False)
            await until(lambda: sum(c._unread for c in held) == MOST + SPARE)
            for path in ("/health/live", "ping", "/stats"):
                assert (await ask(path))[0] == 200
            await crowd.close()
            await until(lambda: not len(held))
            monkeypatch.setattr(connections, "READ_SECONDS", 0.3)
            await crowd.open(many, reads=False)
            await until(lambda: len(held) == 1)
            await until(lambda: not len(held))

    asyncio.run(main())


def test_beyond_the_requests_that_are_answered_at_once_one_more_is_refused_and_health_is_not() -> None:
    async def main() -> None:
        settings = {"BROKERPOOL_ALLOWED_ORIGINS": "https://chart.example"}
        async with crowded(None, **settings) as (served_by, _, ask), aiohttp.ClientSession() as http:
            hold = asyncio.Event()

            async def slow(*_: Any, **__: Any) -> Any:
                await hold.wait()
                raise RuntimeError

            served_by._apis.quotes = slow  # type: ignore[method-assign]
            url, body = (
                f"{served_by.http_url}/api/v1/quotes",
                {"apikey": KEY, "symbol": "INFY", "exchange": "NSE"},
            )
            asked = [asyncio.create_task(http.post(url, json=body)) for _ in range(MOST)]
            assert served_by._rest is not None
            held = served_by._rest._slots
            await until(lambda: held._answered == MOST)
            for path in ("/health", "/health/live"):
                assert (await ask(path))[0] == 200
            async with http.post(url, json=body, headers={"Origin": "https://chart.example"}) as refused:
                assert refused.status == 503
                assert refused.headers["Retry-After"] == "1"
                assert refused.headers["Access-Control-Allow-Origin"] == "https://chart.example"
                told = json.loads(await refused.read())
                assert (told["code"], told["retry_after"]) == ("GATEWAY_BUSY", 1)
            hold.set()
            for answer in await asyncio.gather(*asked):
                assert answer.status == 500
                answer.release()
            assert (await ask("ping"))[0] == 200

    asyncio.run(main())


class Line(asyncio.Transport):
    """A transport that does nothing but end."""

    aborted = False

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default


class Inside(asyncio.Protocol):
    """A server that takes everything."""


def test_the_time_to_read_an_answer_is_not_lengthened_by_a_request_behind_it_nor_that_for_a_body_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 0.1)

    async def main() -> None:
        for reads_again in (False, True):
            connection, line = connections.Connection(ConnectionSlots(1, 1), None), Line()
            connection.inside = Inside()  # type: ignore[assignment]
            connection.connection_made(line)
            with connection.request():
                connection.pause_writing()
                with connection.reading(asyncio.get_running_loop().time() + (0.3 if reads_again else 30)):
                    if reads_again:
                        connection.resume_writing()
                        await asyncio.sleep(0.15)
                        assert not line.aborted, "it reads, and has its time for the body"
                    await until(lambda: line.aborted, 2)  # noqa: B023  (asked within the turn of the loop)

    asyncio.run(main())


def test_what_is_read_of_pipelined_requests_and_not_yet_answered_is_one_read_at_most() -> None:
    many = b"GET /no/such/path HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000

    async def main() -> None:
        async with crowded() as (served_by, crowd, ask):
            assert served_by._rest is not None
            await crowd.open(many)
            most = 0
            for _ in range(400):
                await asyncio.sleep(0)
                most = max([most, *(len(c._held) for c in served_by._rest._slots)])
            assert 0 < most <= 256 * 1024
            assert (await ask("/health/live"))[0] == 200

    asyncio.run(main())
