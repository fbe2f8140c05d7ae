"""What a caller without a connection is told: one error, with the state of the pool in numbers."""

from __future__ import annotations

import asyncio

from brokerpool.db.counters import Tally
from brokerpool.db.engine import DatabaseEngine
from brokerpool.db.queue import Queue, Ticket
from brokerpool.errors import DatabaseUnavailableError, ErrorCode, PoolClosedError


class Refusals:
    """Makes the errors of one pool and counts them; no text has the URL, a statement or its values."""

    def __init__(self, name: str, *, queue: Queue, tally: Tally) -> None:
        self._name = name
        self._queue = queue
        self._tally = tally

    def closed(self) -> PoolClosedError:
        """The pool was closed before the call, or while the caller waited."""
        return PoolClosedError(f"pool {self._name} is closed.")

    def queue_full(self, ticket: Ticket) -> DatabaseUnavailableError:
        """The queue holds no more."""
        text = f"{ticket.borrower} was refused: {self._queue.queued} callers wait."
        return self._refused(text, ErrorCode.DB_QUEUE_FULL)

    def waited(self, ticket: Ticket, seconds: float) -> DatabaseUnavailableError:
        """The caller waited in vain."""
        return self._refused(
            f"{ticket.borrower} waited {seconds:.3f} s for a connection.", ErrorCode.DB_WAIT_TOO_LONG
        )

    def unreachable(
        self, ticket: Ticket, engine: DatabaseEngine, error: BaseException, seconds: float
    ) -> DatabaseUnavailableError:
        """The caller's turn came, and the database gave no connection."""
        if isinstance(error, TimeoutError):
            why = "no answer when the caller's time was up"
        else:
            lines = str(getattr(error, "orig", None) or error).strip().splitlines()
            why = engine.scrub(lines[0]) if lines else type(error).__name__
        text = f"{ticket.borrower} got no connection to {engine.address} within {seconds:.3f} s: {why}."
        pooler = "unsupported startup parameter" in why
        return self._refused(text, ErrorCode.DB_POOLER_REFUSES if pooler else ErrorCode.DB_UNREACHABLE)

    def locked(self, ticket: Ticket, engine: DatabaseEngine, seconds: float) -> DatabaseUnavailableError:
        """Another program writes to the SQLite file for longer than a writer waits."""
        text = f"{ticket.borrower} waited {seconds:.3f} s: another program is writing to {engine.address}."
        return self._refused(text, ErrorCode.DB_WAIT_TOO_LONG)

    def _refused(self, text: str, code: ErrorCode) -> DatabaseUnavailableError:
        self._tally.refused[code.name] += 1
        state = self._queue.describe(asyncio.get_running_loop().time())
        return DatabaseUnavailableError(f"{self._name}: {text} {state}", code=code)
