from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate

import pytest

from brokerpool.transport import (
    DialError,
    Link,
    LinkHandler,
    LinkServer,
    Refusal,
    UpgradeRequest,
    dial,
    serve,
)


class Recorder(LinkHandler):
    """Keeps what it is told, and lets tests wait for it."""

    def __init__(self) -> None:
        self.messages: list[str | bytes] = []
        self.ended: list[tuple[int, str]] = []
        self.link: Link | None = None
        self.changed = asyncio.Event()

    def opened(self, link: Link) -> None:
        self.link = link

    def text(self, message: str) -> None:
        self.messages.append(message)
        self.changed.set()

    def binary(self, message: bytes | memoryview) -> None:
        self.messages.append(bytes(message))
        self.changed.set()

    def closed(self, code: int, reason: str) -> None:
        self.ended.append((code, reason))
        self.changed.set()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def serving(
    accept: Callable[[UpgradeRequest], LinkHandler | Refusal], ping: float = 20.0
) -> AsyncIterator[LinkServer]:
    server = await serve(
        accept,
        "127.0.0.1",
        0,
        max_message_bytes=4096,
        ping_interval=ping,
        ping_timeout=ping,
        handshake_timeout=0.3,
    )
    try:
        yield server
    finally:
        await server.close()


def url(server: LinkServer) -> str:
    return f"ws://127.0.0.1:{server.port}/feed?token=secret-token"


def test_messages_go_both_ways_and_the_request_is_seen() -> None:
    async def main() -> None:
        seen: list[UpgradeRequest] = []
        there, here = Recorder(), Recorder()

        def accept(request: UpgradeRequest) -> LinkHandler:
            seen.append(request)
            return there

        async with serving(accept) as server:
            link = await dial(url(server), here, headers={"X-Kite-Version": "3"})
            link.send_text("hello")
            link.send_binary(b"\x00")
            await there.until(lambda: there.messages == ["hello", b"\x00"])
            assert there.link is not None
            there.link.send_text("back")
            await here.until(lambda: here.messages == ["back"])
            link.close(1000, "done")
            await here.until(lambda: here.ended)
            await there.until(lambda: there.ended == [(1000, "done")])
        assert seen[0].path == "/feed"
        assert seen[0].query == {"token": "secret-token"}
        assert seen[0].headers["X-Kite-Version"] == "3"
        assert len(here.ended) == 1

    asyncio.run(main())


def test_whoever_sends_the_dial_elsewhere_gets_no_credentials_carried_there() -> None:
    async def main() -> None:
        asked: list[UpgradeRequest] = []

        def elsewhere(request: UpgradeRequest) -> Recorder:
            asked.append(request)
            return Recorder()

        async with serving(elsewhere) as stranger:
            away = {"Location": f"ws://127.0.0.1:{stranger.port}/"}
            async with serving(lambda request: Refusal(302, headers=away)) as server:
                with pytest.raises(DialError, match="HTTP 302") as caught:
                    await dial(
                        f"ws://127.0.0.1:{server.port}/?token=t",
                        Recorder(),
                        headers={"Authorization": "token secret"},
                    )
        assert caught.value.status == 302
        assert asked == []

    asyncio.run(main())


def test_a_refusal_tells_status_and_retry_after_and_no_secret() -> None:
    async def main() -> None:
        async with serving(lambda _: Refusal(429, b"slow down", {"Retry-After": "7"})) as server:
            with pytest.raises(DialError) as caught:
                await dial(url(server), Recorder())
        assert (caught.value.status, caught.value.retry_after) == (429, 7.0)
        assert "HTTP 429" in str(caught.value)
        assert "secret-token" not in str(caught.value)

    asyncio.run(main())


@pytest.mark.parametrize("clock_off", [0.0, -400.0, 400.0])
def test_a_refusal_with_a_date_is_judged_by_the_servers_own_clock(clock_off: float) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        now = time.time() + clock_off
        head = [
            "HTTP/1.1 429 Too Many Requests",
            f"Date: {formatdate(now, usegmt=True)}",
            f"Retry-After: {formatdate(now + 25, usegmt=True)}",
            "Content-Length: 0",
        ]
        writer.write("\r\n".join([*head, "", ""]).encode())
        await writer.drain()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        async with server:
            with pytest.raises(DialError) as caught:
                await dial(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", Recorder())
        assert caught.value.status == 429
        assert caught.value.retry_after == pytest.approx(25, abs=1)

    asyncio.run(main())


async def _hang_up_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _talk_nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"\x00\xff garbage\r\n\r\n")
    await writer.drain()
    writer.close()


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (_hang_up_at_once, "closed the connection during the handshake"),
        (_talk_nonsense, "not a WebSocket handshake"),
    ],
)
def test_a_server_that_is_no_websocket_server_gives_a_clear_error(answer: Answer, text: str) -> None:
    async def main() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            with pytest.raises(DialError, match=text):
                await dial(f"ws://127.0.0.1:{port}/", Recorder())

    asyncio.run(main())


def test_nobody_listening_gives_a_clear_error() -> None:
    async def main() -> None:
        async with serving(lambda _: Recorder()) as server:
            gone = url(server)
        with pytest.raises(DialError, match="cannot be reached"):
            await dial(gone, Recorder())

    asyncio.run(main())


@asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[int, asyncio.Queue[bool]]]:
    """Accepts TCP and never answers; the queue tells True for a connection and False for its end."""
    events: asyncio.Queue[bool] = asyncio.Queue()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events.put_nowait(True)
        await reader.read(-1)
        events.put_nowait(False)
        writer.close()

    server = await asyncio.start_server(swallow, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], events


def test_a_handshake_that_is_never_answered_ends_in_time_and_leaves_no_socket() -> None:
    async def main() -> None:
        async with mute_server() as (port, events):
            with pytest.raises(DialError, match=r"within 0\.2 s"):
                await dial(f"ws://127.0.0.1:{port}/", Recorder(), timeout=0.2)
            async with asyncio.timeout(2):
                assert [await events.get(), await events.get()] == [True, False]

    asyncio.run(main())


def test_a_cancelled_dial_leaves_no_socket() -> None:
    async def main() -> None:
        async with mute_server() as (port, events):
            dialling = asyncio.create_task(dial(f"ws://127.0.0.1:{port}/", Recorder(), timeout=30))
            async with asyncio.timeout(2):
                assert await events.get() is True
                dialling.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await dialling
                assert await events.get() is False

    asyncio.run(main())


def test_a_client_that_does_not_answer_pings_is_closed() -> None:
    async def main() -> None:
        there = Recorder()
        async with serving(lambda _: there, ping=0.1) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_handshake(server.port))
            await reader.readuntil(b"\r\n\r\n")
            assert (await reader.readexactly(2))[0] == 0x89, "a ping"
            assert (await reader.readexactly(2))[0] == 0x88, "a close frame, for no pong came"
            writer.close()
            await there.until(lambda: there.ended)
            assert there.ended[0][0] == 1011

    asyncio.run(main())


def test_a_client_that_answers_pings_stays() -> None:
    async def main() -> None:
        there, here = Recorder(), Recorder()
        async with serving(lambda _: there, ping=0.05) as server:
            link = await dial(url(server), here)
            await asyncio.sleep(0.4)  # eight rounds of ping and pong
            link.send_text("still here")
            await there.until(lambda: there.messages == ["still here"])
            link.abort()
            await there.until(lambda: there.ended == [(1006, "connection lost")])

    asyncio.run(main())


def test_a_handshake_that_trickles_in_is_ended_by_its_deadline() -> None:
    async def main() -> None:
        async with serving(lambda _: Recorder()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET / HTTP/1.1\r\n")
            async with asyncio.timeout(2):
                assert await reader.read(-1) == b""
            writer.close()

    asyncio.run(main())


def _handshake(port: int, connection: str = "Upgrade") -> bytes:
    return (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: {connection}\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


@pytest.mark.parametrize("connection", ["Upgrade", "upgrade", "keep-alive, Upgrade", "keep-alive,upgrade"])
def test_browsers_and_proxies_may_name_more_than_upgrade(connection: str) -> None:
    async def main() -> None:
        async with serving(lambda _: Recorder()) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_handshake(server.port, connection))
            assert (await reader.readline()).split()[1] == b"101"
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("fragments", [1, 3])
def test_a_message_above_the_limit_is_refused_with_1009(fragments: int) -> None:
    async def main() -> None:
        there = Recorder()
        async with serving(lambda _: there) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_handshake(server.port))
            await reader.readuntil(b"\r\n\r\n")
            for n in range(fragments):
                opcode = (0 if n else 1) | (0x80 if n == fragments - 1 else 0)
                size = 6000 // fragments
                writer.write(bytes((opcode, 0xFE)) + size.to_bytes(2, "big") + bytes(4) + b"x" * size)
            head = await reader.readexactly(2)
            assert head[0] == 0x88
            assert int.from_bytes((await reader.readexactly(2)), "big") == 1009
            writer.close()
            await there.until(lambda: there.ended)
            assert there.messages == []

    asyncio.run(main())


def test_closing_the_server_tells_every_client_and_takes_bounded_time_also_when_one_does_not_read() -> None:
    async def main() -> None:
        polite = Recorder()
        async with serving(lambda _: Recorder()) as server:
            await dial(url(server), polite)
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_handshake(server.port))
            await reader.readuntil(b"\r\n\r\n")
            began = asyncio.get_running_loop().time()
            await server.close(1001, "back soon")
            assert asyncio.get_running_loop().time() - began < 3.5
            assert polite.ended == [(1001, "back soon")]
            assert server.links == 0
            writer.close()

    asyncio.run(main())


def test_a_handler_that_raises_closes_its_own_link_only(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Recorder):
        def text(self, message: str) -> None:
            raise RuntimeError("a bug")

    async def main() -> None:
        handlers = [Broken(), Recorder()]
        accepted = iter(handlers)
        async with serving(lambda _: next(accepted)) as server:
            first, second = Recorder(), Recorder()
            broken = await dial(url(server), first)
            healthy = await dial(url(server), second)
            broken.send_text("x")
            healthy.send_text("y")
            await first.until(lambda: first.ended)
            assert first.ended[0][0] == 1011
            await handlers[1].until(lambda: handlers[1].messages == ["y"])
            healthy.abort()

    with caplog.at_level(logging.CRITICAL, "brokerpool"):
        asyncio.run(main())
