"""What owners do at a broker that tells modes apart, by chance: the base of walks that check at each step."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

universe = [Instrument("NSE", f"S{n}") for n in range(14)]


class ModeWalk:
    """Wants symbols, and more and less of them; what a want means is said by whoever inherits."""

    def __init__(self, random: Random) -> None:
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

    def _some(self, instruments: Sequence[Instrument]) -> list[Instrument]:
        return self.random.sample(instruments, min(len(instruments), self.random.randint(1, 6)))

    def _subscribe(self, batch: list[Instrument], mode: Mode) -> None:
        raise NotImplementedError

    def _want(self, instrument: Instrument, mode: Mode) -> None:
        raise NotImplementedError
