"""A listener at a gateway: it notices what is lost, doubled or out of order without being told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick


@dataclass(slots=True)
class _Stint:
    """One time in which an instrument was wanted."""

    #: The running number of the last tick, None before the first.
    last: int | None = None
    last_ms: int = 0
    #: When the last gap was over, as it was told.
    gap_ms: int = 0
    #: Whether a gap was told since then, or is open.
    gap: bool = False
    open: Gap | None = None
    #: Whether it was told since then that another account feeds it.
    moved: bool = False
    #: Whether the last tick had no volume, by which it is known again.
    bare: bool = False
    #: The epoch of the holder that told the last tick.
    epoch: int = 0


class GatewayWitness(PoolListener):
    """Holds what a gateway is told to its promises; `problems` has where they were broken.

    Running numbers of a symbol come once and in order. What is missing between two of them lies in a gap
    that was told, and begins no later than the tick before the hole, or than the end of a gap before that.
    Gaps come in pairs, and are told as closed before the tick that closes them. Where another account takes
    over, what its predecessor sent last may be missing, and a price without a volume may come twice. Where
    another holder goes on with the same account, one of two ticks that tell the same price may have a volume
    and the other none, as where the mode rises meanwhile: nothing says that both are of one trade.
    """

    def __init__(
        self, name: str, wall_clock: Callable[[], float], epoch: Callable[[Instrument], int]
    ) -> None:
        """`epoch` returns that of the holder whose ticks of an instrument pass."""
        self.problems: list[str] = []
        self.ticks, self.gaps = 0, 0
        self._name = name
        self._wall_clock = wall_clock
        self._epoch = epoch
        self._stints: dict[Instrument, _Stint] = {}

    def look(self, wanted: set[Instrument]) -> None:
        """Take note of what is wanted now, before anything more is told."""
        for instrument in [i for i in self._stints if i not in wanted]:
            stint = self._stints.pop(instrument)
            if stint.open is not None:
                self._say(f"the gap of {instrument}, which nobody wants any more, was never closed")
        for instrument in wanted:
            self._stints.setdefault(instrument, _Stint())

    def ticked(self, ticks: list[Tick]) -> None:
        now_ms = int(self._wall_clock() * 1000)
        for tick in ticks:
            self.ticks += 1
            stint, number = self._stints.get(tick.instrument), int(tick.ltp)
            if stint is None:
                self._say(f"{tick.instrument} ticks, and nobody wants it")
                continue
            if stint.open is not None:
                self._say(f"{tick.instrument} ticks in a gap that is open")
            bare, epoch = tick.mode is Mode.LTP, self._epoch(tick.instrument)
            if stint.last is not None and not stint.gap:
                handed_over = epoch != stint.epoch and bare != stint.bare
                unknown = handed_over or (stint.moved and (bare or stint.bare))
                if number == stint.last and not unknown:
                    self._say(f"number {number} of {tick.instrument} comes twice")
                elif number > stint.last + 1 and not stint.moved:
                    self._say(f"numbers after {stint.last} of {tick.instrument} are lost outside of any gap")
            if stint.last is not None and number < stint.last:
                self._say(f"number {number} of {tick.instrument} comes after {stint.last}")
            stint.last, stint.last_ms, stint.gap, stint.moved = number, now_ms, False, False
            stint.bare, stint.epoch = bare, epoch

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self.gaps += 1
            stint = self._stints.get(gap.instrument)
            if stint is None:
                continue
            if stint.open is not None:
                self._say(f"a gap of {gap.instrument} is opened inside another one")
            if stint.last is not None and gap.from_ms > max(stint.last_ms + 1, stint.gap_ms):
                self._say(f"the gap of {gap.instrument} begins after the last tick came")
            stint.open, stint.gap = gap, True

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            stint = self._stints.get(gap.instrument)
            if stint is None:
                continue
            if stint.open is None:
                self._say(f"a gap of {gap.instrument} is closed that was not open")
            stint.open, stint.gap_ms = None, gap.to_ms or 0

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        for instrument in instruments:
            if (stint := self._stints.get(instrument)) is not None:
                stint.moved = True

    def dark(self) -> list[Instrument]:
        """Return what is wanted and has a gap open."""
        return [i for i, stint in self._stints.items() if stint.open is not None]

    def silent(self, since_ms: float = 0.0) -> list[Instrument]:
        """Return what is wanted and has not ticked since this wall clock time."""
        return [i for i, stint in self._stints.items() if stint.last is None or stint.last_ms < since_ms]

    def _say(self, problem: str) -> None:
        self.problems.append(f"{self._wall_clock():.3f} {self._name}: {problem}")
