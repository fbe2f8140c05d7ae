"""WebSocketPool against the simulated broker, over real sockets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import islice

import pytest

from brokerpool import (
    ErrorCode,
    Instrument,
    Mode,
    NotLiveError,
    PoolClosedError,
    PoolExhaustedError,
    PoolListener,
    SymbolState,
    TokenBook,
    UnknownInstrumentError,
    WebSocketPool,
    ZerodhaFeed,
)
from brokerpool.brokers.limits_file import FeedLimits
from tests.measuring import work
from tests.rehearsal import demanded, instruments, rehearsal, served, until

NOWHERE = Instrument("NSE", "NOSUCHNAME")


def loads(pool: WebSocketPool) -> list[int]:
    return [c["symbols"] for c in pool.get_pool_stats()["websocket"]["per_connection"]]


def test_the_seeds_defaults_make_2500_symbols_three_connections_and_refuse_3001_with_numbers() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3001, linger=0.3) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:2500])
            assert loads(pool) == [1000, 1000, 500]
            await until(lambda: len(served(broker)) == 2500)
            assert sorted(len(s["tokens"]) for s in broker.sockets()) == [500, 1000, 1000]
            with pytest.raises(PoolExhaustedError) as caught:
                pool.subscribe(every)
            assert loads(pool) == [1000, 1000, 500], "nothing has changed"
            assert len(caught.value.refused) == 1
            assert caught.value.code is ErrorCode.MAX_CAPACITY_REACHED
            assert "1 symbols do not fit" in str(caught.value)
            assert "2500 of 3000 places" in str(caught.value)
            assert "zerodha-3 500" in str(caught.value)
            pool.subscribe(every[:3000])
            await until(lambda: len(served(broker)) == 3000)
            stats = broker.stats()
            assert stats["peak_sockets"] == 3
            assert stats["peak_tokens_per_socket"] == 1000
            assert stats["violations"] == {"tokens": 0, "sockets": 0}
            assert stats["largest_batch"] <= 200
            assert stats["peak_duplicate_tokens"] == 0
            pool.unsubscribe(every[30:3000])
            await until(lambda: len(broker.sockets()) == 1)
            assert loads(pool) == [30], "from 3000 to 30: the two empty connections are closed"

    asyncio.run(main())


def test_a_new_connection_is_opened_only_when_the_others_are_full() -> None:
    async def main() -> None:
        async with rehearsal(symbols=10, max_symbols=4) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:3])
            await until(lambda: len(served(broker)) == 3)
            pool.subscribe(every[3:4])
            await until(lambda: len(served(broker)) == 4)
            assert len(broker.sockets()) == 1
            pool.subscribe(every[4])
            await until(lambda: len(broker.sockets()) == 2)

    asyncio.run(main())


def test_unsubscribing_frees_the_place_at_once() -> None:
    async def main() -> None:
        async with rehearsal(symbols=9, max_symbols=2) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:6])
            pool.unsubscribe(every[2])
            pool.subscribe(every[6])  # no network turn in between
            await until(lambda: served(broker) == demanded(pool))
            assert len(served(broker)) == 6
            assert broker.stats()["violations"] == {"tokens": 0, "sockets": 0}

    asyncio.run(main())


def test_empty_connections_close_after_the_linger_and_one_that_is_used_again_stays() -> None:
    async def main() -> None:
        async with rehearsal(symbols=30, max_symbols=10, linger=0.3) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every)
            await until(lambda: len(served(broker)) == 30)
            pool.unsubscribe(every[5:])
            assert pool.get_pool_stats()["websocket"]["connections"] == 3, "not torn down at once"
            await until(lambda: len(broker.sockets()) == 1)
            assert loads(pool) == [5]
            pool.unsubscribe(every[:5])
            pool.subscribe(every[0])
            await asyncio.sleep(0.5)  # longer than the linger
            assert [list(s["tokens"]) for s in broker.sockets()] == [[str(pool.feed.book.token(every[0]))]]
            assert broker.stats()["dials"] == 3

    asyncio.run(main())


def test_a_batch_with_an_unknown_symbol_is_refused_whole_and_names_it() -> None:
    async def main() -> None:
        async with rehearsal(symbols=5) as (broker, pool):
            with pytest.raises(UnknownInstrumentError, match="NSE:NOSUCHNAME") as caught:
                pool.subscribe([*instruments(broker, 2), NOWHERE])
            assert [r.instrument for r in caught.value.refused] == [NOWHERE]
            assert loads(pool) == []

    asyncio.run(main())


def test_a_partial_result_lists_every_refused_symbol_with_its_reason() -> None:
    async def main() -> None:
        async with rehearsal(symbols=8, max_symbols=2) as (broker, pool):
            every = instruments(broker)
            result = pool.subscribe([NOWHERE, *every], partial=True)
            assert result.accepted == tuple(every[:6])
            assert {r.instrument: r.code for r in result.refused} == {
                NOWHERE: ErrorCode.SYMBOL_NOT_FOUND,
                every[6]: ErrorCode.MAX_CAPACITY_REACHED,
                every[7]: ErrorCode.MAX_CAPACITY_REACHED,
            }
            assert all(r.message for r in result.refused)

    asyncio.run(main())


def test_the_mode_rises_and_falls_with_its_owners_and_no_token_is_subscribed_twice() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3) as (broker, pool):
            (infy,) = instruments(broker, 1)
            token = pool.feed.book.token(infy)
            pool.subscribe(infy, Mode.LTP, owner="a")
            await until(lambda: served(broker) == {token: Mode.LTP})
            pool.subscribe(infy, Mode.DEPTH, owner="b")
            await until(lambda: served(broker) == {token: Mode.DEPTH})
            pool.subscribe(infy, Mode.QUOTE, owner="a")
            pool.unsubscribe(infy, owner="b")
            await until(lambda: served(broker) == {token: Mode.QUOTE})
            pool.unsubscribe(infy, Mode.QUOTE, owner="a")
            await until(lambda: served(broker) == {token: Mode.LTP})
            assert pool.release("a") == 1
            await until(lambda: served(broker) == {})
            (socket,) = broker.sockets()
            assert socket["entries"] == 0

    asyncio.run(main())


def test_a_symbol_goes_from_accepted_to_sent_to_live_and_each_step_is_told() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3, snapshot=False) as (broker, pool):
            told: list[SymbolState] = []

            class Listener(PoolListener):
                def symbols_changed(self, changed: list[Instrument], state: SymbolState) -> None:
                    told.append(state)

            pool.listen(Listener())
            (infy,) = instruments(broker, 1)
            assert pool.state(infy) is None
            pool.subscribe(infy)
            assert pool.state(infy) is SymbolState.ACCEPTED
            await until(lambda: served(broker))
            assert pool.state(infy) is SymbolState.SENT
            await broker.step(50)
            await pool.wait_live(infy, timeout=5)
            assert pool.state(infy) is SymbolState.LIVE
            assert told == [SymbolState.SENT, SymbolState.LIVE]

    asyncio.run(main())


def test_waiting_for_symbols_that_stay_silent_ends_in_time_with_their_states() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3, snapshot=False) as (broker, pool):
            first, second = instruments(broker, 2)
            pool.subscribe(first)
            with pytest.raises(NotLiveError, match="2 symbols had no tick") as caught:
                await pool.wait_live([first, second], timeout=0.3)
            assert caught.value.states == {first: "sent", second: "not wanted"}

    asyncio.run(main())


def test_a_consumer_that_falls_behind_loses_the_oldest_ticks_and_is_told_how_many() -> None:
    async def main() -> None:
        async with rehearsal(symbols=1, snapshot=False) as (broker, pool):
            (only,) = instruments(broker)
            pool.subscribe(only, Mode.LTP)
            await until(lambda: served(broker))
            with pool.ticks(size=10) as ticks:
                await broker.step(25)
                await until(lambda: ticks.dropped == 15)
                newest = broker.market.ticks
                assert newest == 25
                kept = [await anext(ticks) for _ in range(10)]
                assert len(kept) == 10

    asyncio.run(main())


def test_the_statistics_have_the_seeds_members() -> None:
    async def main() -> None:
        async with rehearsal(symbols=30, max_symbols=10) as (broker, pool):
            pool.subscribe(instruments(broker, 15))
            stats = pool.get_pool_stats()["websocket"]
            assert stats["connections"] == 2
            assert stats["total_symbols"] == 15
            assert stats["capacity_used"] == 0.5

    asyncio.run(main())


def test_closing_leaves_no_socket_and_no_task_and_refuses_new_demand() -> None:
    async def main() -> None:
        async with rehearsal(symbols=30, max_symbols=10) as (broker, pool):
            pool.subscribe(instruments(broker, 25))
            await until(lambda: len(broker.sockets()) == 3)
            with pool.ticks() as ticks:
                await pool.close()
                async with asyncio.timeout(1):
                    assert [t async for t in ticks if t is None] == [], "the iteration ends"
            await until(lambda: not broker.sockets())
            assert not [t for t in asyncio.all_tasks() if t.get_name().startswith("brokerpool zerodha")]
            with pytest.raises(PoolClosedError):
                pool.subscribe(instruments(broker, 1))

    asyncio.run(main())


def test_symbols_may_be_given_as_text_one_or_many() -> None:
    async def main() -> None:
        async with rehearsal(symbols=5) as (broker, pool):
            names = [str(i) for i in instruments(broker)]
            assert pool.subscribe(names[0]).accepted == tuple(instruments(broker, 1))
            assert len(pool.subscribe(islice(names, 5)).accepted) == 5
            assert pool.unsubscribe(names[0]) == tuple(instruments(broker, 1))
            with pytest.raises(ValueError, match="EXCHANGE:SYMBOL"):
                pool.subscribe("INFY")

    asyncio.run(main())


def test_ten_thousand_symbols_are_taken_in_a_fifth_of_a_second_and_the_cost_grows_as_they_do() -> None:
    async def cost(count: int) -> float:
        listed = [Instrument("NFO", f"NIFTY{n}") for n in range(count)]
        book = TokenBook((instrument, n + 1) for n, instrument in enumerate(listed))
        limits = replace(FeedLimits.load("brokerpool.brokers.zerodha"), symbols_per_connection=count)
        feed = ZerodhaFeed("k", "t", ws_url="ws://127.0.0.1:9", book=book, limits=limits)
        pool = WebSocketPool(feed, max_symbols=count)
        with work() as both:
            pool.subscribe(listed)
            pool.unsubscribe(listed)
        await pool.close()
        return both.seconds

    async def main() -> None:
        small = min([await cost(5_000) for _ in range(3)])
        large = min([await cost(20_000) for _ in range(3)])
        print(f"5,000 symbols: {small * 1000:.0f} ms of CPU; 20,000: {large * 1000:.0f} ms")
        assert 2 * small < 0.2
        assert large < 8 * small, "four times as many; with the square it would be 16"

    asyncio.run(main())
