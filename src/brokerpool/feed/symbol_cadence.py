"""Symbols that have fallen mute: silent for twice as long as they ever are."""

from __future__ import annotations

from collections.abc import Iterable

from brokerpool.feed.socket_liveness import Rhythm
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

#: However busy a symbol is, a shorter silence is none.
MUTE_SECONDS = 5.0
#: A sweep each second sees the last tick before it, so two that it sees are up to twice as far apart, however
#: many came in between: a shorter pause is not known.
RESOLUTION_SECONDS = 2.0


class Cadence:
    """The last tick of each symbol, and what its usual pauses are; times are monotonic seconds."""

    def __init__(self) -> None:
        self._last: dict[Instrument, Tick] = {}
        self._seen: dict[Instrument, float] = {}
        self._rhythms: dict[Instrument, Rhythm] = {}
        self._mute: dict[Instrument, bool] = {}
        self._since: dict[Instrument, float] = {}

    def saw(self, ticks: list[Tick], now: float) -> None:
        """Note ticks; called for every message of the feed, so it does no more than that."""
        last, seen = self._last, self._seen
        for tick in ticks:
            instrument = tick.instrument
            last[instrument] = tick
            seen[instrument] = now

    def last(self, instrument: Instrument) -> Tick | None:
        """Return the symbol's last tick, None before the first."""
        return self._last.get(instrument)

    def seen(self, instrument: Instrument) -> float | None:
        """Return when the symbol ticked last, None before the first tick."""
        return self._seen.get(instrument)

    def usual(self, instrument: Instrument) -> float:
        """Return the symbol's usual pause in seconds; 0 while it is not known, or is less than 2 s."""
        rhythm = self._rhythms.get(instrument)
        return rhythm.usual if rhythm and rhythm.usual >= RESOLUTION_SECONDS else 0.0

    def mute(self, instrument: Instrument) -> bool:
        """Tell whether the symbol was found mute and has not ticked since."""
        return instrument in self._mute

    @property
    def mute_symbols(self) -> int:
        """How many symbols were found mute and have not ticked since."""
        return len(self._mute)

    def sweep(self, instruments: Iterable[Instrument], now: float) -> list[Instrument]:
        """Learn from what has ticked, and return those that have fallen mute since the last sweep.

        To be called every second or so with the symbols whose ticks are to be expected. One of which no
        pause is known yet is not judged: a first tick is often just the broker's answer.
        """
        fallen = []
        for instrument in instruments:
            seen = self._seen.get(instrument)
            if seen is None:
                continue
            rhythm = self._rhythm(instrument)
            if seen != rhythm.last:
                rhythm.look(seen)
                self._mute.pop(instrument, None)
                self._since.pop(instrument, None)
            quiet = now - self._since.get(instrument, seen)
            usual = rhythm.usual
            if usual and quiet > MUTE_SECONDS and quiet > 2 * usual and instrument not in self._mute:
                self._mute[instrument] = True
                fallen.append(instrument)
        return fallen

    def wake(self, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Note that these tick again, and return those that were mute; the next sweep learns from it."""
        return [i for i in instruments if self._mute.pop(i, False)]

    def forgive(self, instruments: Iterable[Instrument], now: float) -> None:
        """Let the silence of these begin now, and do not learn from it: nothing could have come before."""
        for instrument in instruments:
            self._since[instrument] = now
            self._mute.pop(instrument, None)
            if (seen := self._seen.get(instrument)) is not None:
                self._rhythm(instrument).restart(seen)

    def _rhythm(self, instrument: Instrument) -> Rhythm:
        rhythm = self._rhythms.get(instrument)
        if rhythm is None:
            rhythm = self._rhythms[instrument] = Rhythm()
        return rhythm

    def forget(self, instrument: Instrument) -> None:
        """Drop all that is known of a symbol that nobody wants any more."""
        for known in (self._last, self._seen, self._rhythms, self._mute, self._since):
            known.pop(instrument, None)
