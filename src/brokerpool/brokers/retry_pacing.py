"""When somebody who did not help may be asked again: failures double the rest, and nobody is locked out."""

from __future__ import annotations

from random import Random

#: The rest after the first failure, and after an answer that helped.
SHORTEST_SECONDS = 4.0
#: The longest rest; what is not refused for so long has proven itself.
LONGEST_SECONDS = 15 * 60.0
#: Each rest is drawn between so much of it and all of it, lest several programs ask in step.
_LEAST = 0.75
#: A timer that was set for the rest may fire so much before its end.
_HAIR = 0.001


class RetryPacing:
    """Rests of 4, 8, 16 ... seconds, up to 15 minutes; about a dozen questions in the first hour of failures.

    A failure is a question that brought nothing, and an answer that was refused within 15 minutes.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        #: Questions in a row that did not help.
        self.failures = 0
        self._before = 0
        self._until = self._helped_at = float("-inf")

    def rest(self, now: float) -> float:
        """Return for how many seconds from now on nobody is to ask; 0 when somebody may."""
        left = self._until - now
        return left if left > _HAIR else 0.0

    def failed(self, now: float, at_least: float = 0.0) -> None:
        """Note that a question brought nothing, and that nobody is to ask for `at_least` so many seconds."""
        # Beyond 16 doublings the rest is the longest anyhow, and a float is not asked to hold the power.
        rest = min(LONGEST_SECONDS, SHORTEST_SECONDS * 2 ** min(self.failures, 16))
        self.failures += 1
        self._until = now + max(at_least, rest * self._random.uniform(_LEAST, 1.0))

    def helped(self, now: float) -> None:
        """Note that a question brought what is to be tried."""
        self._before, self.failures = self.failures, 0
        self._helped_at = now
        self._until = now + SHORTEST_SECONDS

    def refused(self, now: float) -> None:
        """Note that what the last answer brought is refused."""
        if now - self._helped_at < LONGEST_SECONDS:
            self.failures = self._before
            self.failed(now)

    def reset(self) -> None:
        """Begin anew: what was asked for came from elsewhere, or a person says that all is well."""
        self.failures = self._before = 0
        self._until = self._helped_at = float("-inf")
