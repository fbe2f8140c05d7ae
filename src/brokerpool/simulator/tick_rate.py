"""How many ticks are due: counted from elapsed time, so that late wake-ups never slow the market down."""

from __future__ import annotations

import math

#: Ticks due within this time leave together. At 100 ticks a second and fewer, each leaves alone.
INTERVAL_SECONDS = 0.010

#: A process that stood still owes no more than this much of its rate afterwards.
BACKLOG_SECONDS = 1.0


class Metronome:
    """Owes `rate` ticks for every second since `start`; times are monotonic seconds."""

    def __init__(self, rate: float) -> None:
        if not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"{rate} ticks a second asked for; a rate is 0 (stepped by hand) or more")
        self.rate = rate
        self._origin = 0.0
        self._given = 0
        self._last = 0.0
        #: Ticks given up because the process stood still for longer than the backlog.
        self.forgone = 0

    def start(self, now: float) -> None:
        """Begin to count."""
        self._origin = self._last = now
        self._given = 0

    def due(self, now: float) -> int:
        """Return the ticks that are due and count them as given."""
        self._last = now
        # The millionth makes up for rounding: a tick asked for at its very time is due.
        owed = int((now - self._origin) * self.rate + 1e-6) - self._given
        most = max(1, int(BACKLOG_SECONDS * self.rate))
        if owed > most:
            self.forgone += owed - most
            self._given += owed - most
            owed = most
        if owed <= 0:
            return 0
        self._given += owed
        return owed

    def next_at(self) -> float:
        """Return when to ask again: at the next tick's time, and not before an interval has passed."""
        if self.rate == 0:
            return math.inf
        return max(self._origin + (self._given + 1) / self.rate, self._last + INTERVAL_SECONDS)
