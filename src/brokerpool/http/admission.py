"""The waiting itself: callers sleep until the line hands them a slot, for a bounded time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from brokerpool.http.queue import Queue, Ticket


class Admission:
    """Wakes the callers that the line lets go, and sets a timer where the rate limit makes them wait."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, ticket: Ticket, seconds: float) -> None:
        """Return when the ticket has its slot; the caller has to release it then.

        Raises asyncio.QueueFull at once when its lane holds no more, TimeoutError after `seconds`, and what
        `fail_all` was given. Whenever it raises, a cancellation included, the ticket holds nothing and the
        next in line has not lost its turn.
        """
        loop = asyncio.get_running_loop()
        if self._queue.take(ticket, loop.time()):
            return
        self._queue.enter(ticket)
        self.stir()
        if ticket.slot is not None:
            return
        if self._queue.queued(ticket.lane) > self._queue.max_waiting:
            self._queue.withdraw(ticket)
            raise asyncio.QueueFull
        turn = self._waiting[ticket] = loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if self._waiting.pop(ticket, None) is not None:
                self._queue.withdraw(ticket)
                # Perhaps it alone kept a later ticket of its group waiting.
                self.stir()
            elif ticket.slot is None:
                # `fail_all` took it out of the line; its error counts as seen, also by who was cancelled.
                if not turn.cancelled():
                    turn.exception()
            elif not isinstance(error, TimeoutError):
                self.release(ticket, loop.time())
            else:
                return  # the slot came in the very moment in which the time was up
            raise

    def sent(self, ticket: Ticket, now: float) -> None:
        """Note that the ticket's call leaves now."""
        self._queue.sent(ticket, now)
        if self._waiting:
            self.stir()  # from now on it is known when the windows have room again

    def release(self, ticket: Ticket, now: float) -> None:
        """Take the slot back and hand it on."""
        self._queue.release(ticket, now)
        if self._waiting:
            self.stir()

    def stir(self) -> None:
        """Let go who can go; to be called after every change."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for ticket in self._queue.grant(now):
            turn = self._waiting.pop(ticket, None)
            if turn is not None and not turn.done():
                turn.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delay = self._queue.next_grant(now)
        if delay < math.inf:
            self._timer = loop.call_later(delay, self.stir)

    def fail_all(self, error: Callable[[], Exception]) -> None:
        """Let every waiting caller end with an error of its own."""
        for ticket in self._queue.waiting():
            self._queue.withdraw(ticket)
            turn = self._waiting.pop(ticket)
            if not turn.done():
                turn.set_exception(error())
        self.stir()
