"""How long to wait before the next dial: exponential, capped, with full jitter, and without an end."""

from __future__ import annotations

from random import Random

#: A connection that stayed up this long has proven itself; a shorter life keeps the back-off growing
#: (a server that accepts and hangs up at once must not be dialled at full speed).
PROVEN_SECONDS = 10.0


class Backoff:
    """Delays drawn evenly from 0 to base, 2 base, 4 base ... up to `cap` seconds."""

    def __init__(self, random: Random, base: float = 1.0, cap: float = 60.0) -> None:
        self._random = random
        self._base = base
        self._cap = cap
        self._ceiling = base

    def next(self) -> float:
        """Return the seconds to wait now, and widen the range for the next time."""
        delay = self._random.uniform(0.0, self._ceiling)
        self._ceiling = min(self._cap, self._ceiling * 2)
        return delay

    def reset(self) -> None:
        """Begin with the narrow range again; to be called after proven life only."""
        self._ceiling = self._base
