"""How much fell into the last so many seconds: exact to a thousandth, in bounded memory."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

#: Two times closer than this are the same: the delay that is told must be enough after rounding.
ROUNDING = 1e-6

_SLICES = 1000


@dataclass(slots=True)
class _Slice:
    began: float
    #: When it was last added to.
    last: float
    weight: int


class SlidingSum:
    """The weight that was added within the last `seconds`; where it errs, it still counts what has just left.

    What falls into the same thousandth of the window shares one entry and leaves with its latest part, so a
    day's window needs no more memory than a second's.
    """

    def __init__(self, seconds: float) -> None:
        if not seconds > 0:
            raise ValueError("a window is longer than 0 seconds")
        self._seconds = seconds
        #: Oldest first.
        self._slices: deque[_Slice] = deque()
        self._total = 0

    def add(self, weight: int, now: float) -> None:
        """Count `weight` at `now`."""
        self._total += weight
        if self._slices:
            newest = self._slices[-1]
            if now - newest.began < self._seconds / _SLICES:
                newest.last = now
                newest.weight += weight
                return
            self._expire(now)
        self._slices.append(_Slice(now, now, weight))

    def total(self, now: float) -> int:
        """Return the weight inside the window that ends at `now`."""
        self._expire(now)
        return self._total

    def frees(self, weight: int, now: float) -> float:
        """Return the seconds until `weight` has left the window; infinity when it does not hold as much."""
        self._expire(now)
        if weight <= 0:
            return 0.0
        for part in self._slices:
            weight -= part.weight
            if weight <= 0:
                return part.last + self._seconds - now
        return math.inf

    def _expire(self, now: float) -> None:
        while self._slices and self._slices[0].last + self._seconds - now <= ROUNDING:
            self._total -= self._slices.popleft().weight
