"""Symbols that change connections: away from one that is out, home again, and off one that is to end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from brokerpool import Credentials, Gap, Instrument, Mode, PoolListener, SymbolState, Tick, WebSocketPool
from brokerpool.brokers.wire import Farewell
from brokerpool.brokers.zerodha import KiteWire, ZerodhaFeed
from brokerpool.simulator.broker import EVICTED
from brokerpool.simulator.fault_switches import Refuse
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.rehearsal import (
    Prompt,
    carrier,
    demanded,
    feed,
    instruments,
    no_task_dies,
    rehearsal,
    served,
    until,
)


class Witness(PoolListener):
    """Notes every tick, gap and state, in order."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.opened: list[Gap] = []
        self.closed: list[Gap] = []
        self.degraded: list[Instrument] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += ticks

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if state is SymbolState.DEGRADED:
            self.degraded += instruments

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.opened += gaps

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.closed += gaps


def connections(pool: WebSocketPool) -> dict[str, dict[str, Any]]:
    return {c["name"]: c for c in pool.get_pool_stats()["websocket"]["per_connection"]}


def events(pool: WebSocketPool, event: str) -> list[tuple[str, int]]:
    return [(e.connection, e.symbols) for e in pool.journal.entries() if e.event.value == event]


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that has been back for half a second may take its symbols home again."""
    monkeypatch.setattr("brokerpool.feed.symbol_moves.PROVEN_SECONDS", 0.5)


@pytest.mark.usefixtures("soon")
def test_symbols_of_a_connection_that_stays_out_move_by_priority_and_go_home_again_without_a_hole() -> None:
    async def main() -> None:
        async with rehearsal(symbols=20, rate=400, max_symbols=5, grace=0.3) as (broker, pool):
            every = instruments(broker)
            first, second, third = every[:5], every[5:10], every[10:13]
            pool.subscribe(first[:3])
            pool.subscribe(first[3:], priority=5)
            pool.subscribe([*second, *third])
            await pool.wait_live(every[:13])
            witness = Witness()
            pool.listen(witness)
            broker.faults.refuse = Refuse(503)
            broker.kill(carrier(broker, pool, first[0]))
            await until(lambda: len(witness.degraded) == 3)
            assert connections(pool)["zerodha-3"]["hosted"] == 2
            assert witness.degraded == first[:3], "what has the lower priority waits"
            assert {pool.state(i) for i in first[:3]} == {SymbolState.DEGRADED}
            await pool.wait_live(first[3:])
            assert {gap.instrument for gap in witness.closed} == set(first[3:])
            # First in line: a place that becomes free goes to one that waits.
            pool.unsubscribe(third[0])
            await until(lambda: pool.state(first[0]) is SymbolState.LIVE)
            broker.faults.refuse = None
            pool.renew()
            await pool.wait_live(first)
            holes = len(witness.opened)
            await until(lambda: connections(pool)["zerodha-3"]["hosted"] == 0)
            await until(lambda: served(broker) == demanded(pool))
            await until(lambda: broker.stats()["duplicate_tokens"] == 0)
            assert len(witness.opened) == holes, "going home makes no hole"
            assert ("zerodha-1", 3) in events(pool, "moved")
            assert Counter(g.instrument for g in witness.closed) == Counter(
                g.instrument for g in witness.opened
            )
            stats = broker.stats()
            assert stats["violations"] == {"tokens": 0, "sockets": 0}
            assert stats["peak_tokens_per_socket"] <= 5

    asyncio.run(main())


def test_new_symbols_go_to_connections_that_work_and_hosted_symbols_make_room_for_a_hosts_own() -> None:
    async def main() -> None:
        async with rehearsal(
            symbols=12, rate=200, max_symbols=4, max_connections=2, grace=0.2, limits={"silence_seconds": 1.0}
        ) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:5])
            await pool.wait_live(every[:5])
            broker.faults.refuse = Refuse(503)
            home = next(s for s in broker.sockets() if len(s["tokens"]) == 4)
            broker.kill(home["id"])
            await until(lambda: connections(pool)["zerodha-2"]["hosted"] == 3)
            pool.subscribe(every[5], priority=9)  # the pool has places left: at the connection that is out
            pool.subscribe(every[6:8])
            await until(lambda: len(served(broker)) == 4)
            assert pool.get_pool_stats()["websocket"]["total_symbols"] == 8
            assert connections(pool)["zerodha-2"]["hosted"] == 0
            broker.faults.refuse = None
            pool.renew()
            await until(lambda: served(broker) == demanded(pool))
            assert broker.stats()["violations"] == {"tokens": 0, "sockets": 0}

    asyncio.run(main())


def no_copies(ticks: list[Tick]) -> None:
    """Fail unless each instrument's volume grows from tick to tick, as it does in the simulated market."""
    last: dict[Instrument, Tick] = {}
    for tick in ticks:
        before = last.get(tick.instrument)
        if before is not None:
            assert tick.volume > before.volume, f"{tick.instrument} came twice or late"  # type: ignore[attr-defined]
        last[tick.instrument] = tick


def equities(broker: KiteSimulator, count: int) -> list[Instrument]:
    """Return instruments whose volume grows with every tick."""
    return [i for i in instruments(broker) if i.exchange == "NSE"][:count]


@pytest.mark.parametrize("why", ["age", "credentials"])
def test_a_socket_with_a_known_end_or_old_credentials_is_replaced_before_it_is_closed(why: str) -> None:
    async def main() -> None:
        life = 2.0 if why == "age" else 0.0
        async with rehearsal(
            symbols=30,
            rate=600,
            snapshot=False,
            max_symbols=10,
            max_connections=3,
            limits={"silence_seconds": 1.0, "socket_life_seconds": life},
        ) as (broker, pool):
            wanted = equities(broker, 10)
            pool.subscribe(wanted)
            await pool.wait_live(wanted)
            witness = Witness()
            pool.listen(witness)
            if why == "credentials":
                broker.renew_token("tomorrow")
                pool.feed.login.renew(Credentials("tomorrow"))
            await until(lambda: ("zerodha-1", 0) in events(pool, "rotated"))
            await until(lambda: [s["id"] for s in broker.sockets()] == [2])
            assert list(connections(pool)) == ["zerodha-2"]
            assert witness.opened == []
            no_copies(witness.ticks)
            assert served(broker) == demanded(pool)
            stats = broker.stats()
            assert stats["dials"] == 2
            assert stats["violations"] == {"tokens": 0, "sockets": 0}

    asyncio.run(main())


def test_with_two_copies_each_tick_comes_once_and_the_loss_of_a_socket_makes_no_hole() -> None:
    async def main() -> None:
        async with rehearsal(symbols=30, rate=2000, max_symbols=10, max_connections=2, redundancy=2) as (
            broker,
            pool,
        ):
            wanted = equities(broker, 10)
            pool.subscribe(wanted)
            await pool.wait_live(wanted)
            witness = Witness()
            pool.listen(witness)
            await until(lambda: [len(s["tokens"]) for s in broker.sockets()] == [10, 10])
            assert list(connections(pool)) == ["zerodha-1", "zerodha-b-1"]
            await until(lambda: len(witness.ticks) > 300)
            broker.faults.refuse = Refuse(503, count=2)
            broker.kill(broker.sockets()[0]["id"])
            # Which was first is chance: one dial of the other, and of this one the first, two refused, one.
            await until(lambda: sum(c["dials"] for c in connections(pool).values()) == 5)
            await pool.wait_live(wanted)
            seen = len(witness.ticks)
            await until(lambda: len(witness.ticks) > seen + 500)
            assert witness.opened == []
            no_copies(witness.ticks)
            market = Counter(t.instrument for t in witness.ticks)
            assert max(market.values()) - min(market.values()) <= 2, "the market trades in turn"
            pool.unsubscribe(wanted)
            await until(lambda: served(broker) == {})

    asyncio.run(main())


def test_more_copies_than_connections_are_refused() -> None:
    async def main() -> None:
        async with KiteSimulator(symbols=3) as broker:
            with pytest.raises(ValueError, match="2 connections cannot carry 3 copies"):
                WebSocketPool(feed(broker), max_connections=2, redundancy=3)

    asyncio.run(main())


class _Evicting(KiteWire):
    def farewell(self, code: int, reason: str) -> Farewell:
        return Farewell.EVICTED if code == EVICTED else Farewell.LOST


class _EvictingFeed(ZerodhaFeed):
    """A broker that throws out the eldest socket when there is one too many, as Dhan does."""

    def wire(self) -> KiteWire:
        return _Evicting()


def test_an_eviction_is_never_answered_by_a_dial_and_the_symbols_move_to_the_sockets_that_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("brokerpool.feed.dial_permits.EVICTED_SECONDS", 3.0)

    async def main() -> None:
        async with no_task_dies(), KiteSimulator(symbols=30, rate=300) as broker:
            broker.faults.evict_eldest = True
            plain = feed(broker, silence_seconds=1.0)
            evicting = _EvictingFeed(
                broker.api_key,
                broker.access_token,
                ws_url=broker.ws_url,
                book=plain.book,
                limits=plain.limits,
            )
            stranger = WebSocketPool(feed(broker))
            async with WebSocketPool(evicting, max_symbols=10, grace=0.2, random=Prompt()) as pool:
                every = instruments(broker)
                pool.subscribe(every[:10])
                await pool.wait_live(every[:10])  # so that the first connection is the eldest
                pool.subscribe(every[10:25])
                await pool.wait_live(every[:25])
                stranger.subscribe(every[25])
                await until(lambda: events(pool, "evicted") == [("zerodha-1", 0)])
                dials = broker.stats()["dials"]
                assert pool.get_pool_stats()["websocket"]["allowed_connections"] == 2
                await until(lambda: sum(c["hosted"] for c in connections(pool).values()) == 5)
                await asyncio.sleep(0.4)
                assert broker.stats()["dials"] == dials, "the pool makes do with what it has"
                await stranger.close()
                await until(lambda: served(broker) == demanded(pool))  # after the rest it tries again

    asyncio.run(main())


def test_symbols_left_over_on_many_sockets_are_brought_together_when_they_fit_on_fewer() -> None:
    async def main() -> None:
        async with rehearsal(
            symbols=30, rate=600, max_symbols=10, linger=0.3, limits={"silence_seconds": 1.0}
        ) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every)
            await pool.wait_live(every)
            witness = Witness()
            pool.listen(witness)
            left = [every[0], every[10], every[20]]
            pool.unsubscribe([i for i in every if i not in left])
            await until(lambda: len(broker.sockets()) == 1)
            assert served(broker) == demanded(pool)
            assert [c["symbols"] for c in connections(pool).values()] == [3]
            assert witness.opened == witness.closed == []
            assert broker.stats()["dials"] == 3

    asyncio.run(main())


def test_a_mode_change_reaches_a_symbol_also_where_it_is_hosted() -> None:
    async def main() -> None:
        async with rehearsal(
            symbols=8,
            rate=0,
            max_symbols=4,
            max_connections=2,
            grace=0.1,
            limits={"silence_seconds": 1.0, "batch_size": 2},
        ) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:5], Mode.LTP)
            await pool.wait_live(every[:5])
            broker.faults.refuse = Refuse(503)
            home = next(s for s in broker.sockets() if len(s["tokens"]) == 4)
            broker.kill(home["id"])
            await until(lambda: len(served(broker)) == 4)
            instrument = next(i for i in every[:4] if pool.feed.book.token(i) in served(broker))
            pool.subscribe(instrument, Mode.DEPTH, owner="another")
            token = pool.feed.book.token(instrument)
            await until(lambda: (token, Mode.DEPTH) in served(broker).items())
            pool.release("another")
            await until(lambda: (token, Mode.LTP) in served(broker).items())

    asyncio.run(main())
