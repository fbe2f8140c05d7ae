"""The gateway over real sockets: an independent client library in front, the simulated broker behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import permutations
from typing import Any

import aiohttp
import pytest
import websockets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import ClientConnection, connect

from brokerpool import BrokerpoolError, ErrorCode, Mode
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings
from brokerpool.simulator.faults import Refuse
from brokerpool.simulator.zerodha import KiteSimulator
from tests.rehearsal import feed, no_task_dies, served, until

KEY = "a-key-for-the-gateway"
SMALL = {"BROKERPOOL_CLIENT_BUFFER_BYTES": "4096", "BROKERPOOL_CLIENT_STUCK_SECONDS": "0.5"}


@asynccontextmanager
async def gateway(
    simulator: dict[str, Any] | None = None, /, **environ: str
) -> AsyncIterator[tuple[KiteSimulator, Gateway]]:
    async with no_task_dies(), KiteSimulator(**{"rate": 0, "symbols": 30, **(simulator or {})}) as broker:
        environ = {
            "BROKERPOOL_API_KEY": KEY,
            "BROKERPOOL_BROKER_API_KEY": broker.api_key,
            "BROKERPOOL_BROKER_ACCESS_TOKEN": broker.access_token,
            "WEBSOCKET_PORT": "0",
            "BROKERPOOL_HTTP_PORT": "0",
            **environ,
        }
        served_by = Gateway(Settings.load(environ=environ), feed(broker))
        await served_by.start()
        try:
            yield broker, served_by
        finally:
            await served_by.close()


class Client:
    """A client as small as the protocol allows."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.ticks: list[dict[str, Any]] = []

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its reply; ticks that come before it are kept."""
        await self.connection.send(json.dumps(request))
        return await self.reply()

    async def reply(self) -> dict[str, Any]:
        return await self._next("reply")

    async def news(self) -> dict[str, Any]:
        """Return the next `feed_status` frame."""
        return await self._next("news")

    async def _next(self, wanted: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while True:
                frame: dict[str, Any] = json.loads(await self.connection.recv())
                if frame.get("type") == "market_data":
                    self.ticks.append(frame)
                elif wanted == ("news" if frame.get("type") == "feed_status" else "reply"):
                    return frame

    async def subscribe(self, *symbols: str, mode: int | str = 1) -> dict[str, Any]:
        wanted = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
        return await self.ask(action="subscribe", symbols=wanted, mode=mode)

    async def take(self, count: int) -> list[dict[str, Any]]:
        """Return the next ticks, at least so many."""
        ticks = await self.drain()
        async with asyncio.timeout(5):
            while len(ticks) < count:
                ticks += await self.drain()
        return ticks

    async def drain(self) -> list[dict[str, Any]]:
        """Return every tick that was sent before now: the answer to a ping comes behind them."""
        await self.ask(action="ping")
        ticks, self.ticks = self.ticks, []
        return ticks


@asynccontextmanager
async def client(served_by: Gateway, *, key: str | None = KEY) -> AsyncIterator[Client]:
    async with connect(served_by.ws_url, compression=None, max_queue=None) as connection:
        session = Client(connection)
        if key is not None:
            assert (await session.ask(action="authenticate", api_key=key))["status"] == "success"
        yield session


def test_authentication_answers_at_once_while_the_broker_is_down() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by):
            await broker.down()
            began = asyncio.get_running_loop().time()
            async with client(served_by) as session:
                reply = await session.subscribe("INFY")
                assert reply["status"] == "success", "accepted; the broker connects in the background"
                assert (await session.ask(action="get_broker_info"))["adapter_status"] == "disconnected"
                assert asyncio.get_running_loop().time() - began < 0.5
                await broker.up()
                await until(lambda: served(broker))
                assert (await session.ask(action="get_broker_info"))["adapter_status"] == "connected"

    asyncio.run(main())


@pytest.mark.parametrize("key", ["wrong-key", "", KEY[:-1], KEY + "x", "schlüssel"])
def test_a_wrong_key_is_refused_and_nothing_else_is_allowed(key: str) -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by, key=None) as session:
            reply = await session.ask(action="authenticate", api_key=key)
            assert (reply["type"], reply["status"]) == ("auth", "error")
            for action in (
                "subscribe",
                "unsubscribe",
                "unsubscribe_all",
                "get_broker_info",
                "subscribe_orders",
            ):
                refusal = await session.ask(action=action, symbol="INFY", exchange="NSE")
                assert refusal["code"] == "NOT_AUTHENTICATED"
            assert (await session.ask(action="ping"))["type"] == "pong"
            assert (await session.ask(action="get_supported_brokers"))["brokers"] == ["zerodha"]

    asyncio.run(main())


def test_who_does_not_authenticate_is_closed_with_4401() -> None:
    async def main() -> None:
        async with (
            gateway(WS_AUTH_GRACE_SECONDS="0.2") as (_, served_by),
            client(served_by) as authenticated,
            client(served_by, key=None) as stranger,
        ):
            with pytest.raises(websockets.ConnectionClosed):
                async with asyncio.timeout(2):
                    await stranger.connection.recv()
            assert stranger.connection.close_code == 4401
            assert stranger.connection.close_reason == "auth timeout"
            assert (await authenticated.ask(action="ping"))["type"] == "pong"

    asyncio.run(main())


def test_a_client_may_send_everything_behind_its_authentication_without_waiting() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), connect(served_by.ws_url) as connection:
            await connection.send(json.dumps({"action": "authenticate", "api_key": KEY}))
            await connection.send(json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"}))
            assert json.loads(await connection.recv())["type"] == "auth", "the first frame is the reply"
            assert json.loads(await connection.recv())["type"] == "subscribe"

    asyncio.run(main())


def test_ticks_reach_the_client_in_its_mode_and_stop_when_it_unsubscribes() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY", mode=1)
            await session.subscribe("INFY", mode=3)
            token = served_by.pool.feed.book.token
            await until(lambda: list(served(broker).values()) == [Mode.DEPTH])
            await broker.step(300)
            ticks = await session.drain()
            modes = [tick["mode"] for tick in ticks if "snapshot" not in tick]
            assert modes.count(1) == modes.count(3) > 0
            assert token is not None
            reply = await session.ask(
                action="unsubscribe", symbols=[{"symbol": "INFY", "exchange": "NSE"}], request_id=9
            )
            assert (reply["status"], reply["request_id"]) == ("success", 9)
            await broker.step(300)
            assert await session.drain() == []
            await until(lambda: served(broker) == {})

    asyncio.run(main())


def test_a_newcomer_gets_the_last_value_at_once_marked_as_a_snapshot() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as first:
            await first.subscribe("INFY", mode=2)
            await until(lambda: served(broker))
            await broker.step(300)
            newest = (await first.drain())[-1]
            async with client(served_by) as second:
                await second.subscribe("INFY", mode=2)
                (snapshot,) = await second.drain()
                assert snapshot["data"] == newest["data"]
                assert snapshot["snapshot"] is True

    asyncio.run(main())


def test_five_clients_on_one_symbol_leave_in_every_order_and_each_keeps_what_it_holds() -> None:
    held: list[tuple[int, ...]] = [(1,), (2,), (3,), (1, 3), (1, 2)]

    async def main() -> None:
        async with gateway({"symbols": 1, "snapshot": False}) as (broker, served_by):
            (row,) = broker.listings
            for order in list(permutations(range(5)))[::8]:
                sessions = []
                for modes in held:
                    connection = await connect(served_by.ws_url, compression=None, max_queue=None)
                    session = Client(connection)
                    await session.ask(action="authenticate", api_key=KEY)
                    for mode in modes:
                        await session.ask(
                            action="subscribe", symbol=row.tradingsymbol, exchange=row.exchange, mode=mode
                        )
                    sessions.append(session)
                present = list(range(5))
                for leaver in order:
                    highest = max(mode for n in present for mode in held[n])
                    await until(partial(_serves, broker, highest))
                    for session in sessions:
                        session.ticks.clear()
                    await broker.step(3)
                    for n in present:
                        ticks = await sessions[n].take(3 * len(held[n]))
                        assert sorted(t["mode"] for t in ticks) == sorted(held[n] * 3)
                    await sessions[leaver].connection.close()
                    present.remove(leaver)
                await until(lambda: served(broker) == {})

    asyncio.run(main())


def _serves(broker: KiteSimulator, mode: int) -> bool:
    return list(served(broker).values()) == [mode]


def test_limits_on_clients_symbols_and_message_size_are_told() -> None:
    async def main() -> None:
        limits = {
            "BROKERPOOL_MAX_CLIENTS": "2",
            "BROKERPOOL_MAX_SYMBOLS_PER_CLIENT": "2",
            "BROKERPOOL_MAX_MESSAGE_BYTES": "4096",
        }
        async with gateway(**limits) as (_, served_by), client(served_by) as one, client(served_by) as two:
            with pytest.raises(websockets.InvalidStatus) as caught:
                await connect(served_by.ws_url)
            assert caught.value.response.status_code == 503
            assert caught.value.response.headers["Retry-After"] == "5"
            reply = await one.subscribe("INFY", "SBIN", "TCS")
            assert [item.get("code") for item in reply["subscriptions"]] == [
                None,
                None,
                "CLIENT_SYMBOL_LIMIT",
            ]
            assert (await one.subscribe("INFY", mode=3))["status"] == "success", (
                "another mode is no new symbol"
            )
            await two.connection.send("x" * 5000)
            with pytest.raises(websockets.ConnectionClosed):
                async with asyncio.timeout(2):
                    await two.connection.recv()
            assert two.connection.close_code == 1009
            await until(lambda: served_by.clients == 1)
            assert (await one.ask(action="ping"))["type"] == "pong", "no other client notices"

    asyncio.run(main())


def test_a_client_that_does_not_read_gets_newest_values_when_it_does_and_delays_nobody() -> None:
    async def main() -> None:
        async with gateway({"symbols": 5, "snapshot": False}, BROKERPOOL_CLIENT_BUFFER_BYTES="8192") as (
            broker,
            served_by,
        ):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            async with client(served_by) as quick:
                reader, writer = await _raw_client(served_by, rows)
                await quick.ask(action="subscribe", symbols=rows, mode=3)
                await until(lambda: len(served(broker)) == 5)
                for _ in range(100):
                    await broker.step(100)
                    assert len(await quick.take(100)) == 100, "the quick client gets every tick"
                    if served_by.stats()["gateway"]["slow_clients"]:
                        break
                assert served_by.stats()["gateway"]["slow_clients"] == 1
                await broker.step(100)
                newest = {t["symbol"]: t["data"] for t in await quick.take(100)}
                seen: dict[str, Any] = {}
                async with asyncio.timeout(5):
                    while seen != newest:
                        frame = await _frame(reader)
                        if frame.get("type") == "market_data":
                            seen[frame["symbol"]] = frame["data"]
                assert served_by.stats()["gateway"]["frames_conflated"] > 0
                writer.close()

    asyncio.run(main())


def test_a_client_that_never_reads_is_closed_with_4408_and_costs_bounded_memory() -> None:
    async def main() -> None:
        async with gateway({"symbols": 5, "rate": 5000}, **SMALL) as (broker, served_by):
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            _, writer = await _raw_client(served_by, rows)
            await until(lambda: served_by.stats()["gateway"]["slow_clients"] == 1)
            await until(lambda: served_by.clients == 0, seconds=5)
            writer.close()

    asyncio.run(main())


def test_a_client_that_asks_and_never_reads_the_answers_is_closed() -> None:
    async def main() -> None:
        # Not the stuck client's deadline, but the bound on what is kept for it.
        limits = {**SMALL, "BROKERPOOL_CLIENT_STUCK_SECONDS": "60"}
        async with gateway(**limits) as (_, served_by):
            _, writer = await _raw_client(served_by, [])
            text = _masked(json.dumps({"action": "ping", "timestamp": "x" * 3000}).encode())

            async def ask_for_ever() -> None:
                while True:
                    writer.write(text)
                    await writer.drain()

            asking = asyncio.create_task(ask_for_ever())
            await until(lambda: served_by.clients == 0)
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            writer.close()

    asyncio.run(main())


async def _raw_client(
    served_by: Gateway, rows: list[dict[str, str]]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, subscribe, and read nothing: a library would read on its own."""
    host, port = served_by.ws_url.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_masked(json.dumps({"action": "authenticate", "api_key": KEY}).encode()))
    if rows:
        writer.write(_masked(json.dumps({"action": "subscribe", "symbols": rows, "mode": 3}).encode()))
    return reader, writer


def _masked(payload: bytes, opcode: int = 1) -> bytes:
    size = len(payload)
    head = (
        bytes((0x80 | opcode, 0x80 | size))
        if size < 126
        else bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    )
    return head + bytes(4) + payload


async def _frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readexactly(2)
    size = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2), "big")
    payload = await reader.readexactly(size)
    return json.loads(payload) if head[0] == 0x81 else {}


garbage = (
    st.binary(max_size=300)
    | st.text(max_size=100)
    | st.dictionaries(
        st.sampled_from(["action", "symbols", "symbol", "exchange", "mode", "request_id"]),
        st.sampled_from(["subscribe", "unsubscribe", "authenticate", "ping", "\ud800"[:0]])
        | st.integers()
        | st.none()
        | st.lists(st.text(max_size=3) | st.none(), max_size=3)
        | st.lists(
            st.dictionaries(st.sampled_from(["symbol", "exchange", "mode"]), st.text(max_size=5)), max_size=3
        ),
    ).map(json.dumps)
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(garbage, min_size=1, max_size=40))
def test_whatever_a_client_sends_no_task_dies_and_no_other_client_notices(frames: list[str | bytes]) -> None:
    async def main() -> None:
        async with gateway({"symbols": 3}) as (broker, served_by), client(served_by) as healthy:
            await healthy.subscribe("INFY")
            await until(lambda: served(broker))
            async with client(served_by) as odd:
                for frame in frames:
                    await odd.connection.send(frame)
                assert (await odd.ask(action="ping", _pingId="last"))["status"] in ("success", "error")
            await broker.step(30)
            assert await healthy.drain()
            assert served_by.pool.connected

    asyncio.run(main())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(min_size=1, max_size=400))
def test_whatever_bytes_come_over_tcp_no_other_client_notices(raw: bytes) -> None:
    async def main() -> None:
        async with gateway({"symbols": 3}) as (_, served_by), client(served_by) as healthy:
            host, port = served_by.ws_url.removeprefix("ws://").split(":")
            for handshake in (False, True):
                if handshake:
                    _, writer = await _raw_client(served_by, [])
                else:
                    _, writer = await asyncio.open_connection(host, int(port))
                writer.write(raw)
                assert (await healthy.ask(action="ping"))["type"] == "pong"
                writer.close()

    asyncio.run(main())


def test_m10_clients_are_told_when_symbols_lose_their_feed_and_when_it_is_back() -> None:
    async def main() -> None:
        limits = {"MAX_SYMBOLS_PER_WEBSOCKET": "2"}
        async with gateway(**limits) as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY", "SBIN", "TCS")
            await until(lambda: len(served(broker)) == 3)
            assert (await session.ask(action="ping"))["type"] == "pong", "a first connect is no news"
            broker.faults.refuse = Refuse(503)
            broker.kill(next(s["id"] for s in broker.sockets() if len(s["tokens"]) == 2))
            lost = await session.news()
            assert (lost["status"], lost["symbols_down"]) == ("degraded", 2)
            assert "waiting" in lost["message"]
            for socket in broker.sockets():
                broker.kill(socket["id"])
            gone = await session.news()
            assert (gone["status"], gone["symbols_down"]) == ("down", 3)
            async with client(served_by, key=None) as stranger:
                broker.faults.refuse = None
                while (back := await session.news())["status"] != "live":
                    pass
                assert back["symbols_down"] == 0
                assert (await stranger.ask(action="ping"))["type"] == "pong", "strangers are told nothing"

    asyncio.run(main())


def test_stopping_tells_clients_to_come_back_and_leaves_no_broker_socket() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY")
            await until(lambda: broker.sockets())
            await served_by.close()
            with pytest.raises(websockets.ConnectionClosed):
                await session.drain()
            assert session.connection.close_code == 1001
            assert "reconnect in" in (session.connection.close_reason or "")
            await until(lambda: not broker.sockets())

    asyncio.run(main())


def test_a_port_that_is_taken_gives_a_clear_error() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            port = served_by.ws_url.rpartition(":")[2]
            with pytest.raises(BrokerpoolError, match="WEBSOCKET_PORT") as caught:
                async with gateway(WEBSOCKET_PORT=port):
                    pass
            assert caught.value.code is ErrorCode.ADDRESS_IN_USE

    asyncio.run(main())


def test_the_statistics_are_served_over_http() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY", "SBIN")
            await until(lambda: len(served(broker)) == 2)
            async with aiohttp.ClientSession() as http:
                async with http.get(f"{served_by.http_url}/stats") as response:
                    stats = await response.json()
                async with http.get(f"{served_by.http_url}/health/live") as response:
                    assert await response.json() == {"status": "live"}
            assert stats["websocket"]["total_symbols"] == 2
            assert stats["gateway"]["clients"] == 1

    asyncio.run(main())
