"""How long to wait before the next try: exponential, capped, with full jitter, and without an end."""

from __future__ import annotations

from random import Random

#: A connection that stayed up this long has proven itself; a shorter life keeps the back-off growing
#: (a server that accepts and hangs up at once must not be dialled at full speed).
PROVEN_SECONDS = 10.0
#: The longest range of delays, in seconds.
CAP_SECONDS = 60.0


class Backoff:
    """Delays drawn evenly from 0 to base, 2 base, 4 base ... up to `cap` seconds."""

    def __init__(self, random: Random, base: float = 1.0) -> None:
        self._random = random
        self._base = base
        self._ceiling = base

    def next(self, cap: float = CAP_SECONDS) -> float:
        """Return the seconds to wait now, and widen the range for the next time."""
        delay = self._random.uniform(0.0, min(cap, self._ceiling))
        self._ceiling = min(CAP_SECONDS, self._ceiling * 2)
        return delay

    def reset(self) -> None:
        """Begin with the narrow range again; to be called after proven life only."""
        self._ceiling = self._base
