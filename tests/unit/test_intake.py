"""What reaches the listeners of a pool, in invented time and without connections."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import cast

from brokerpool.feed.connection import Connection
from brokerpool.feed.gaps import Gap
from brokerpool.feed.intake import Intake
from brokerpool.feed.lane import Lane
from brokerpool.feed.states import SymbolState
from brokerpool.feed.stream import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.monitor.journal import Journal
from brokerpool.ticks import Tick

INFY = Instrument("NSE", "INFY")
#: A connection is asked for its name only where a symbol has several.
NOBODY = cast("Connection", None)


class Told(PoolListener):
    def __init__(self) -> None:
        self.news: list[str] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.news.append("tick")

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.news.append("gap")

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.news.append("gap closed")

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self.news.append(state.value)


class Rehearsed(Intake):
    """Its clock is set by the test."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__([], Journal(), lambda: 1_700_000_000.0 + self.now)
        self._monotonic = lambda: self.now

    def tick(self) -> None:
        self.ticked(NOBODY, [Tick(instrument=INFY, ltp=1.0, timestamp=0)])

    def sweep_until(self, end: float) -> None:
        while self.now + 1.0 <= end:
            self.now += 1.0
            self.sweep([INFY], self.now)


class Somewhere:
    """A connection, as far as an intake asks."""

    data_at = 0.0

    def __init__(self, name: str) -> None:
        self.name = name


class Everywhere:
    """A lane that carries all on two connections."""

    def carriers(self, instrument: Instrument) -> list[str]:
        return ["ws-1", "ws-2"]

    def serving(self, instrument: Instrument) -> list[str]:
        return []


def test_a_symbol_that_trades_every_minute_is_found_mute_once_and_then_left_alone() -> None:
    async def main() -> None:
        intake, told = Rehearsed(), Told()
        intake.listen(told)
        intake.tick()  # the broker's first answer, and a trade right after it
        intake.sweep_until(1.0)
        intake.tick()
        intake.sweep_until(2.0)
        for trade in range(1, 30):
            intake.sweep_until(60.0 * trade)
            intake.tick()
        assert told.news[:7] == ["tick", "tick", "stale", "gap", "gap closed", "live", "tick"]
        assert set(told.news[7:]) == {"tick"}
        assert intake.gaps_total == 1

    asyncio.run(main())


def test_the_hole_of_a_lost_connection_is_no_habit() -> None:
    async def main() -> None:
        intake = Rehearsed()
        for _ in range(5):
            intake.tick()
            intake.sweep_until(intake.now + 1)
        intake.symbols_lost([INFY], "the connection was lost", NOBODY)
        assert INFY in intake.gaps
        intake.now += 500.0
        intake.tick()
        assert INFY not in intake.gaps
        intake.sweep_until(intake.now + 1)
        intake.tick()
        intake.sweep_until(intake.now + 1)
        assert intake.cadence.usual(INFY) <= 1.0

    asyncio.run(main())


def test_a_gap_is_told_as_closed_before_the_tick_that_closes_it() -> None:
    async def main() -> None:
        intake, told = Rehearsed(), Told()
        intake.listen(told)
        intake.tick()
        intake.symbols_lost([INFY], "the connection was lost", NOBODY)
        intake.symbols_lost([INFY], "and again", NOBODY)
        intake.tick()
        assert told.news == ["tick", "gap", "gap closed", "tick"]

    asyncio.run(main())


def test_a_symbol_that_never_ticked_has_no_data_that_could_have_a_hole() -> None:
    async def main() -> None:
        intake = Rehearsed()
        intake.symbols_lost([INFY], "the connection was lost", NOBODY)
        assert len(intake.gaps) == 0

    asyncio.run(main())


def test_a_socket_that_was_replaced_owes_no_copies_of_what_went_by_meanwhile() -> None:
    async def main() -> None:
        intake, told = Rehearsed(), Told()
        one, two = cast("list[Connection]", [Somewhere("ws-1"), Somewhere("ws-2")])
        intake._lanes = cast("list[Lane]", [Everywhere()])
        intake.carriers_changed(INFY)
        intake.listen(told)

        def bring(connection: Connection, price: float) -> int:
            told.news.clear()
            intake.ticked(connection, [Tick(instrument=INFY, ltp=price, timestamp=0)])
            return told.news.count("tick")

        intake.arrived(one, [INFY])
        assert all(bring(one, float(n)) for n in range(200))
        intake.arrived(two, [INFY])
        assert bring(two, 200.0) == 1, "its first answer is news already"
        assert bring(one, 200.0) == 0

    asyncio.run(main())


def test_a_gap_opens_when_the_dead_socket_led_and_the_other_ones_ticks_were_dropped_as_late() -> None:
    async def main() -> None:
        intake, told = Rehearsed(), Told()
        leader, lane = Somewhere("ws-1"), Everywhere()
        one, two = cast("list[Connection]", [leader, Somewhere("ws-2")])
        intake._lanes = cast("list[Lane]", [lane])
        intake.carriers_changed(INFY)
        intake.listen(told)

        def bring(connection: Connection, price: float) -> None:
            intake.now += 1.0
            if price == 1.0:
                intake.arrived(connection, [INFY])
            intake.ticked(connection, [Tick(instrument=INFY, ltp=price, timestamp=0)])

        bring(one, 1.0)
        bring(two, 1.0)
        bring(one, 2.0)
        leader.data_at = intake.now
        bring(two, 3.0)  # may be older than 2.0, and is dropped
        told.news.clear()
        lane.serving = lambda instrument: ["ws-2"]  # type: ignore[method-assign]  # the other one is gone
        intake.symbols_lost([INFY], "the connection was lost", one)
        bring(two, 4.0)
        assert told.news == ["gap", "gap closed", "tick"]

    asyncio.run(main())


def test_gaps_one_after_the_other_do_not_overlap_though_they_share_half_a_millisecond() -> None:
    class Gaps(PoolListener):
        def __init__(self) -> None:
            self.closed: list[Gap] = []

        def gaps_closed(self, gaps: list[Gap]) -> None:
            self.closed += gaps

    async def main() -> None:
        intake, told = Rehearsed(), Gaps()
        intake.listen(told)
        for number in range(1, 401):
            intake.tick()
            intake.now += 0.0123
            intake.symbols_lost([INFY], "the connection was lost", NOBODY)
            intake.now = number * 0.0505
        edges = [(gap.from_ms, gap.to_ms or 0) for gap in told.closed]
        assert len(edges) == 399
        assert all(before[1] <= after[0] for before, after in pairwise(edges))

    asyncio.run(main())
