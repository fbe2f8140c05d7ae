"""How fast messages may leave: a token bucket that is told the time."""

from __future__ import annotations


class Pacer:
    """Lets `burst` messages go at once after a rest and `per_second` in the long run."""

    def __init__(self, per_second: float, burst: int) -> None:
        if per_second <= 0 or burst < 1:
            raise ValueError("a pacer needs a positive rate and a burst of at least 1")
        self._per_second = per_second
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at = float("-inf")

    def delay(self, now: float) -> float:
        """Return the seconds until one more message may leave; 0 means now."""
        missing = 1.0 - self._refilled(now)
        # A hair of rounding must not turn into a wake-up that finds the bucket 1e-17 short.
        return missing / self._per_second if missing > 1e-9 else 0.0

    def spend(self, now: float) -> None:
        """Count one message that leaves at `now`."""
        self._tokens = self._refilled(now) - 1.0
        self._at = now

    def _refilled(self, now: float) -> float:
        return min(self._burst, self._tokens + max(0.0, now - self._at) * self._per_second)
