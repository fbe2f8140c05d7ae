"""How much fell into the last so many seconds: exact to a thousandth, in bounded memory."""

from __future__ import annotations

import math
from collections import deque

#: Two times closer than this are the same: the delay that is told must be enough after rounding.
ROUNDING = 1e-6

_SLICES = 1000


class SlidingSum:
    """The weight that was added within the last `seconds`; where it errs, it still counts what has just left.

    What falls into the same thousandth of the window shares one entry and leaves with its latest part, so a
    day's window needs no more memory than a second's.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError("a window is longer than 0 seconds")
        self._seconds = seconds
        #: Oldest first: when the slice began, when it was last added to, and its weight.
        self._slices: deque[tuple[float, float, int]] = deque()
        self._total = 0

    def add(self, weight: int, now: float) -> None:
        """Count `weight` at `now`."""
        self._expire(now)
        began = now
        self._total += weight
        if self._slices and now - self._slices[-1][0] < self._seconds / _SLICES:
            began, _, before = self._slices.pop()
            weight += before
        self._slices.append((began, now, weight))

    def total(self, now: float) -> int:
        """Return the weight inside the window that ends at `now`."""
        self._expire(now)
        return self._total

    def frees(self, weight: int, now: float) -> float:
        """Return the seconds until `weight` has left the window; infinity when it does not hold as much."""
        self._expire(now)
        if weight <= 0:
            return 0.0
        for _, last, held in self._slices:
            weight -= held
            if weight <= 0:
                return last + self._seconds - now
        return math.inf

    def _expire(self, now: float) -> None:
        while self._slices and self._slices[0][1] + self._seconds - now <= ROUNDING:
            self._total -= self._slices.popleft()[2]
