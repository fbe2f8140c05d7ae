"""What went over a connection since it was made; sockets come and go below it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Traffic:
    """Counters over all sockets of one connection."""

    dials: int = 0
    refusals: int = 0
    control_messages: int = 0
    ticks: int = 0
    #: Frames without ticks: the broker's heartbeats.
    heartbeats: int = 0
    #: Monotonic seconds of the last tick, None before the first.
    last_tick_at: float | None = None

    def stats(self, now: float) -> dict[str, Any]:
        """Return the numbers as statistics show them."""
        age = None if self.last_tick_at is None else round(now - self.last_tick_at, 3)
        return {
            "dials": self.dials,
            "refusals": self.refusals,
            "control_messages": self.control_messages,
            "ticks": self.ticks,
            "heartbeats": self.heartbeats,
            "last_tick_age_seconds": age,
        }
