"""What reaches the listeners of a pool, in invented time and without connections."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise
from typing import cast

from brokerpool.feed.connection import Connection
from brokerpool.feed.delivery import Intake
from brokerpool.feed.gaps import Gap
from brokerpool.feed.replica import Lane
from brokerpool.feed.states import SymbolState
from brokerpool.feed.stream import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.journal import Journal
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
            self.look(self.now)

    def look(self, now: float) -> None:
        self.sweep([INFY], now)
        for _ in self.tidy(now):
            pass


class Somewhere:
    """A connection, as far as an intake asks."""

    def __init__(self, name: str) -> None:
        self.name = name


class Everywhere:
    """A lane that carries all on two connections."""

    def __init__(self) -> None:
        self.connections = {name: Somewhere(name) for name in ("ws-1", "ws-2")}

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


def on_two_connections(told: Told) -> tuple[Rehearsed, Callable[[str, float], list[str]]]:
    """Return an intake of a symbol on two connections, and what brings it a price and returns the news."""
    intake = Rehearsed()
    everywhere = Everywhere()
    intake._lanes = cast("list[Lane]", [everywhere])
    intake.carriers_changed(INFY)
    intake.listen(told)

    def bring(name: str, price: float) -> list[str]:
        told.news.clear()
        intake.now += 0.01
        intake.ticked(
            cast("Connection", everywhere.connections[name]), [Tick(instrument=INFY, ltp=price, timestamp=0)]
        )
        return list(told.news)

    return intake, bring


def test_a_tick_that_two_connections_bring_passes_once() -> None:
    async def main() -> None:
        _, bring = on_two_connections(Told())
        assert all(bring("ws-1", float(n)) == ["tick"] for n in range(200))
        assert bring("ws-2", 199.0) == [], "its first answer"
        assert bring("ws-2", 200.0) == ["tick"]
        assert bring("ws-1", 200.0) == []

    asyncio.run(main())


def test_a_hole_between_two_connections_is_told_before_the_tick_that_follows_it() -> None:
    async def main() -> None:
        intake, bring = on_two_connections(told := Told())
        bring("ws-1", 1.0)
        assert bring("ws-2", 4.0) == [], "it waits: what lies between may still come"
        intake.look(intake.now + 0.1)
        assert told.news == []
        intake.now += 1.1
        intake.look(intake.now)
        assert told.news == ["gap", "gap closed", "tick"]
        assert bring("ws-1", 2.0) == [], "too late: it is part of the hole"
        assert bring("ws-2", 5.0) == ["tick"]

    asyncio.run(main())


def test_the_first_tick_after_a_total_loss_closes_the_gap_though_it_is_the_same_as_the_last() -> None:
    async def main() -> None:
        intake, bring = on_two_connections(told := Told())
        bring("ws-1", 1.0)
        for name in ("ws-1", "ws-2"):
            intake.symbols_lost([INFY], "lost", cast("Connection", Somewhere(name)))
        assert told.news[-1] == "gap"
        assert bring("ws-2", 1.0) == ["gap closed", "tick"]

    asyncio.run(main())


def test_of_connections_that_have_ended_nothing_is_kept_however_many_there_were() -> None:
    class Rotating(Everywhere):
        def rotate(self) -> None:
            old, new = list(self.connections)
            del self.connections[old]
            number = int(new.removeprefix("ws-")) + 1
            self.connections[f"ws-{number}"] = Somewhere(f"ws-{number}")

        def carriers(self, instrument: Instrument) -> list[str]:
            return list(self.connections)

    async def main() -> None:
        intake, lane = Rehearsed(), Rotating()
        intake._lanes = cast("list[Lane]", [lane])
        intake.carriers_changed(INFY)
        for _ in range(20):
            for price in (1.0, 2.0, 3.0):
                for connection in lane.connections.values():
                    intake.now += 0.1
                    tick = Tick(instrument=INFY, ltp=price, timestamp=0)
                    intake.ticked(cast("Connection", connection), [tick])
            old, new = lane.connections
            assert intake._agreement.until(old, new) > intake.now - 1, "both have brought the same"
            lane.rotate()
            intake.carriers_changed(INFY)
            intake.look(intake.now)
            assert intake._agreement.until(old, new) == -math.inf
            assert len(intake._agreement._until) <= 2

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
