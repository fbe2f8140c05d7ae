"""Connections kept for long, or never given back: told in the log, with file and line of who asked."""

from __future__ import annotations

import asyncio
import logging

from brokerpool.db.counters import Tally
from brokerpool.db.queue import Queue, Ticket

logger = logging.getLogger(__name__)

# A task that ended with its connection is looked for at least so often, in seconds.
_LOOK_SECONDS = 1.0


class Unreturned:
    """Looks at who holds a connection, for as long as anybody does, and tells each fault of a holder once."""

    def __init__(self, name: str, queue: Queue, tally: Tally, long_hold: float) -> None:
        """`long_hold` is the number of seconds after which a holder is named."""
        self._name = name
        self._queue = queue
        self._tally = tally
        self._long_hold = long_hold
        self._look: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Look at the holders from now on, until none is left."""
        if self._look is None:
            self._look_in(min(self._long_hold, _LOOK_SECONDS))

    def leaked(self, ticket: Ticket, how: str) -> None:
        """Count and tell a connection that its holder did not return."""
        self._tally.leaks += 1
        logger.warning("%s: leak of the connection of %s: %s", self._name, ticket.borrower, how)

    def close(self) -> None:
        """Look no more."""
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _look_around(self) -> None:
        self._look = None
        now, next_look = asyncio.get_running_loop().time(), min(self._long_hold, _LOOK_SECONDS)
        holders = self._queue.holders()
        for ticket in holders:
            age = now - ticket.granted
            if ticket.borrower.gone and not ticket.end_told:
                ticket.end_told = True
                self.leaked(ticket, f"its task has ended and not returned it, after {age:.1f} s")
            elif age >= self._long_hold and not ticket.long_told:
                ticket.long_told = True
                self._tally.long_holds += 1
                logger.warning("%s: %s holds a connection for %.1f s", self._name, ticket.borrower, age)
            elif not ticket.long_told:
                next_look = min(next_look, self._long_hold - age)
        if holders:
            self._look_in(max(next_look, 0.01))

    def _look_in(self, seconds: float) -> None:
        self._look = asyncio.get_running_loop().call_later(seconds, self._look_around)
