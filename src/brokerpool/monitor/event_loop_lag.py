"""How late the event loop comes: a timer that should fire ten times a second, and when it does."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from brokerpool.histogram import Histogram

INTERVAL_SECONDS = 0.1
#: For so long the longest lag is remembered.
WINDOW_SECONDS = 60.0


class Timers(Protocol):
    """What is needed of an event loop."""

    def time(self) -> float: ...
    def call_later(self, delay: float, callback: Callable[[], object], /) -> Any: ...  # noqa: ANN401  (a loop's handle)


class LagMonitor:
    """Measures by how many seconds timers come too late, which is for how long ticks were held up."""

    def __init__(self, timers: Timers) -> None:
        """Begin to measure; `timers` is the event loop."""
        self.histogram = Histogram()
        self._timers = timers
        # Times and lags, each lag smaller than those before it: the first is the longest.
        self._longest: deque[tuple[float, float]] = deque()
        self._due = 0.0
        self._handle: Any = None
        self._wait()

    def longest(self) -> float:
        """Return the longest lag within the last minute, in seconds."""
        return self.longest_since(self._timers.time() - WINDOW_SECONDS)

    def longest_since(self, at: float) -> float:
        """Return the longest lag, in seconds, since this time of the loop, which is at most a minute ago."""
        found = next((lag for fired, lag in self._longest if fired >= at), 0.0)
        # A loop that stands still at this moment has not fired the timer yet.
        return max(found, self._timers.time() - self._due, 0.0)

    def stop(self) -> None:
        """Measure no more and leave no timer behind."""
        self._handle.cancel()
        self._due = math.inf

    def _wait(self) -> None:
        self._due = self._timers.time() + INTERVAL_SECONDS
        self._handle = self._timers.call_later(INTERVAL_SECONDS, self._fired)

    def _fired(self) -> None:
        now = self._timers.time()
        lag = max(0.0, now - self._due)
        self.histogram.observe(lag)
        while self._longest and self._longest[-1][1] <= lag:
            self._longest.pop()
        self._longest.append((now, lag))
        while self._longest[0][0] < now - WINDOW_SECONDS:
            self._longest.popleft()
        self._wait()
