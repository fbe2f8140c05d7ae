"""What a client counts: calls, connections, repeats and how long things took."""

from __future__ import annotations

from collections import Counter
from typing import Any

from brokerpool.histogram import Histogram
from brokerpool.wait_queue import WaitTally

# Reuse is judged over so many calls, and said to be lost when it falls to this share.
_JUDGED_CALLS = 5


class Tally(WaitTally):
    """The counters of one client since it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0
        self.created = 0
        self.reused = 0
        self.too_fast = 0
        self.retries: Counter[str] = Counter()
        self.retries_denied = 0
        self.outcomes_unknown = 0
        self.connects = Histogram()
        self.calls = Histogram()
        self._dialled_again = 0

    def used(self, dialled: float | None, again: bool) -> bool:
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
            **super().stats(),
            "requests": self.requests,
            "created": self.created,
            "reused": self.reused,
            "reuse_ratio": self.reused / calls if calls else None,
            "retries": dict(self.retries),
            "retries_denied": self.retries_denied,
            "rate_limited": self.too_fast,
            "outcomes_unknown": self.outcomes_unknown,
            "connect_seconds": self.connects.stats(),
            "call_seconds": self.calls.stats(),
        }
