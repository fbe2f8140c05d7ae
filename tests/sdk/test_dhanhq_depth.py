"""The official dhanhq 2.3.0 at our simulator receives the 20-level books that our codec receives there."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any, NamedTuple

import pytest

from brokerpool import WebSocketPool
from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.feed.listeners import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.simulator.dhan.broker import DhanSimulator
from brokerpool.ticks import DepthTick, Mode, Tick
from tests.sdk.sdk_process import until
from tests.sdk.test_dhanhq import NOON, sdk_at

SYMBOLS = 60
ROUNDS = 3


class Books(PoolListener):
    """What our pool told, by symbol."""

    def __init__(self) -> None:
        self.by_symbol: defaultdict[Instrument, list[DepthTick]] = defaultdict(list)
        self.count = 0

    def ticked(self, ticks: list[Tick]) -> None:
        for tick in ticks:
            assert isinstance(tick, DepthTick)
            self.by_symbol[tick.instrument].append(tick)
        self.count += len(ticks)


class Seen(NamedTuple):
    """What both clients saw of one market."""

    by_sdk: dict[int, list[dict[str, Any]]]
    by_us: dict[int, list[DepthTick]]
    skipped: list[dict[str, int]]
    stats: dict[str, Any]
    evicted: str
    unpaid: str


async def watch(broker: DhanSimulator) -> Seen:
    account = DhanFeed(
        broker.api_key, broker.access_token, ws_url=broker.ws_url, http_url=broker.http_url, deep_book=True
    )
    account.relist(await account.instruments())
    depth = account.deep_book
    assert depth is not None
    contracts, shares = ([i for i in depth.book if i.exchange == code] for code in ("NFO", "NSE"))
    wanted = [*contracts, *shares][:SYMBOLS]
    tokens = {int(depth.book.token(i) or 0): i for i in wanted}
    assert {token & 0xFF for token in tokens} == {1, 2}, "shares and contracts"
    named = [(token & 0xFF, str(token >> 8)) for token in tokens]
    books = Books()
    async with WebSocketPool(depth, name="dhan-depth20", max_connections=2) as pool, sdk_at(broker) as sdk:
        pool.listen(books)
        pool.subscribe(wanted, Mode.DEPTH)
        await sdk.ask("open_depth", named[:50])
        await sdk.ask("open_depth", named[50:])
        await until(lambda: sorted(s["entries"] for s in broker.depth20.sockets()) == [10, 10, 50, 50])
        await broker.step(len(broker.listings) * ROUNDS)
        await until(lambda: books.count >= SYMBOLS * ROUNDS)
        sides = await sdk.ask("depth", 0, 50 * ROUNDS) + await sdk.ask("depth", 1, 10 * ROUNDS)
        skipped = [c["skipped_packets"] for c in pool.get_pool_stats()["websocket"]["per_connection"]]
        stats = broker.stats()["depth20"]
    async with sdk_at(broker) as sdk:
        await until(lambda: not broker.depth20.sockets())
        for _ in range(6):
            await sdk.ask("open_depth", named[:1])
        evicted = await sdk.ask("depth_ended", 0)
    async with sdk_at(broker) as sdk:
        broker.depth20.subscribed = False
        await sdk.ask("open_depth", [])
        unpaid = await sdk.ask("depth_ended", 0)
    by_sdk = defaultdict(list)
    for side in sides:
        by_sdk[side["security_id"] << 8 | side["exchange_segment"]].append(side)
    by_us = {token: books.by_symbol[instrument] for token, instrument in tokens.items()}
    return Seen(by_sdk, by_us, skipped, stats, evicted, unpaid)


@pytest.fixture(scope="module")
def seen() -> Seen:
    async def scenario() -> Seen:
        async with DhanSimulator(symbols=200, rate=0, snapshot=False, clock=lambda: float(NOON)) as broker:
            return await watch(broker)

    return asyncio.run(asyncio.wait_for(scenario(), 90))


def test_both_receive_the_same_books_of_60_symbols_level_by_level(seen: Seen) -> None:
    assert set(seen.by_sdk) == set(seen.by_us)
    compared = 0
    for token, ticks in seen.by_us.items():
        assert len(ticks) == ROUNDS
        place = {"exchange_segment": token & 0xFF, "security_id": token >> 8}
        told: list[dict[str, Any]] = [
            {
                **place,
                "type": kind,
                "depth": [{"price": v.price, "quantity": v.quantity, "orders": v.orders} for v in levels],
            }
            for tick in ticks
            for kind, levels in (("Bid", tick.buy), ("Ask", tick.sell))
        ]
        assert seen.by_sdk[token] == told
        compared += sum(len(side["depth"]) for side in told)
    assert compared == SYMBOLS * ROUNDS * 2 * 20
    assert not any(count for skipped in seen.skipped for count in skipped.values())


def test_the_simulator_counted_this_endpoint_apart(seen: Seen) -> None:
    assert seen.stats["sockets"] == seen.stats["peak_sockets"] == 4
    assert seen.stats["peak_tokens_per_socket"] == seen.stats["largest_batch"] == 50
    assert not any(seen.stats["violations"].values())


def test_a_sixth_socket_ends_the_first_and_the_sdk_knows_why(seen: Seen) -> None:
    assert "No. of active websocket connections exceeded" in seen.evicted


def test_a_plan_without_the_depth_is_told_by_a_packet(seen: Seen) -> None:
    assert "Subscribe to Data APIs to continue" in seen.unpaid
