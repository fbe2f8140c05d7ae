"""Until when two sockets that bring the same symbols are known to have brought the same, by their copies."""

from __future__ import annotations

import math
from collections.abc import Container


class Agreement:
    """What is known of pairs of sockets, whichever symbol has shown it; times are monotonic seconds.

    Each socket brings its ticks in the order in which they were sent. So when two have brought the same tick,
    either has brought all that the other one had before it. Nothing else shows that: a socket that was held
    up on its way brings old ticks at a late time, and nobody sees that they are old as long as it is the
    first that brings them.
    """

    def __init__(self) -> None:
        self._until: dict[tuple[str, str], float] = {}
        #: By how many seconds each was behind with the last copy in which it had a part.
        self._behind: dict[str, float] = {}

    def note(self, one: str, at: float, other: str, other_at: float) -> None:
        """Note when two sockets have brought the same tick."""
        if one == other:
            return  # a socket of the same name has died since
        self._until[one, other] = max(other_at, self.until(one, other))
        self._until[other, one] = max(at, self.until(other, one))
        self._behind[one], self._behind[other] = max(0.0, at - other_at), max(0.0, other_at - at)

    def until(self, source: str, other: str) -> float:
        """Return the time until which the first has brought all that the other one had brought by then."""
        return self._until.get((source, other), -math.inf)

    def behind(self, source: str) -> float:
        """Return how many seconds a socket was behind when that was seen last, 0 when nobody has seen it."""
        return self._behind.get(source, 0.0)

    def forget(self, source: str) -> None:
        """Begin anew with a socket of this name."""
        self._behind.pop(source, None)
        self._until = {pair: at for pair, at in self._until.items() if source not in pair}

    def keep(self, sources: Container[str]) -> None:
        """Forget all other sockets: those that have ended for good."""
        self._behind = {source: late for source, late in self._behind.items() if source in sources}
        self._until = {
            pair: at for pair, at in self._until.items() if pair[0] in sources and pair[1] in sources
        }
