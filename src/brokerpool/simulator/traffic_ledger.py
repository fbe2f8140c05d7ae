"""What the broker saw of its client: every dial, message and limit, counted."""

from __future__ import annotations

from collections import Counter, deque
from typing import Any

_DIALS_KEPT = 1_000


class Ledger:
    """Counters since the start, over all sockets that ever were; times are seconds since the start."""

    def __init__(self) -> None:
        self.dials = 0
        #: The last thousand dials: when, and the HTTP status of the answer (101 for a socket).
        self.dial_log: deque[tuple[float, int]] = deque(maxlen=_DIALS_KEPT)
        self.refusals: Counter[int] = Counter()
        #: By endpoint, with the method in front when it is not GET; a path that does not exist is "unknown".
        self.http_requests: Counter[str] = Counter()
        #: By status, those that were broken off included.
        self.http_answers: Counter[int] = Counter()
        #: Answers that were broken off on command.
        self.http_broken = 0
        #: Calls over the published rates, each answered with 429, by group of endpoints.
        self.too_fast: Counter[str] = Counter()
        self.peak_sockets = 0
        self.peak_tokens_per_socket = 0
        self.control_messages = 0
        #: The most control messages that one socket sent within a second.
        self.peak_control_messages_per_second = 0
        self.largest_batch = 0
        self.malformed_requests = 0
        #: Subscribe requests refused for the limit, dials refused because all sockets were in use, and, where
        #: it matters, sockets that were closed because their client said nothing.
        self.violations = Counter(tokens=0, sockets=0)
        self.ticks_sent = 0
        self.frames_sent = 0
        self.snapshots_sent = 0
        #: Not sent because the client did not read.
        self.ticks_dropped = 0
        self.frames_dropped = 0
        #: Not sent because the socket was muted.
        self.ticks_muted = 0

    def dialled(self, at: float, status: int) -> None:
        """Note a dial and how it was answered."""
        self.dials += 1
        self.dial_log.append((round(at, 4), status))
        if status != 101:
            self.refusals[status] += 1

    def report(self) -> dict[str, Any]:
        """Return every counter, ready for JSON."""
        return {
            **vars(self),
            "dial_log": list(self.dial_log),
            "refusals": {str(status): count for status, count in self.refusals.items()},
            "http_requests": dict(self.http_requests),
            "http_answers": {str(status): count for status, count in self.http_answers.items()},
            "too_fast": dict(self.too_fast),
            "violations": dict(self.violations),
        }
