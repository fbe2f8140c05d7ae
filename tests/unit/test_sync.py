"""The blocking twin, from plain threads, against a simulator that runs in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from brokerpool import (
    BrokerError,
    Credentials,
    Instrument,
    Mode,
    PoolClosedError,
    PoolExhaustedError,
    Quoted,
    SymbolState,
    sync,
)
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.rehearsal import feed, instruments


@pytest.fixture
def broker() -> Iterator[KiteSimulator]:
    """A simulated broker that trades 500 times a second."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def make() -> KiteSimulator:
        simulator = KiteSimulator(symbols=20, rate=500)
        await simulator.start()
        return simulator

    simulator = asyncio.run_coroutine_threadsafe(make(), loop).result(10)
    yield simulator
    asyncio.run_coroutine_threadsafe(simulator.close(), loop).result(10)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def test_a_script_without_async_gets_ticks_and_unsubscribes(broker: KiteSimulator) -> None:
    with sync.WebSocketPool(feed(broker)) as pool:
        ticks = pool.ticks(timeout=5)
        (infy,) = pool.subscribe("NSE:INFY", Mode.LTP).accepted
        pool.wait_live(infy)
        assert pool.state(infy) is SymbolState.LIVE
        seen = [next(ticks) for _ in range(5)]
        assert {tick.instrument for tick in seen} == {infy}
        assert pool.get_pool_stats()["websocket"]["total_symbols"] == 1
        assert pool.unsubscribe(infy) == (infy,)
        assert pool.state(infy) is None
        assert list(pool.ticks(timeout=0.2)) == [], "nothing comes, and the wait ends in time"


def test_errors_come_through_as_they_are(broker: KiteSimulator) -> None:
    with (
        sync.WebSocketPool(feed(broker), max_symbols=2, max_connections=1) as pool,
        pytest.raises(PoolExhaustedError, match="1 symbols do not fit"),
    ):
        pool.subscribe(instruments(broker, 3))


def test_a_consumer_in_another_thread_ends_when_the_pool_closes(broker: KiteSimulator) -> None:
    pool = sync.WebSocketPool(feed(broker))
    seen: list[object] = []
    ticks = pool.ticks()
    pool.subscribe("NSE:INFY")
    consumer = threading.Thread(target=lambda: seen.extend(ticks))
    consumer.start()
    pool.wait_live("NSE:INFY")
    pool.close()
    consumer.join(5)
    assert not consumer.is_alive()
    assert seen


def test_a_new_token_given_by_a_plain_thread_restores_everything(broker: KiteSimulator) -> None:
    with sync.WebSocketPool(feed(broker)) as pool:
        (infy,) = pool.subscribe("NSE:INFY", priority=3).accepted
        pool.wait_live(infy)
        broker.access_token = "tomorrow"  # the token of today is refused from the next dial on
        assert pool.renew(Credentials("tomorrow"))
        assert not pool.renew(Credentials("tomorrow"))
        pool.wait_live(infy)
        assert pool.gap(infy) is None


def test_many_threads_may_subscribe_at_once(broker: KiteSimulator) -> None:
    with sync.WebSocketPool(feed(broker)) as pool:
        every = instruments(broker)

        def work(owner: str) -> None:
            for instrument in every:
                pool.subscribe(instrument, owner=owner)
                pool.unsubscribe(instrument, owner=owner)
            pool.subscribe(every[0], owner=owner)

        threads = [threading.Thread(target=work, args=(f"thread-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert pool.get_pool_stats()["websocket"]["total_symbols"] == 1


def test_closing_twice_does_nothing_and_leaves_no_thread(broker: KiteSimulator) -> None:
    before = threading.active_count()
    pool = sync.WebSocketPool(feed(broker))
    pool.subscribe("NSE:INFY")
    pool.close()
    pool.close()
    assert threading.active_count() == before


def test_a_closed_pool_says_so(broker: KiteSimulator) -> None:
    pool = sync.WebSocketPool(feed(broker))
    pool.close()
    for use in (lambda: pool.subscribe("NSE:INFY"), pool.get_pool_stats, lambda: pool.wait_live("NSE:INFY")):
        with pytest.raises(PoolClosedError, match="pool zerodha is closed"):
            use()


def test_a_script_without_async_asks_for_quotes_and_candles(broker: KiteSimulator) -> None:
    wanted = instruments(broker, 5)
    with sync.BrokerApi(feed(broker).rest()) as api:
        assert set(api.ltp(wanted)) == set(api.ohlc(wanted)) == set(wanted)
        assert set(api.quotes(wanted)) == set(wanted)
        end = datetime.now(UTC)
        days = 2 * api.intervals["1m"]  # more than one call may ask for
        candles = api.history(wanted[0], "1m", end - timedelta(days=days), end)
        assert candles == sorted(candles, key=lambda candle: candle.timestamp)
        assert len(candles) > 0
        assert api.stats()["requests"] >= 5
        with pytest.raises(BrokerError, match="INTERVAL_NOT_SUPPORTED"):
            api.history(wanted[0], "7m", end, end)
    assert "brokerpool" not in {thread.name for thread in threading.enumerate()}
    for use in (lambda: api.ltp(wanted), api.stats):
        with pytest.raises(PoolClosedError, match="client zerodha is closed"):
            use()


def test_threads_that_ask_for_quotes_at_the_same_time_share_a_call(broker: KiteSimulator) -> None:
    with sync.BrokerApi(feed(broker).rest()) as api:
        wanted = instruments(broker, 8)
        found: list[dict[Instrument, Quoted]] = []
        threads = [threading.Thread(target=lambda one=i: found.append(api.quotes([one]))) for i in wanted]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert {i for answer in found for i in answer} == set(wanted)
        assert api.stats()["requests"] <= 3, "eight single quotes, at one call a second"
