"""What reaches the listeners of a pool, in invented time and without connections."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise
from typing import cast

from brokerpool.event_journal import Journal
from brokerpool.feed.connection import Connection
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.demand_replica import Replica
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.instruments import Instrument
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


class Rehearsed(Delivery):
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
    """A connection, as far as an delivery asks."""

    def __init__(self, name: str) -> None:
        self.name = name


class Everywhere:
    """A replica that carries all on two connections."""

    def __init__(self) -> None:
        self.connections = {name: Somewhere(name) for name in ("ws-1", "ws-2")}

    def carriers(self, instrument: Instrument) -> list[str]:
        return ["ws-1", "ws-2"]

    def serving(self, instrument: Instrument) -> list[str]:
        return []


def test_a_symbol_that_trades_every_minute_is_found_mute_once_and_then_left_alone() -> None:
    async def main() -> None:
        delivery, told = Rehearsed(), Told()
        delivery.listen(told)
        delivery.tick()  # the broker's first answer, and a trade right after it
        delivery.sweep_until(1.0)
        delivery.tick()
        delivery.sweep_until(2.0)
        for trade in range(1, 30):
            delivery.sweep_until(60.0 * trade)
            delivery.tick()
        assert told.news[:7] == ["tick", "tick", "stale", "gap", "gap closed", "live", "tick"]
        assert set(told.news[7:]) == {"tick"}
        assert delivery.gaps_total == 1

    asyncio.run(main())


def test_the_hole_of_a_lost_connection_is_no_habit() -> None:
    async def main() -> None:
        delivery = Rehearsed()
        for _ in range(5):
            delivery.tick()
            delivery.sweep_until(delivery.now + 1)
        delivery.symbols_lost([INFY], "the connection was lost", NOBODY)
        assert INFY in delivery.gaps
        delivery.now += 500.0
        delivery.tick()
        assert INFY not in delivery.gaps
        delivery.sweep_until(delivery.now + 1)
        delivery.tick()
        delivery.sweep_until(delivery.now + 1)
        assert delivery.cadence.usual(INFY) <= 1.0

    asyncio.run(main())


def test_a_gap_is_told_as_closed_before_the_tick_that_closes_it() -> None:
    async def main() -> None:
        delivery, told = Rehearsed(), Told()
        delivery.listen(told)
        delivery.tick()
        delivery.symbols_lost([INFY], "the connection was lost", NOBODY)
        delivery.symbols_lost([INFY], "and again", NOBODY)
        delivery.tick()
        assert told.news == ["tick", "gap", "gap closed", "tick"]

    asyncio.run(main())


def test_a_symbol_that_never_ticked_has_no_data_that_could_have_a_hole() -> None:
    async def main() -> None:
        delivery = Rehearsed()
        delivery.symbols_lost([INFY], "the connection was lost", NOBODY)
        assert len(delivery.gaps) == 0

    asyncio.run(main())


def on_two_connections(told: Told) -> tuple[Rehearsed, Callable[[str, float], list[str]]]:
    """Return an delivery of a symbol on two connections, and what brings it a price and returns the news."""
    delivery = Rehearsed()
    everywhere = Everywhere()
    delivery._replicas = cast("list[Replica]", [everywhere])
    delivery.carriers_changed(INFY)
    delivery.listen(told)

    def bring(name: str, price: float) -> list[str]:
        told.news.clear()
        delivery.now += 0.01
        delivery.ticked(
            cast("Connection", everywhere.connections[name]), [Tick(instrument=INFY, ltp=price, timestamp=0)]
        )
        return list(told.news)

    return delivery, bring


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
        delivery, bring = on_two_connections(told := Told())
        bring("ws-1", 1.0)
        assert bring("ws-2", 4.0) == [], "it waits: what lies between may still come"
        delivery.look(delivery.now + 0.1)
        assert told.news == []
        delivery.now += 1.1
        delivery.look(delivery.now)
        assert told.news == ["gap", "gap closed", "tick"]
        assert bring("ws-1", 2.0) == [], "too late: it is part of the hole"
        assert bring("ws-2", 5.0) == ["tick"]

    asyncio.run(main())


def test_the_first_tick_after_a_total_loss_closes_the_gap_though_it_is_the_same_as_the_last() -> None:
    async def main() -> None:
        delivery, bring = on_two_connections(told := Told())
        bring("ws-1", 1.0)
        for name in ("ws-1", "ws-2"):
            delivery.symbols_lost([INFY], "lost", cast("Connection", Somewhere(name)))
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
        delivery, replica = Rehearsed(), Rotating()
        delivery._replicas = cast("list[Replica]", [replica])
        delivery.carriers_changed(INFY)
        for _ in range(20):
            for price in (1.0, 2.0, 3.0):
                for connection in replica.connections.values():
                    delivery.now += 0.1
                    tick = Tick(instrument=INFY, ltp=price, timestamp=0)
                    delivery.ticked(cast("Connection", connection), [tick])
            old, new = replica.connections
            assert delivery._agreement.until(old, new) > delivery.now - 1, "both have brought the same"
            replica.rotate()
            delivery.carriers_changed(INFY)
            delivery.look(delivery.now)
            assert delivery._agreement.until(old, new) == -math.inf
            assert len(delivery._agreement._until) <= 2

    asyncio.run(main())


def test_gaps_one_after_the_other_do_not_overlap_though_they_share_half_a_millisecond() -> None:
    class Gaps(PoolListener):
        def __init__(self) -> None:
            self.closed: list[Gap] = []

        def gaps_closed(self, gaps: list[Gap]) -> None:
            self.closed += gaps

    async def main() -> None:
        delivery, told = Rehearsed(), Gaps()
        delivery.listen(told)
        for number in range(1, 401):
            delivery.tick()
            delivery.now += 0.0123
            delivery.symbols_lost([INFY], "the connection was lost", NOBODY)
            delivery.now = number * 0.0505
        edges = [(gap.from_ms, gap.to_ms or 0) for gap in told.closed]
        assert len(edges) == 399
        assert all(before[1] <= after[0] for before, after in pairwise(edges))

    asyncio.run(main())
