"""Where single symbols are and what ails them: for people who look, so that ticks pay nothing for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap
from brokerpool.feed.intake import Intake
from brokerpool.feed.lane import Lane
from brokerpool.feed.states import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """One wanted symbol: who carries it, for how many, and how it does."""

    instrument: Instrument
    state: SymbolState
    #: The highest that anybody wants.
    mode: Mode
    owners: int
    priority: int
    #: The connections that carry it; those where it is a guest come after its homes.
    connections: tuple[str, ...]
    #: Its last tick, None before the first.
    last: Tick | None
    #: Seconds since that was received.
    age_seconds: float | None
    #: Its longest usual silence as learned so far, in seconds; 0 while nothing is known.
    usual_pause_seconds: float
    gap: Gap | None


class Inspection:
    """Answers questions about a pool; changes nothing, and costs what is asked for and no more."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        intake: Intake,
        demand: Demand,
        state: Callable[[Instrument], SymbolState | None],
    ) -> None:
        self._lanes = lanes
        self._intake = intake
        self._demand = demand
        self._state = state
        self._monotonic = asyncio.get_running_loop().time

    def find(self, instrument: Instrument) -> Whereabouts | None:
        """Return where a symbol is; None when nobody wants it."""
        state, mode = self._state(instrument), self._demand.mode(instrument)
        if state is None or mode is None:
            return None
        cadence = self._intake.cadence
        seen = cadence.seen(instrument)
        carriers = [lane.carriers(instrument) for lane in self._lanes]
        homes, guests = [c[0] for c in carriers], [name for c in carriers for name in c[1:]]
        return Whereabouts(
            instrument,
            state,
            mode,
            owners=len(self._demand.owners(instrument)),
            priority=self._demand.priority(instrument),
            connections=(*homes, *guests),
            last=cadence.last(instrument),
            age_seconds=None if seen is None else self._monotonic() - seen,
            usual_pause_seconds=cadence.usual(instrument),
            gap=self._intake.gaps.get(instrument),
        )

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted symbols that contain the text in any case, those that begin with it first."""
        text = text.upper()
        found = [i for i in self._demand.instruments() if text in str(i).upper()]
        found.sort(key=lambda i: (not i.symbol.upper().startswith(text), i))
        return found[:most]

    def some(self, name: str, most: int) -> list[Instrument]:
        """Return a few of the symbols at home on a connection, the eldest first."""
        lane = next((lane for lane in self._lanes if name in lane.connections), None)
        return list(islice(lane.placement.homes(name), most)) if lane else []

    def evacuating(self) -> list[str]:
        """Return the connections that are being emptied."""
        return [name for lane in self._lanes for name in lane.connections if lane.evacuating(name)]

    def degraded(self, most: int) -> list[Instrument]:
        """Return symbols that no connection carries, though they are wanted."""
        last = self._lanes[-1].stranded
        stranded: Iterator[Instrument] = (i for i in self._lanes[0].stranded if i in last)
        return list(islice(stranded, most))

    def gaps(self, most: int) -> list[Gap]:
        """Return open gaps, in the order in which they were opened."""
        return self._intake.gaps.first(most)
