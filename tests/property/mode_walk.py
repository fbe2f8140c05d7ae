"""What owners do at a broker that tells modes apart, by chance: the base of walks that check at each step."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from brokerpool.feed.batch_plan import Plan
from brokerpool.feed.placement import Placement
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

universe = [Instrument("NSE", f"S{n}") for n in range(14)]


class ModeWalk:
    """Wants symbols, more and less of them, and gives them up; where they go is said by whoever inherits."""

    def __init__(self, placement: Placement, random: Random) -> None:
        self.placement = placement
        self.random = random
        self.wanted: dict[Instrument, Mode] = {}

    def subscribe(self) -> None:
        self._subscribe(self._some(universe), self.random.choice(list(Mode)))

    def want_more(self) -> None:
        self._subscribe(self._some(sorted(self.wanted)), self.random.choice([Mode.QUOTE, Mode.DEPTH]))

    def want_less(self) -> None:
        mode = self.random.choice([Mode.LTP, Mode.LTP, Mode.QUOTE])
        for instrument in self._some(sorted(self.wanted)):
            if mode < self.wanted[instrument]:
                self._want(instrument, mode)

    def unsubscribe(self) -> None:
        for instrument in self._some(sorted(self.wanted)):
            places = self._places(instrument)
            self._remove(instrument)
            del self.wanted[instrument]
            for name in places:
                self.placement.settle(name)

    def _some(self, instruments: Sequence[Instrument]) -> list[Instrument]:
        return self.random.sample(instruments, min(len(instruments), self.random.randint(1, 6)))

    def _subscribe(self, batch: list[Instrument], mode: Mode) -> None:
        raise NotImplementedError

    def _remove(self, instrument: Instrument) -> None:
        self.placement.remove(instrument)

    def _want(self, instrument: Instrument, mode: Mode) -> None:
        self.wanted[instrument] = mode
        places = self._places(instrument)
        for name in places:
            self.placement.adapt(instrument, name, mode)
        for name in places:
            self.placement.settle(name)

    def _places(self, instrument: Instrument) -> list[str]:
        """Return its home and its host, where it has them."""
        places = (self.placement.slot(instrument), self.placement.host(instrument))
        return [name for name in places if name is not None]

    def _touched(self, plan: Plan) -> list[str]:
        """Return the slots that carry more, or otherwise, by a plan that was committed."""
        raised = filter(None, map(self.placement.slot, plan.raised))
        return list(dict.fromkeys([*plan.assignments, *plan.moved.values(), *raised]))
