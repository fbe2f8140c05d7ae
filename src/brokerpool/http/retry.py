"""Whether a call is repeated, and when: what was sent decides, and a budget for the whole client."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from random import Random

from brokerpool.http.recent_sum import SlidingSum
from brokerpool.retry_after import retry_after as retry_after

#: Methods whose repetition changes nothing more (RFC 9110, 9.2.2).
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})

#: The longest wait that is drawn; a Retry-After may ask for more.
MAX_BACKOFF_SECONDS = 30.0

#: Repeats for each hundred calls within the window, and the few that are always allowed in it.
BUDGET_PERCENT = 20
BUDGET_FLOOR = 3
BUDGET_SECONDS = 10.0


class Outcome(Enum):
    """What is known about a call that was tried."""

    #: Not a byte of it left: it has not happened.
    NOT_SENT = "not sent"
    #: It left, and no complete answer came: it may have happened.
    UNKNOWN = "sent, outcome unknown"
    #: The broker has answered.
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Attempt:
    """How one try ended, in the terms that decide about the next."""

    outcome: Outcome
    #: The reason under which a repeat is counted: "connect", "reset", "status 503" ...
    reason: str
    status: int | None = None
    #: Seconds that the broker asked to wait.
    retry_after: float | None = None


class RetryPolicy:
    """Decides about one call; it waits by full jitter, or for as long as the broker asked."""

    def __init__(
        self, random: Random, *, max_retries: int, backoff_factor: float, statuses: Collection[int]
    ) -> None:
        self._random = random
        self._max_retries = max_retries
        self._backoff_factor = backoff_factor
        self._statuses = frozenset(statuses)

    def delay(self, tries: int, attempt: Attempt, *, safe: bool, time_left: float) -> float | None:
        """Return the seconds after which the call is tried again; None means that it is not.

        `tries` counts the attempts so far. A call that is not safe to repeat (an order) is repeated only
        when nothing of it was sent. Nothing is begun that would not fit into `time_left`.
        """
        if tries > self._max_retries:
            return None
        if attempt.outcome is not Outcome.NOT_SENT and not safe:
            return None
        if attempt.outcome is Outcome.ANSWERED and attempt.status not in self._statuses:
            return None
        delay = attempt.retry_after
        if delay is None:
            most = min(MAX_BACKOFF_SECONDS, self._backoff_factor * 2.0 ** min(tries - 1, 30))
            delay = self._random.uniform(0.0, most)
        return delay if delay < time_left else None


class RetryBudget:
    """Keeps repeats to a share of the calls, so that an outage is not multiplied."""

    def __init__(self) -> None:
        self._calls = SlidingSum(BUDGET_SECONDS)
        self._repeats = SlidingSum(BUDGET_SECONDS)

    def called(self, now: float) -> None:
        """Count a call, which earns its share of a repeat."""
        self._calls.add(1, now)

    def spend(self, now: float) -> bool:
        """Take one repeat; False when there is none left, and nothing has changed then."""
        allowed = max(BUDGET_FLOOR, self._calls.total(now) * BUDGET_PERCENT // 100)
        if self._repeats.total(now) >= allowed:
            return False
        self._repeats.add(1, now)
        return True
