"""Dials, calls and the instrument list through real proxies and from real addresses, on loopback."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from brokerpool import (
    BrokerClient,
    BrokerError,
    CallFailedError,
    Egress,
    ErrorCode,
    Instrument,
    Lane,
    TokenBook,
    WebSocketPool,
    ZerodhaFeed,
    fetch_instruments,
)
from brokerpool.commands.check import faults
from brokerpool.settings import Settings
from brokerpool.transport import DialError, LinkHandler, dial
from tests.connect_proxy import ConnectProxy
from tests.http_server import AUTHORITY
from tests.rehearsal import Prompt, until

HOST = "broker.test"
SECRET = "hunter2"
LIST = (
    "instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,"
    "instrument_type,segment,exchange\n408065,1594,INFY,INFOSYS,0,,0,0.05,1,EQ,NSE,NSE\n"
)


class Broker:
    """Serves list, calls and feed under one name, and knows from where it was called."""

    def __init__(self, *, tls: bool) -> None:
        self._tls = AUTHORITY.server(HOST) if tls else None
        self.peers: list[tuple[str, str]] = []
        self.port = 0

    async def __aenter__(self) -> Broker:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.peers.append((request.path, str(request.remote)))
        if request.path == "/instruments":
            return web.Response(text=LIST)
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.json_response({"proxied": "Proxy-Authorization" in request.headers})
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            if message.type is WSMsgType.TEXT:
                await response.send_str(message.data)
        return response


class Heard(LinkHandler):
    def __init__(self) -> None:
        self.messages: list[str] = []
        self.ended = False

    def text(self, message: str) -> None:
        self.messages.append(message)

    def closed(self, code: int, reason: str) -> None:
        self.ended = True


async def all_three(url: str, egress: Egress) -> None:
    """Fetch the list, make a call, and talk over a WebSocket, all by way of the egress."""
    book = await fetch_instruments(url, egress=egress)
    assert book.token(Instrument("NSE", "INFY")) == 408065
    async with BrokerClient(url, name="b", egress=egress) as client:
        answer = await client.request("POST", "/orders", data={"a": 1}, lane=Lane.PLACE)
        assert answer.json() == {"proxied": False}, "the proxy's login is not for the broker"
    heard = Heard()
    link = await dial(url.replace("http", "ws", 1), heard, egress=egress)
    link.send_text("hello")
    await until(lambda: heard.messages == ["hello"])
    link.close()
    await until(lambda: heard.ended)


@pytest.mark.parametrize("proxy_tls", [False, True])
def test_the_environments_proxy_carries_list_calls_and_feed_over_tls_and_no_secret_is_told(
    tmp_path: Path, proxy_tls: bool
) -> None:
    # A program of its own: which authorities are trusted is settled when it starts.
    bundle = tmp_path / "authority.pem"
    bundle.write_bytes(AUTHORITY.pem())
    code = (
        "import asyncio, logging, sys\n"
        "logging.basicConfig(level='DEBUG')\n"
        "from brokerpool import Egress\n"
        "from tests.unit.test_egress_connections import all_three\n"
        "asyncio.run(all_three(sys.argv[1], Egress()))\n"
    )

    async def main() -> None:
        async with (
            Broker(tls=True) as broker,
            ConnectProxy(
                {HOST: broker.port}, login=f"user:{SECRET}", tls=AUTHORITY.server() if proxy_tls else None
            ) as proxy,
        ):
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", code, f"https://{HOST}"),
                env={**os.environ, "HTTPS_PROXY": proxy.url, "SSL_CERT_FILE": str(bundle)},
                cwd=Path(__file__).parents[2],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            said, _ = await asyncio.wait_for(program.communicate(), 30)
            assert program.returncode == 0, said.decode()
            assert SECRET not in said.decode()
            assert proxy.seen == [f"CONNECT {HOST}:443 HTTP/1.1"] * 3
            assert [path for path, _ in broker.peers] == ["/instruments", "/orders", "/"]

    asyncio.run(main())


@pytest.mark.parametrize("login", ["", f"user:{SECRET}"])
def test_a_proxy_of_the_settings_carries_all_three_without_tls_too(login: str) -> None:
    async def main() -> None:
        async with Broker(tls=False) as broker, ConnectProxy({HOST: broker.port}, login=login) as proxy:
            await all_three(f"http://{HOST}", Egress(proxy=proxy.url))
            assert len(proxy.seen) == 3
            assert len(broker.peers) == 3

    asyncio.run(main())


def test_list_calls_and_feed_leave_from_the_source_address_to_the_broker_and_to_a_proxy() -> None:
    async def main() -> None:
        async with Broker(tls=False) as broker, ConnectProxy({HOST: broker.port}) as proxy:
            await all_three(f"http://127.0.0.1:{broker.port}", Egress(source_address="127.0.0.2"))
            assert {peer for _, peer in broker.peers} == {"127.0.0.2"}
            assert len(broker.peers) == 3
            await all_three(f"http://{HOST}", Egress(source_address="127.0.0.3", proxy=proxy.url))
            assert proxy.peers == ["127.0.0.3"] * 3

    asyncio.run(main())


def test_the_short_form_of_a_client_is_the_same() -> None:
    async def main() -> None:
        async with Broker(tls=False) as broker:
            url = f"http://127.0.0.1:{broker.port}"
            async with BrokerClient(url, name="b", source_address="127.0.0.5") as client:
                await client.request("GET", "/x")
        assert broker.peers == [("/x", "127.0.0.5")]
        with pytest.raises(ValueError, match="given twice"):
            BrokerClient(url, name="b", egress=Egress(), source_address="127.0.0.5")

    asyncio.run(main())


def test_one_family_is_kept_where_a_name_has_addresses_of_both() -> None:
    async def main() -> None:
        asked: list[int] = []
        loop = asyncio.get_running_loop()
        resolve = loop.getaddrinfo

        async def both(host: str, port: int, *, family: int = 0, **options: int) -> list[tuple[object, ...]]:
            asked.append(family)
            found = await resolve("127.0.0.1", port, type=socket.SOCK_STREAM)
            other = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", port, 0, 0))
            return [*([other] if family != socket.AF_INET else []), *found]

        loop.getaddrinfo = both  # type: ignore[assignment, method-assign]
        async with Broker(tls=False) as broker:
            url = f"http://{HOST}:{broker.port}"
            await all_three(url, Egress(family="ipv4"))
            assert asked == [socket.AF_INET] * 3
            assert {peer for _, peer in broker.peers} == {"127.0.0.1"}

    asyncio.run(main())


async def list_fault(url: str, egress: Egress) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await fetch_instruments(url, egress=egress)
    return caught.value


async def call_fault(url: str, egress: Egress) -> CallFailedError:
    async with BrokerClient(url, name="b", egress=egress, random=Prompt()) as client:
        with pytest.raises(CallFailedError) as caught:
            await client.request("POST", "/orders", lane=Lane.PLACE, order_tag="1")
    return caught.value


async def dial_fault(url: str, egress: Egress) -> DialError:
    with pytest.raises(DialError) as caught:
        await dial(url.replace("http", "ws", 1), LinkHandler(), egress=egress)
    return caught.value


@pytest.mark.parametrize(("status", "asked"), [(407, 1), (403, 1), (429, 1), (502, 4)])
def test_what_a_proxy_refuses_is_not_the_brokers_word_and_is_asked_again_only_where_that_helps(
    status: int, asked: int
) -> None:
    async def main() -> None:
        async with ConnectProxy({}, login=f"user:{SECRET}", answers=status) as proxy:
            egress, url = Egress(proxy=proxy.url), f"https://{HOST}"
            name = f"the proxy 127.0.0.1:{proxy.port}"
            listed = await list_fault(url, egress)
            assert listed.code is ErrorCode.PROXY_REFUSED
            before = len(proxy.seen)
            called = await call_fault(url, egress)
            assert len(proxy.seen) - before == asked
            assert called.code is (ErrorCode.PROXY_REFUSED if asked == 1 else ErrorCode.CALL_NOT_SENT)
            assert not called.sent
            dialled = await dial_fault(url, egress)
            assert (dialled.status, dialled.retry_after) == (None, None), "no login is refused, no dial held"
            for error in (listed, called, dialled):
                assert name in str(error)
                assert str(status) in str(error)
                assert SECRET not in str(error)

    asyncio.run(main())


def test_a_login_that_a_proxy_wants_is_told_without_tls_too() -> None:
    async def main() -> None:
        async with Broker(tls=False) as broker, ConnectProxy({HOST: broker.port}, login="u:p") as proxy:
            egress = Egress(proxy=proxy.url.replace("u:p@", ""))
            called = await call_fault(f"http://{HOST}", egress)
            assert called.code is ErrorCode.PROXY_REFUSED
            assert not called.sent
            assert not broker.peers

    asyncio.run(main())


def test_a_proxy_that_is_not_there_hangs_up_or_is_mute_is_named() -> None:
    async def main() -> None:
        async with ConnectProxy({}) as proxy:
            gone = Egress(proxy=proxy.url)
            port = proxy.port
        for ask in (list_fault, call_fault, dial_fault):
            assert f"the proxy 127.0.0.1:{port}" in str(await ask(f"https://{HOST}", gone))

        async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.close()

        async def stay_mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        async with server:
            name = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
            for ask in (list_fault, call_fault, dial_fault):
                assert f"the proxy {name}" in str(await ask(f"https://{HOST}", Egress(proxy=name)))
        server = await asyncio.start_server(stay_mute, "127.0.0.1", 0)
        async with server:
            egress = Egress(proxy=f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
            with pytest.raises(DialError, match=r"within 0\.2 s through the proxy"):
                await dial(f"wss://{HOST}/", LinkHandler(), timeout=0.2, egress=egress)
            async with BrokerClient(f"https://{HOST}", name="b", egress=egress) as client:
                with pytest.raises(CallFailedError) as caught:
                    await client.request("POST", "/orders", lane=Lane.PLACE, timeout=0.2)
            assert not caught.value.sent

    asyncio.run(main())


def test_an_address_that_this_machine_does_not_have_is_told_by_all_and_by_the_check(tmp_path: Path) -> None:
    address = "192.0.2.77"  # RFC 5737: nobody's

    async def main() -> None:
        async with Broker(tls=False) as broker:
            url, egress = f"http://127.0.0.1:{broker.port}", Egress(source_address=address)
            for ask in (list_fault, call_fault, dial_fault):
                assert f"{address}, from which it should leave, is no address of this machine" in str(
                    await ask(url, egress)
                )
            settings = Settings.load(
                environ={
                    "BROKERPOOL_BROKER_API_KEY": "key",
                    "BROKERPOOL_BROKER_ACCESS_TOKEN": "token",
                    "BROKERPOOL_API_KEY": "x" * 16,
                    "BROKERPOOL_BROKER_HTTP_URL": url,
                    "BROKERPOOL_BROKER_WS_URL": url.replace("http", "ws", 1),
                    "BROKERPOOL_SOURCE_ADDRESS": address,
                    "WEBSOCKET_PORT": "0",
                    "BROKERPOOL_HTTP_PORT": "0",
                    "DATABASE_URL": f"sqlite:///{tmp_path}/x.db",
                }
            )
            found = await faults(settings)
            assert len(found) == 2
            assert all(address in fault for fault in found)

    asyncio.run(main())


def test_the_pool_dials_by_way_of_its_egress() -> None:
    async def main() -> None:
        async with ConnectProxy({}, answers=403) as proxy:
            feed = ZerodhaFeed(
                "k", "t", ws_url=f"wss://{HOST}", book=TokenBook([(Instrument("NSE", "INFY"), 408065)])
            )
            async with WebSocketPool(feed, egress=Egress(proxy=proxy.url)) as pool:
                pool.subscribe(["NSE:INFY"])
                await until(lambda: proxy.seen)
                connection = pool.get_pool_stats()["websocket"]["per_connection"][0]
                await until(lambda: pool.get_pool_stats()["websocket"]["per_connection"][0]["last_fault"])
                connection = pool.get_pool_stats()["websocket"]["per_connection"][0]
                assert connection["state"] != "parked", "the broker has not refused the login"
                assert "the proxy 127.0.0.1" in connection["last_fault"]
                assert not feed.login.refused

    asyncio.run(main())
