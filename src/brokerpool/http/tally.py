"""What a client counts: calls, connections, repeats and how long things took."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import Any

#: Upper bounds of the buckets in seconds; the last bucket has none.
BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

# Reuse is judged over so many calls, and said to be lost when it falls to this share.
_JUDGED_CALLS = 5


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
        bounds = [*(f"{bound:g}" for bound in BOUNDS), "inf"]
        return {
            "count": sum(self._counts),
            "sum": self._sum,
            "buckets": dict(zip(bounds, self._counts, strict=True)),
        }


class Tally:
    """The counters of one client since it was made."""

    def __init__(self) -> None:
        self.requests = 0
        self.created = 0
        self.reused = 0
        self.too_fast = 0
        self.refused: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.retries_denied = 0
        self.outcomes_unknown = 0
        self.waits = Histogram()
        self.connects = Histogram()
        self.calls = Histogram()
        self._dialled_again = 0

    def used(self, *, dialled: float | None, again: bool) -> bool:
        """Count a call's connection, which was `dialled` in so many seconds or reused (None).

        `again` means that its slot had a connection before. Returns True when reuse is lost: so many calls
        in a row found their connection gone; it is returned once, until a call finds one again.
        """
        if dialled is None:
            self.reused += 1
            self._dialled_again = 0
            return False
        self.created += 1
        self.connects.observe(dialled)
        self._dialled_again += again
        return again and self._dialled_again == _JUDGED_CALLS

    def stats(self) -> dict[str, Any]:
        """Return the counters under the names of the documentation."""
        calls = self.created + self.reused
        return {
            "requests": self.requests,
            "created": self.created,
            "reused": self.reused,
            "reuse_ratio": self.reused / calls if calls else None,
            "refused": dict(self.refused),
            "retries": dict(self.retries),
            "retries_denied": self.retries_denied,
            "rate_limited": self.too_fast,
            "outcomes_unknown": self.outcomes_unknown,
            "wait_seconds": self.waits.stats(),
            "connect_seconds": self.connects.stats(),
            "call_seconds": self.calls.stats(),
        }
