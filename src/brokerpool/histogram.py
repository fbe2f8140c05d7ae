"""How long things took, counted so that it can be added up and drawn."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

#: Upper bounds of the buckets in seconds; the last bucket has none.
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NAMES = (*(f"{bound:g}" for bound in BOUNDS), "inf")


class Histogram:
    """Durations in seconds, counted by bucket."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self._sum += seconds

    def stats(self) -> dict[str, Any]:
        """Return the number, the sum in seconds, and for each bucket's upper bound its own count."""
        return {
            "count": sum(self._counts),
            "sum": self._sum,
            "buckets": dict(zip(_NAMES, self._counts, strict=True)),
        }
