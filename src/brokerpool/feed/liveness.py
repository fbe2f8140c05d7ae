"""Whether a socket still lives, told by the times at which it was heard."""

from __future__ import annotations


class Liveness:
    """A socket is dead when nothing at all came for `limit` seconds.

    Anything the broker sends counts, heartbeats too: a closed market is quiet and alive. Whether the
    symbols tick is another question.
    """

    def __init__(self, limit: float, now: float) -> None:
        self.limit = limit
        self._heard_at = now

    def heard(self, now: float) -> None:
        """Note a message."""
        self._heard_at = now

    @property
    def deadline(self) -> float:
        """When the socket will be dead unless it is heard before."""
        return self._heard_at + self.limit

    def dead(self, now: float) -> bool:
        """Tell whether the silence has lasted too long."""
        return now >= self.deadline
