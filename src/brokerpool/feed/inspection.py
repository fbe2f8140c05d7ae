"""Which symbols are where, and which are not well: for people who look, so that ticks pay nothing for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap
from brokerpool.feed.intake import Intake
from brokerpool.feed.lane import Lane
from brokerpool.instruments import Instrument


class Inspection:
    """Answers questions about a pool; changes nothing, and costs what is asked for and no more."""

    def __init__(
        self,
        lanes: Sequence[Lane],
        intake: Intake,
        demand: Demand,
    ) -> None:
        self._lanes = lanes
        self._intake = intake
        self._demand = demand

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
