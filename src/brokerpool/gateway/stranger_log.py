"""What the log says of those who have shown no key: eleven lines a minute at most, whatever they do."""

from __future__ import annotations

import logging
from collections.abc import Callable

from brokerpool.repeated_log_messages import Complaints

logger = logging.getLogger("brokerpool.gateway")

_UVICORN = "Invalid HTTP request received."


class StrangerLog(logging.Filter):
    """Tells what strangers do, and counts what they do often; as a filter it takes uvicorn's word of them."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__()
        self._complaints = Complaints()
        self._clock = clock

    def note(self, what: str) -> None:
        """Tell what a client without a key did, or count it."""
        if self._complaints.heard(what, self._clock()):
            logger.info("a client without a key %s", what)

    def review(self) -> None:
        """Tell what was counted, once a minute; to be called every second or so."""
        if summary := self._complaints.summary(self._clock()):
            logger.info("clients without a key: %s", summary)

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep uvicorn's warning, one for each piece of nonsense, out of the log, and note it."""
        if record.msg != _UVICORN:
            return True
        self.note("sent what is no HTTP request")
        return False
