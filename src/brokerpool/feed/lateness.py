"""How far the sockets that bring the same symbols are behind each other, by the copies that they bring."""

from __future__ import annotations

import math
from typing import NamedTuple

#: What comes in one go with a copy that was late is as late, though nobody else has brought it before.
_IN_ONE_GO_SECONDS = 1.0


class _Late(NamedTuple):
    seconds: float
    #: When that was seen; monotonic seconds.
    at: float


_PUNCTUAL = _Late(0.0, -math.inf)


class Lateness:
    """What was seen of each socket last; seconds.

    A socket that was held up on its way brings old ticks at a late time. Until when it has brought all there
    was is then not told by the time of its last message.
    """

    def __init__(self) -> None:
        self._seen: dict[str, _Late] = {}

    def note(self, source: str, seconds: float, now: float) -> None:
        """Note that a socket brought a tick so many seconds after another one, 0 when it was the first."""
        if seconds or now - self._seen.get(source, _PUNCTUAL).at > _IN_ONE_GO_SECONDS:
            self._seen[source] = _Late(seconds, now)

    def of(self, source: str) -> float:
        """Return how many seconds a socket is behind, as far as it is known."""
        return self._seen.get(source, _PUNCTUAL).seconds

    def forget(self, source: str) -> None:
        """Begin anew with a socket of this name."""
        self._seen.pop(source, None)
