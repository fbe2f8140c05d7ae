"""Holes in the data: told once with both edges, filled from elsewhere, and never in silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from brokerpool import Filler, Gap, Instrument, PoolListener, SymbolState, Tick, WebSocketPool
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.market_calendar import MarketHours
from brokerpool.simulator.fault_switches import Mute, Refuse
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.rehearsal import Prompt, feed, instruments, no_task_dies, rehearsal, served, until


class Witness(PoolListener):
    """Notes what is told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, object]] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.told += [("tick", tick.instrument) for tick in ticks]

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self.told += [(state.value, instrument) for instrument in instruments]

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.told += [("opened", gap) for gap in gaps]

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.told += [("closed", gap) for gap in gaps]

    def filled(self, ticks: list[Tick]) -> None:
        self.told += [("filled", tick) for tick in ticks]

    def all(self, kind: str) -> list[object]:
        return [what for told, what in self.told if told == kind]


def test_a_lost_socket_makes_one_gap_a_symbol_from_its_last_tick_to_its_next_told_before_that_tick() -> None:
    async def main() -> None:
        async with rehearsal(symbols=5) as (broker, pool):
            every = instruments(broker)
            pool.subscribe(every[:3])
            await pool.wait_live(every[:3])
            witness = Witness()
            pool.listen(witness)
            last = time.time() * 1000
            broker.faults.refuse = Refuse(503)
            broker.kill(broker.sockets()[0]["id"])
            await until(lambda: len(witness.all("opened")) == 3)
            assert {pool.gap(i) for i in every[:3]} == set(witness.all("opened"))
            broker.faults.refuse = None
            await pool.wait_live(every[:3])
            now = time.time() * 1000
            for gap in witness.all("closed"):
                assert isinstance(gap, Gap)
                assert gap.from_ms <= last + 1
                assert last <= (gap.to_ms or 0) <= now + 1
                assert gap.reason.startswith("socket closed with 1006")
                kinds = [told for told, what in witness.told if what in (gap, gap.instrument)]
                assert kinds.index("closed") < kinds.index("tick")
            assert len(witness.all("closed")) == 3
            assert pool.get_pool_stats()["websocket"]["gaps_open"] == 0
            assert pool.get_pool_stats()["websocket"]["gaps_total"] == 3

    asyncio.run(main())


def test_a_gap_ends_when_nobody_wants_the_symbol_any_more() -> None:
    async def main() -> None:
        async with rehearsal(symbols=5) as (broker, pool):
            (infy,) = instruments(broker, 1)
            pool.subscribe(infy)
            await pool.wait_live(infy)
            witness = Witness()
            pool.listen(witness)
            broker.faults.refuse = Refuse(503)
            broker.kill(broker.sockets()[0]["id"])
            await until(lambda: pool.gap(infy))
            pool.unsubscribe(infy)
            assert pool.gap(infy) is None
            assert len(witness.all("closed")) == 1

    asyncio.run(main())


def test_a_symbol_without_a_tick_has_no_gap() -> None:
    async def main() -> None:
        async with rehearsal(symbols=5, snapshot=False) as (broker, pool):
            (infy,) = instruments(broker, 1)
            pool.subscribe(infy)
            await until(lambda: served(broker))
            broker.kill(broker.sockets()[0]["id"])
            await until(lambda: broker.stats()["dials"] == 2)
            await until(lambda: served(broker))
            assert pool.get_pool_stats()["websocket"]["gaps_total"] == 0

    asyncio.run(main())


@pytest.mark.parametrize("is_open", [True, False])
def test_one_symbol_that_falls_mute_is_told_and_the_others_and_their_socket_stay(
    monkeypatch: pytest.MonkeyPatch, is_open: bool
) -> None:
    monkeypatch.setattr("brokerpool.feed.symbol_cadence.MUTE_SECONDS", 0.5)
    hours = MarketHours.parse("always" if is_open else "MCX=00:00-00:01")

    async def main() -> None:
        async with (
            no_task_dies(),
            KiteSimulator(symbols=5, rate=200) as broker,
            WebSocketPool(feed(broker, silence_seconds=1.0), hours=hours, random=Prompt()) as pool,
        ):
            every = instruments(broker)
            pool.subscribe(every)
            await pool.wait_live(every)
            await asyncio.sleep(0.6)  # three looks, in which the pool learns how often the symbols tick
            witness = Witness()
            pool.listen(witness)
            token = pool.feed.book.token(every[0])
            assert isinstance(token, int)
            broker.faults.mute = Mute(tokens=[token])
            if not is_open:
                await asyncio.sleep(2.0)
                assert witness.all("stale") == witness.all("opened") == []
                return
            await until(lambda: pool.state(every[0]) is SymbolState.STALE)
            assert witness.all("stale") == [every[0]]
            assert pool.gap(every[0]) is not None
            broker.faults.mute = None
            await until(lambda: pool.state(every[0]) is SymbolState.LIVE)
            assert [gap.instrument for gap in witness.all("closed") if isinstance(gap, Gap)] == [every[0]]
            assert witness.all("live") == [every[0]]
            assert broker.stats()["dials"] == 1

    asyncio.run(main())


def test_a_filler_gives_snapshots_for_holes_within_its_budget_and_the_gap_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("brokerpool.feed.gap_snapshots.YOUNG_SECONDS", 0.3)
    asked: list[tuple[float, list[Instrument]]] = []

    async def snapshots(wanted: Sequence[Instrument]) -> list[Tick]:
        asked.append((asyncio.get_running_loop().time(), list(wanted)))
        return [Tick(i, 99.5, 1) for i in wanted]

    async def main() -> None:
        filler = Filler(snapshots, batch=2, calls=(RateWindow(1, 0.4),))
        async with (
            no_task_dies(),
            KiteSimulator(symbols=5, rate=0) as broker,
            WebSocketPool(feed(broker, silence_seconds=1.0), filler=filler, random=Prompt()) as pool,
        ):
            every = instruments(broker)
            pool.subscribe(every)
            await pool.wait_live(every)
            witness = Witness()
            pool.listen(witness)
            broker.faults.refuse = Refuse(503)
            broker.kill(broker.sockets()[0]["id"])
            await until(lambda: len(witness.all("filled")) == 5)
            assert [len(wanted) for _, wanted in asked] == [2, 2, 1]
            assert all(b[0] - a[0] >= 0.39 for a, b in pairwise(asked))
            assert all(pool.gap(i) for i in every), "the feed is still out"
            broker.faults.refuse = None
            await pool.wait_live(every)
            assert all(gap.filled for gap in witness.all("closed") if isinstance(gap, Gap))
            assert len(witness.all("filled")) == 5, "once for each gap"

    asyncio.run(main())


def test_a_snapshot_closes_the_gap_of_a_symbol_that_is_served_again_and_does_not_trade(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("brokerpool.feed.gap_snapshots.YOUNG_SECONDS", 0.3)

    async def snapshots(wanted: Sequence[Instrument]) -> list[Tick]:
        return [Tick(i, 99.5, 1) for i in wanted]

    async def main() -> None:
        async with (
            no_task_dies(),
            KiteSimulator(symbols=5, rate=0, snapshot=False) as broker,
            WebSocketPool(
                feed(broker, silence_seconds=1.0), filler=Filler(snapshots), random=Prompt()
            ) as pool,
        ):
            (infy,) = instruments(broker, 1)
            pool.subscribe(infy)
            await until(lambda: served(broker))
            await broker.step(20)
            await pool.wait_live(infy)
            witness = Witness()
            pool.listen(witness)
            broker.kill(broker.sockets()[0]["id"])
            await until(lambda: len(witness.all("closed")) == 1)
            (gap,) = witness.all("closed")
            assert isinstance(gap, Gap)
            assert gap.filled
            assert witness.all("tick") == []

    asyncio.run(main())
