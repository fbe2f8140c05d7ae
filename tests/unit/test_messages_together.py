"""Short messages that are read together become one list of ticks, and nothing else about them changes."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from brokerpool import Instrument, Mode, SymbolState, Tick, TokenBook, WebSocketPool, ZerodhaFeed
from brokerpool.brokers.openalgo.account import OpenAlgoFeed
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.transport import Link, LinkHandler, UpgradeRequest, serve
from brokerpool.transport.frames import server_frame
from tests.rehearsal import no_task_dies, until

SYMBOLS = [f"S{n}" for n in range(5)]


class Server(LinkHandler):
    """Lets everybody in, accepts every symbol, and sends what it is told in one write."""

    def __init__(self) -> None:
        self.subscribed = False

    def opened(self, link: Link) -> None:
        self.link = link

    def text(self, message: str) -> None:
        said = json.loads(message)
        if said["action"] == "authenticate":
            self.link.send_text('{"type":"auth","status":"success","message":"in"}')
        elif said["action"] == "subscribe":
            items = [{**entry, "status": "success"} for entry in said["symbols"]]
            answer = {"type": "subscribe", "subscriptions": items, "request_id": said["request_id"]}
            self.link.send_text(json.dumps(answer))
            self.subscribed = True

    def send(self, *messages: dict[str, Any] | bytes) -> None:
        texts = (m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages)
        self.link.send_frames(b"".join(server_frame(text) for text in texts))


class Heard(PoolListener):
    def __init__(self) -> None:
        self.lists: list[list[float]] = []
        self.order: list[str] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.lists.append([tick.ltp for tick in ticks])
        self.order += [f"{tick.ltp:g}" for tick in ticks]

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.order += [f"gap {gap.instrument.symbol}" for gap in gaps]

    def order_updated(self, update: str | bytes) -> None:
        self.order.append("update")


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[Server, Heard, WebSocketPool]]:
    server = Server()

    def accept(_: UpgradeRequest) -> LinkHandler:
        return server

    async with no_task_dies():
        listener = await serve(accept, "127.0.0.1", 0)
        pool = WebSocketPool(OpenAlgoFeed("key", ws_url=f"ws://127.0.0.1:{listener.port}/"))
        heard = Heard()
        pool.listen(heard)
        try:
            pool.subscribe([f"NSE:{symbol}" for symbol in SYMBOLS], mode=Mode.LTP)
            await until(lambda: server.subscribed)
            yield server, heard, pool
        finally:
            await pool.close()
            await listener.close()


def price(n: int, symbol: str = "S0") -> dict[str, Any]:
    return {"type": "market_data", "symbol": symbol, "exchange": "NSE", "mode": 1, "data": {"ltp": n}}


def test_what_comes_in_one_read_is_one_list_in_its_order() -> None:
    async def main() -> None:
        async with listening() as (server, heard, pool):
            server.send(*(price(n, SYMBOLS[n % 5]) for n in range(10)))
            await until(lambda: len(heard.order) == 10)
            assert heard.lists == [[float(n) for n in range(10)]]
            assert pool.get_pool_stats()["websocket"]["per_connection"][0]["ticks"] == 10

    asyncio.run(main())


class KiteServer(LinkHandler):
    """Lets everybody in, and sends packets in messages of their own in one write."""

    subscribed = False

    def opened(self, link: Link) -> None:
        self.link = link

    def text(self, message: str) -> None:
        self.subscribed = True

    def send(self, *prices: int) -> None:
        packets = [struct.pack(">HHii", 1, 8, 256 * n + 1, price * 100) for n, price in enumerate(prices)]
        # A binary frame with its length in one byte, as a server sends it.
        self.link.send_frames(b"".join(bytes((0x82, len(packet))) + packet for packet in packets))


def test_binary_messages_of_one_read_are_one_list_and_a_heartbeat_is_none() -> None:
    async def main() -> None:
        server = KiteServer()
        listener = await serve(lambda _: server, "127.0.0.1", 0)
        names = [Instrument("NSE", symbol) for symbol in SYMBOLS]
        book = TokenBook((name, 256 * n + 1) for n, name in enumerate(names))
        pool = WebSocketPool(ZerodhaFeed("k", "t", ws_url=f"ws://127.0.0.1:{listener.port}/", book=book))
        heard = Heard()
        pool.listen(heard)
        try:
            pool.subscribe(names, mode=Mode.LTP)
            await until(lambda: pool.state(names[4]) is SymbolState.SENT)
            server.send(1, 2, 3)
            await until(lambda: heard.lists)
            assert heard.lists == [[1.0, 2.0, 3.0]]
            server.link.send_frames(bytes((0x82, 1, 0)))
            await until(lambda: _connection(pool)["heartbeats"] == 1)
            assert _connection(pool)["ticks"] == 3
        finally:
            await pool.close()
            await listener.close()

    asyncio.run(main())


def _connection(pool: WebSocketPool) -> dict[str, Any]:
    (only,) = pool.get_pool_stats()["websocket"]["per_connection"]
    assert isinstance(only, dict)
    return only


def test_other_news_keeps_its_place_among_the_ticks() -> None:
    stale = {"type": "feed_status", "status": "stale", "symbol": "S0", "exchange": "NSE", "message": "m"}
    update = {"type": "order_update", "orderid": "7"}

    async def main() -> None:
        async with listening() as (server, heard, _):
            server.send(
                price(1), price(2), stale, price(3), update, b"no JSON", price(4, "S1"), price(5, "S1")
            )
            await until(lambda: "5" in heard.order)
            assert heard.order == ["1", "2", "gap S0", "3", "update", "4", "5"]

    asyncio.run(main())


def test_ticks_right_before_the_end_of_the_socket_or_before_a_long_message_are_not_lost() -> None:
    long = {**price(3), "note": "x" * 10_000}

    async def main() -> None:
        async with listening() as (server, heard, _):
            server.send(price(1), price(2), long, price(4))
            await until(lambda: heard.order[-1:] == ["4"])
            server.send(price(5), price(6))
            server.link.close()
            await until(lambda: "6" in heard.order)
            assert heard.order[:6] == ["1", "2", "3", "4", "5", "6"]

    asyncio.run(main())


def test_text_that_is_not_utf8_ends_the_socket_after_the_ticks_before_it() -> None:
    async def main() -> None:
        async with listening() as (server, heard, _):
            first = server.link
            server.send(price(1), price(2), b'{"type":"\xff"}', price(3))
            await until(lambda: first.closed)
            assert heard.order[:2] == ["1", "2"]
            assert "3" not in heard.order

    asyncio.run(main())
