"""What was refused to clients lately, for operators: a bounded ring, how many there were, and the log."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import NamedTuple

from brokerpool.errors import ErrorCode
from brokerpool.instruments import Instrument
from brokerpool.repeated_log_messages import Complaints
from brokerpool.untrusted_text import remembered

logger = logging.getLogger("brokerpool.gateway")

#: Refusals that are remembered; of one request a tenth of it, so that none pushes all others out.
SIZE = 200
_OF_ONE_REQUEST = 20


class Refusal(NamedTuple):
    """One symbol that a client asked for and did not get."""

    #: Epoch milliseconds.
    at_ms: int
    #: The client's number, as in its name.
    client: int
    instrument: str
    code: str
    message: str


class RefusalLog:
    """The last refusals, newest first; the counts are of all since the start, by code.

    The log has a line for each, eleven a minute at most; what is more is counted there.
    """

    def __init__(
        self, wall_clock: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._last: deque[Refusal] = deque(maxlen=SIZE)
        self._wall_clock = wall_clock
        self._clock = clock
        self._complaints = Complaints()

    def note(self, client: int, refused: Mapping[Instrument, tuple[ErrorCode, str]], before: int = 0) -> None:
        """Remember what one request was refused; of a long list the first few symbols only.

        `before` is how many symbols of the same request were noted already.
        """
        at_ms = int(self._wall_clock() * 1000)
        self.counts.update(code.name for code, _ in refused.values())
        for instrument, (code, message) in islice(refused.items(), max(0, _OF_ONE_REQUEST - before)):
            self._last.appendleft(Refusal(at_ms, client, str(instrument), code.name, message))
        for instrument, (code, message) in refused.items():
            self.complain(client, f"{instrument}: {code.name}: {message}")

    def complain(self, client: int, what: str) -> None:
        """Say in the log what was refused to a client, or count it; the text may be the client's."""
        name, text = f"client-{client}", remembered(what)
        if self._complaints.heard(f"{name}: {text}", self._clock()):
            logger.warning("%s was refused %s", name, text, extra={"client": name})

    def review(self) -> None:
        """Say what was counted, once a minute; to be called every second or so."""
        if summary := self._complaints.summary(self._clock()):
            logger.warning("refused to clients: %s", summary)

    def newest(self, most: int) -> list[Refusal]:
        """Return the newest, at most so many."""
        return list(islice(self._last, most))

    def __repr__(self) -> str:
        return f"<RefusalLog {self.counts.total()} refused, {len(self._last)} remembered>"
