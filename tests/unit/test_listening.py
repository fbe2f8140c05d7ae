"""Where listeners listen: both families, one port, and a clear word where an address is not to be had."""

from __future__ import annotations

import asyncio
import errno
import gc
import socket
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import pytest
from aiohttp import ClientSession, web
from websockets.asyncio.client import connect

from brokerpool.commands.check import _listener
from brokerpool.commands.gateway_request import answer
from brokerpool.commands.gateway_target import target
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.rest.listener import serve_rest
from brokerpool.gateway.server import Gateway
from brokerpool.settings import GatewaySettings
from brokerpool.simulator.http_listener import HttpListener
from brokerpool.transport import Refusal, serve
from brokerpool.transport.listening import listen_on, url_host
from tests.gateway_client import KEY, Client, gateway

V4, V6 = socket.AF_INET, socket.AF_INET6


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=V6).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


@contextmanager
def listening(host: str, port: int = 0) -> Iterator[list[tuple[Any, ...]]]:
    """Give the addresses that are listened on."""
    sockets = asyncio.run(listen_on(host, port))
    try:
        yield [sock.getsockname() for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def resolving(monkeypatch: pytest.MonkeyPatch, name: str, *addresses: str) -> None:
    """Let a name have these addresses, as a resolver would say."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        hosts = addresses if host == name else (host,)
        return [found for one in hosts for found in real(one, *args, **kwargs)]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Any, int], int | None]) -> list[Any]:
    """Let addresses fail with what `fails` says of them and of the number of the attempt."""
    real, tried = socket.create_server, []

    def create(address: Any, **options: Any) -> socket.socket:
        tried.append(address)
        if number := fails(address, len(tried)):
            raise OSError(number, "as the system says it")
        return real(address, **options)

    monkeypatch.setattr(socket, "create_server", create)
    return tried


@needs_ipv6
def test_all_addresses_of_ipv6_are_all_of_ipv4_too_on_one_port() -> None:
    with listening("::") as addresses:
        assert [address[0] for address in addresses] == ["::", "0.0.0.0"]
        ports = {address[1] for address in addresses}
        assert len(ports) == 1
        for host in ("127.0.0.1", "::1"):
            socket.create_connection((host, *ports), 2).close()
    with listening("0.0.0.0") as addresses:
        assert [address[0] for address in addresses] == ["0.0.0.0"]


def test_a_name_with_several_addresses_is_listened_on_at_each_and_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving(monkeypatch, "gateway.test", "127.0.0.2", "127.0.0.1", "127.0.0.2")
    with listening("gateway.test") as addresses:
        assert [address[0] for address in addresses] == ["127.0.0.2", "127.0.0.1"]
        assert len({address[1] for address in addresses}) == 1


def test_a_free_port_is_free_at_every_address(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, "gateway.test", "127.0.0.1", "127.0.0.2")
    tried = failing(monkeypatch, lambda address, n: errno.EADDRINUSE if n in (2, 4) else None)
    with listening("gateway.test") as addresses:
        assert addresses == [("127.0.0.1", addresses[0][1]), ("127.0.0.2", addresses[0][1])]
    assert len(tried) == 6
    failing(monkeypatch, lambda address, n: errno.EADDRINUSE if address[1] else None)
    with pytest.raises(OSError, match="no port is free in both families"):
        asyncio.run(listen_on("gateway.test", 0))


def test_without_ipv6_every_address_is_every_ipv4_address_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
        caplog.clear()
        with monkeypatch.context() as patched:
            failing(patched, lambda address, n, number=number: number if ":" in address[0] else None)  # type: ignore[misc]
            with listening("::") as addresses:
                assert [address[0] for address in addresses] == ["0.0.0.0"]
            assert ":: is not listened on" in caplog.text
            with pytest.raises(OSError, match="as the system says it"):
                asyncio.run(listen_on("::1", 0))


def test_where_one_address_is_taken_none_is_kept_and_the_listener_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, listening("127.0.0.2") as free:
        port = taken.getsockname()[1]

        async def main() -> None:
            with pytest.raises(OSError, match="in use") as caught:
                await listen_on("::", port)
            assert caught.value.errno == errno.EADDRINUSE
            assert await _listener("WEBSOCKET_PORT", "127.0.0.1", port) is not None
            for name in ("WEBSOCKET_PORT", "BROKERPOOL_HTTP_PORT"):
                with pytest.raises(BrokerpoolError, match=rf"{name}: 127.0.0.1:{port} is taken") as told:
                    async with gateway(**{name: str(port)}):
                        pass
                assert told.value.code is ErrorCode.ADDRESS_IN_USE
            with pytest.raises(OSError, match=r"BROKERPOOL_HTTP_PORT: \[2001:db8::1\]:0"):
                async with gateway(BROKERPOOL_HTTP_HOST="2001:db8::1"):
                    pass

        asyncio.run(main())
        assert free
    with listening("127.0.0.1", port):
        pass


@needs_ipv6
def test_both_listeners_of_the_gateway_serve_both_families_and_print_addresses_that_lead_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def serves(served_by: Gateway, host: str) -> None:
        ws, rest = (url.rpartition(":")[2] for url in (served_by.ws_url, served_by.http_url))
        async with connect(f"ws://{host}:{ws}", compression=None) as connection:
            assert (await Client(connection).ask(action="authenticate", api_key=KEY))["status"] == "success"
        async with ClientSession() as http, http.get(f"http://{host}:{rest}/health/live") as live:
            assert live.status == 200

    async def main() -> None:
        settings = {"WEBSOCKET_HOST": "::", "BROKERPOOL_HTTP_HOST": "[::]", "BROKERPOOL_API_KEY": KEY}
        async with gateway(**settings) as (_, served_by):
            assert served_by.ws_url.startswith("ws://[::]:")
            assert served_by.http_url.startswith("http://[::]:")
            for host in ("127.0.0.1", "[::1]"):
                await serves(served_by, host)
            url = served_by.http_url.replace("[::]", "[::1]")
            monkeypatch.setenv("BROKERPOOL_API_KEY", KEY)
            assert "websocket" in await asyncio.to_thread(answer, target(url), "stats")
            async with ClientSession() as http, http.get(f"{url}/stats") as stats:
                assert stats.status == 401, "it is not for this machine alone"
        async with gateway(WEBSOCKET_HOST="::1", BROKERPOOL_HTTP_HOST="::1") as (_, served_by):
            await serves(served_by, "[::1]")
            async with ClientSession() as http, http.get(f"{served_by.http_url}/stats") as stats:
                assert stats.status == 200, "it is"

    asyncio.run(main())


@needs_ipv6
def test_the_simulators_http_listens_as_the_gateways_does() -> None:
    async def main() -> None:
        app = web.Application()
        app.router.add_get("/", _well)
        listener = HttpListener(app)
        await listener.open("::", 0)
        try:
            for host in ("127.0.0.1", "[::1]"):
                async with ClientSession() as http, http.head(f"http://{host}:{listener.port}/") as answered:
                    assert answered.status == 200
        finally:
            await listener.close()

    asyncio.run(main())


class Opened(NamedTuple):
    """A listener, as far as these tests need it."""

    port: int
    close: Callable[[], Awaitable[None]]


async def simulators_http() -> Opened:
    listener = HttpListener(web.Application())
    await listener.open("127.0.0.1", 0)
    return Opened(listener.port, listener.close)


async def websockets() -> Opened:
    server = await serve(lambda request: Refusal(404), "127.0.0.1", 0)
    return Opened(server.port, server.close)


async def gateways_http() -> Opened:
    async def app(scope: object, receive: object, send: object) -> None:
        raise NotImplementedError  # nobody asks

    server = await serve_rest("127.0.0.1", 0, app, slots=ConnectionSlots(10, 10))
    while not server._server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0)
    return Opened(server.port, server.close)


@pytest.mark.parametrize("turns", range(5))
@pytest.mark.parametrize("opened", [simulators_http, websockets, gateways_http])
def test_who_dials_in_the_last_turns_of_a_listener_is_closed_with_it(
    opened: Callable[[], Awaitable[Opened]], turns: int
) -> None:
    async def main() -> None:
        listener = await opened()
        clients = [socket.create_connection(("127.0.0.1", listener.port), 2) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await listener.close()
        for client in clients:
            with client, suppress(ConnectionResetError):
                assert client.recv(1) == b""

    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert not [str(warning.message) for warning in leaked]


async def _well(request: web.Request) -> web.Response:
    return web.Response()


def test_brackets_belong_to_urls_and_are_taken_off_and_put_on() -> None:
    for given, kept in {
        "[::1]": "::1",
        "::": "::",
        "fe80::1%eth0": "fe80::1%eth0",
        "gw.lan": "gw.lan",
    }.items():
        assert GatewaySettings.load(environ={"WEBSOCKET_HOST": given}).websocket_host == kept
        assert url_host(kept) == (f"[{kept}]" if ":" in kept else kept)
