"""Waiting in a queue for one of few places: bounded in seconds and in number, and counted.

Who is granted next is decided by the queue, which knows no loop and no clock; here its callers sleep.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from brokerpool.histogram import Histogram


class Ticket(Protocol):
    """One caller's place in the queue, and later what it waited for; times are the loop's, in seconds."""

    entered: float
    granted: float

    @property
    def held(self) -> bool:
        """True from the grant to the release."""


T = TypeVar("T", bound=Ticket)


class Queue(Protocol[T]):
    """The decision who is granted next, without I/O and clock."""

    def enter(self, ticket: T) -> None:
        """Put a ticket at the end."""

    def overfull(self, ticket: T) -> bool:
        """Tell whether more tickets wait where this one does than may."""

    def withdraw(self, ticket: T) -> None:
        """Take out a ticket that still waits."""

    def grant(self, now: float) -> list[T]:
        """Return the tickets that hold what they waited for from now on, in order."""

    def next_grant(self, now: float) -> float:
        """Return the seconds after which time alone lets a ticket go; infinity when it never does."""

    def release(self, ticket: T, now: float) -> None:
        """Take back what the ticket holds."""

    def waiting(self) -> list[T]:
        """Return every ticket that waits."""


class WaitTally:
    """What the callers of one queue met: how many waited, for how long, and how many were refused."""

    def __init__(self) -> None:
        #: Callers that had to wait and got their turn.
        self.waited = 0
        #: Callers that were refused, by error code.
        self.refused: Counter[str] = Counter()
        #: For how long those waited who were let through, be it no time at all.
        self.waits = Histogram()

    def admitted(self, ticket: Ticket) -> None:
        """Count a caller that is let through."""
        self.waits.observe(ticket.granted - ticket.entered)

    def stats(self) -> dict[str, Any]:
        """Return the counters under the names of the documentation."""
        return {"refused": dict(self.refused), "wait_seconds": self.waits.stats()}


class Waiting(Generic[T]):
    """Lets callers sleep until the queue grants their tickets, with a timer where it does so by time alone.

    All methods belong to the running event loop.
    """

    def __init__(self, queue: Queue[T], tally: WaitTally) -> None:
        self._queue = queue
        self._tally = tally
        self._turns: dict[T, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, ticket: T, seconds: float) -> None:
        """Return when the ticket is granted; the caller has to release it then.

        Raises asyncio.QueueFull at once when no more may wait, TimeoutError after `seconds`, and what
        `fail_all` was given. Whenever it raises, a cancellation included, the ticket holds nothing and the
        next one has not lost its turn.
        """
        self._queue.enter(ticket)
        self._grant()
        if ticket.held:
            return
        if self._queue.overfull(ticket):
            self._leave(ticket)
            raise asyncio.QueueFull
        loop = asyncio.get_running_loop()
        turn = self._turns[ticket] = loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if self._turns.pop(ticket, None) is not None:
                self._leave(ticket)
            elif ticket.held and not isinstance(error, TimeoutError):
                self.release(ticket, loop.time())
            if not ticket.held:
                raise
            # It was granted in the very moment in which the time was up, and that counts.
        self._tally.waited += 1

    def release(self, ticket: T, now: float) -> None:
        """Take back what the ticket holds, and hand it on."""
        self._queue.release(ticket, now)
        self.stir()

    def stir(self) -> None:
        """Let go who can go; to be called after each change of what the queue decides by."""
        if self._turns:
            self._grant()

    def fail_all(self, error: Callable[[], Exception]) -> None:
        """Let every waiting caller end with an error of its own."""
        for ticket in self._queue.waiting():
            self._queue.withdraw(ticket)
            turn = self._turns.pop(ticket)
            if not turn.done():
                turn.set_exception(error())
        self._set_timer(math.inf)

    # -- inside -------------------------------------------------------------------------------------------

    def _leave(self, ticket: T) -> None:
        self._queue.withdraw(ticket)
        self._grant()  # perhaps it alone kept a later ticket waiting

    def _grant(self) -> None:
        now = asyncio.get_running_loop().time()
        for ticket in self._queue.grant(now):
            turn = self._turns.pop(ticket, None)
            if turn is not None and not turn.done():
                turn.set_result(None)
        self._set_timer(self._queue.next_grant(now))

    def _set_timer(self, seconds: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds < math.inf:
            self._timer = asyncio.get_running_loop().call_later(seconds, self._grant)
