"""A broker's market data over HTTP: typed, in few calls, from the feed where that is fresh."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from brokerpool import (
    BrokerApi,
    BrokerError,
    DepthTick,
    ErrorCode,
    Instrument,
    Mode,
    WebSocketPool,
)
from brokerpool.simulator import FaultOrder, KiteSimulator, Refuse
from tests.rehearsal import Prompt, feed, instruments, until

NOPE = Instrument("NSE", "NOPE")


@asynccontextmanager
async def broker_and_api(symbols: int = 30, **options: Any) -> AsyncIterator[tuple[KiteSimulator, BrokerApi]]:
    """Give a simulated broker whose market stands still, and an API of it whose repeats follow at once."""
    async with (
        KiteSimulator(symbols=symbols, rate=0) as broker,
        BrokerApi(feed(broker).rest(), **{"random": Prompt(), **options}) as api,
    ):
        yield broker, api


def asked(broker: KiteSimulator, path: str) -> int:
    return int(broker.stats()["http_requests"].get(path, 0))


def test_three_kinds_of_quotes_are_typed_and_agree_with_each_other() -> None:
    async def main() -> None:
        async with broker_and_api() as (broker, api):
            wanted = instruments(broker)
            ltp = await api.ltp([*wanted, NOPE])
            ohlc = await api.ohlc([*wanted, NOPE])
            quotes = await api.quotes([*wanted, NOPE])
            assert set(ltp) == set(ohlc) == set(quotes) == set(wanted)
            for instrument, (tick, live) in quotes.items():
                assert tick.instrument == instrument
                assert not live
                assert tick.ltp == ltp[instrument].ltp == ohlc[instrument].ltp > 0
                day = ohlc[instrument]
                assert (day.open, day.high, day.low, day.close) == (
                    tick.open,
                    tick.high,
                    tick.low,
                    tick.close,
                )

    asyncio.run(main())


def test_a_quote_over_http_is_what_the_feed_says_in_depth_mode() -> None:
    async def main() -> None:
        async with KiteSimulator(symbols=30, rate=0) as broker:
            account = feed(broker)
            wanted = instruments(broker)
            async with WebSocketPool(account) as pool, BrokerApi(account.rest()) as api:
                pool.subscribe(wanted, Mode.DEPTH)
                await pool.wait_live(wanted)
                for instrument, (tick, _) in (await api.quotes(wanted)).items():
                    told = pool.fresh(instrument, 60)
                    assert isinstance(told, DepthTick)
                    for member in ("ltp", "open", "high", "low", "close", "volume", "oi", "timestamp"):
                        assert getattr(told, member) == getattr(tick, member), member
                    assert told.change_percent == pytest.approx(tick.change_percent)
                    if tick.buy:  # an index has no book
                        assert (told.buy, told.sell) == (tick.buy, tick.sell)
                        assert told.avg_trade_price == tick.avg_trade_price
                        assert told.total_buy_quantity == tick.total_buy_quantity

    asyncio.run(main())


def test_a_fresh_tick_of_the_feed_answers_without_a_call_and_says_so() -> None:
    async def main() -> None:
        async with KiteSimulator(symbols=5, rate=0) as broker:
            account = feed(broker)
            first, second, *_ = wanted = instruments(broker)
            async with (
                WebSocketPool(account) as pool,
                BrokerApi(account.rest(), live=lambda i: pool.fresh(i, 60)) as api,
            ):
                pool.subscribe(first, Mode.DEPTH)
                pool.subscribe(second, Mode.QUOTE)
                await pool.wait_live([first, second])
                quotes = await api.quotes([first, second])
                assert quotes[first].live
                assert not quotes[second].live, "its ticks have no order book"
                assert asked(broker, "/quote") == 1
                await api.quotes([first])
                assert asked(broker, "/quote") == 1
                assert set(await api.ltp([first, second])) == {first, second}
                assert asked(broker, "/quote/ltp") == 0, "any tick has a last price"
                broker.kill(int(broker.sockets()[0]["id"]))
                await until(lambda: pool.gap(first) is not None)
                assert not (await api.quotes(wanted))[first].live, "its feed has stopped"

    asyncio.run(main())


def test_one_order_book_is_a_quote_where_the_brokers_quotes_have_it() -> None:
    async def main() -> None:
        async with broker_and_api() as (broker, api):
            wanted = instruments(broker)
            quoted = await api.depth(str(wanted[0]))
            assert quoted is not None
            assert quoted.tick.buy == (await api.quotes(wanted[0]))[wanted[0]].tick.buy
            assert await api.depth(NOPE) is None
            assert asked(broker, "/quote") == 3

    asyncio.run(main())


def test_single_quotes_that_are_asked_for_together_leave_as_one_call() -> None:
    async def main() -> None:
        async with broker_and_api(symbols=600) as (broker, api):
            wanted = instruments(broker)
            answers = await asyncio.gather(*(api.quotes([i]) for i in wanted[:500]))
            assert [next(iter(answer)) for answer in answers] == wanted[:500]
            assert asked(broker, "/quote") == 1
            assert api.stats()["coalesced"] == 499

    asyncio.run(main())


def test_more_than_one_request_may_name_leave_as_several() -> None:
    async def main() -> None:
        async with broker_and_api(symbols=600) as (broker, api):
            assert len(await api.quotes(instruments(broker))) == 600
            assert asked(broker, "/quote") == 2

    asyncio.run(main())


def test_what_the_broker_complains_of_is_an_error_with_a_code() -> None:
    async def main() -> None:
        async with broker_and_api(max_retries=0) as (broker, api):
            await broker.throw(FaultOrder(refuse_http=Refuse(503)))
            with pytest.raises(BrokerError, match="503") as caught:
                await api.quotes(instruments(broker, 1))
            assert caught.value.code is ErrorCode.BROKER_UNREACHABLE

    asyncio.run(main())


def test_an_interval_that_the_broker_lacks_is_refused_with_the_ones_it_has() -> None:
    async def main() -> None:
        async with broker_and_api() as (broker, api):
            at = datetime(2025, 4, 1, tzinfo=UTC)
            with pytest.raises(BrokerError, match="'7m', but of 1m, 3m, 5m") as caught:
                await api.history(instruments(broker, 1)[0], "7m", at, at)
            assert caught.value.code is ErrorCode.INTERVAL_NOT_SUPPORTED

    asyncio.run(main())
