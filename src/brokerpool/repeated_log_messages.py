"""What others do or say too often, told at a bounded rate: what comes more often is counted."""

from __future__ import annotations

import math

WINDOW_SECONDS = 60.0
#: Different texts that are told in each window, at once; a user who mistyped a few symbols sees all of them.
TOLD_A_WINDOW = 10


class Complaints:
    """Decides what of one kind is told at once, and what is counted and told in one sentence; pure."""

    def __init__(self, most: int = TOLD_A_WINDOW) -> None:
        """`most` different texts are told in each window."""
        self._most = most
        self._began = -math.inf
        self._told: set[str] = set()
        self._counted = 0
        self._last = ""

    def heard(self, text: str, now: float) -> bool:
        """Return True when the text is to be told now; what was told in this minute already is counted."""
        if not self._counted and now - self._began >= WINDOW_SECONDS:
            self._began = now
            self._told.clear()
        if text in self._told or len(self._told) >= self._most:
            self._counted += 1
            self._last = text
            return False
        self._told.add(text)
        return True

    def summary(self, now: float) -> str:
        """Return one sentence about what was counted, once the minute is over; "" when there is nothing."""
        if not self._counted or now - self._began < WINDOW_SECONDS:
            return ""
        said = f"{self._counted:,} more in {now - self._began:.0f} s, the last one: {self._last}"
        self._counted = 0
        return said
