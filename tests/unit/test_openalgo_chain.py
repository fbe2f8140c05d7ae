"""A pool over a gateway over a simulated broker: what one brokerpool tells the next is understood."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from brokerpool import BrokerApi, DepthTick, Mode, QuoteTick, SymbolState, Tick, WebSocketPool
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.openalgo import OpenAlgoFeed
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.gateway.server import Gateway
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import KEY, gateway, pool_of
from tests.rehearsal import Prompt, feed, instruments, until

LIMITS = replace(FeedLimits.load("brokerpool.brokers.openalgo"), dials=())


class Heard(PoolListener):
    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.closed: list[Gap] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += ticks

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.closed += gaps


@asynccontextmanager
async def chain() -> AsyncIterator[tuple[KiteSimulator, Gateway, OpenAlgoFeed, WebSocketPool, Heard]]:
    async with gateway() as (broker, served_by):
        account = OpenAlgoFeed(KEY, ws_url=served_by.ws_url, http_url=served_by.http_url, limits=LIMITS)
        account.relist(await account.instruments())
        async with WebSocketPool(account, random=Prompt()) as pool:
            heard = Heard()
            pool.listen(heard)
            yield broker, served_by, account, pool, heard


def test_the_list_of_the_gateway_is_that_of_its_broker() -> None:
    async def main() -> None:
        async with chain() as (broker, _, account, _, _):
            behind = feed(broker).book
            assert sorted(account.book) == sorted(behind)
            assert account.book.details("NSE:INFY").broker_exchange == "NSE"

    asyncio.run(main())


def test_ticks_of_all_modes_come_through_as_the_broker_told_them() -> None:
    async def main() -> None:
        async with chain() as (broker, served_by, _, pool, heard):
            wanted = instruments(broker)[:9]
            for n, instrument in enumerate(wanted):
                pool.subscribe(instrument, Mode(n % 3 + 1))
            own = pool_of(served_by)
            await until(lambda: all(own.state(i) is SymbolState.LIVE for i in wanted))
            await broker.step(300)
            await until(lambda: all(pool.state(i) is SymbolState.LIVE for i in wanted))
            for n, instrument in enumerate(wanted):
                last = [tick for tick in heard.ticks if tick.instrument == instrument][-1]
                assert type(last) is (Tick, QuoteTick, DepthTick)[n % 3]
                told = own.fresh(instrument, 60)
                assert told is not None
                members = ("ltp", "timestamp", "open", "close", "volume", "change", "oi", "buy", "sell")
                for member in (m for m in members if hasattr(last, m)):
                    assert getattr(last, member) == getattr(told, member), member

    asyncio.run(main())


def test_a_connection_that_the_gateway_loses_is_one_gap_a_symbol_at_the_end_of_the_chain() -> None:
    async def main() -> None:
        async with chain() as (broker, served_by, _, pool, heard):
            wanted = instruments(broker)[:5]
            pool.subscribe(wanted, Mode.QUOTE)
            await until(lambda: all(pool_of(served_by).state(i) is SymbolState.LIVE for i in wanted))
            await broker.step(200)
            await until(lambda: all(pool.state(i) is SymbolState.LIVE for i in wanted))
            broker.kill(int(broker.sockets()[0]["id"]))
            await until(lambda: all(pool.gap(i) is not None for i in wanted))
            await until(lambda: broker.sockets())
            await until(lambda: all(pool_of(served_by).state(i) is SymbolState.LIVE for i in wanted))
            await broker.step(200)
            await until(lambda: all(pool.gap(i) is None for i in wanted))
            assert sorted(gap.instrument for gap in heard.closed) == sorted(wanted)

    asyncio.run(main())


def test_quotes_books_and_candles_come_through() -> None:
    async def main() -> None:
        async with chain() as (broker, _, account, _, _):
            wanted = instruments(broker)[:3]
            end = datetime.now(UTC)
            async with BrokerApi(account.rest()) as api, BrokerApi(feed(broker).rest()) as behind:
                quotes, told = await api.quotes(wanted), await behind.quotes(wanted)
                for instrument in wanted:
                    one, other = quotes[instrument].tick, told[instrument].tick
                    for member in ("ltp", "open", "high", "low", "close", "volume", "oi"):
                        assert getattr(one, member) == getattr(other, member), member
                    if other.buy:
                        assert one.buy[0].price == other.buy[0].price
                book = await api.depth(wanted[0])
                assert book is not None
                levels = [(level.price, level.quantity) for level in told[wanted[0]].tick.buy]
                assert [(level.price, level.quantity) for level in book.tick.buy] == levels
                for interval in ("1m", "D"):
                    span = (end - timedelta(days=4), end)
                    candles = {c.timestamp: c for c in await api.history(wanted[0], interval, *span)}
                    others = await behind.history(wanted[0], interval, *span)
                    # Ours are of whole days; what the broker is asked for begins in the middle of one.
                    assert others
                    assert all(candles[c.timestamp] == c for c in others[:-1]), interval

    asyncio.run(main())


def test_a_wrong_key_parks_at_a_gateway_too() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            account = OpenAlgoFeed("not-the-key", ws_url=served_by.ws_url, http_url=served_by.http_url)
            async with WebSocketPool(account, random=Prompt()) as pool:
                pool.subscribe("NSE:INFY")
                await until(lambda: account.login.refused)
                await asyncio.sleep(0.2)
                (connection,) = pool.get_pool_stats()["websocket"]["per_connection"]
                assert connection["dials"] == 1

    asyncio.run(main())
