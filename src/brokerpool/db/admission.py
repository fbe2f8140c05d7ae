"""The waiting itself: callers sleep until the line hands them a permit, for a bounded time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brokerpool.db.queue import Queue, Ticket


class Admission:
    """Wakes the callers that the line lets go."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._waiting: dict[Ticket, asyncio.Future[None]] = {}

    async def wait(self, ticket: Ticket, seconds: float) -> bool:
        """Return when the ticket has its permit, and whether it had to wait; the caller has to release it.

        Raises asyncio.QueueFull at once when the line holds no more, TimeoutError after `seconds`, and what
        `fail_all` was given. Whenever it raises, a cancellation included, the ticket holds nothing and the
        next in line has not lost its turn.
        """
        loop = asyncio.get_running_loop()
        self._queue.enter(ticket)
        self.stir()
        if ticket.held:
            return False
        if self._queue.queued > self._queue.max_waiting:
            self._queue.withdraw(ticket)
            raise asyncio.QueueFull
        turn = self._waiting[ticket] = loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await turn
        except BaseException as error:
            if self._waiting.pop(ticket, None) is not None:
                self._queue.withdraw(ticket)
            elif not ticket.held:
                # `fail_all` took it out of the line; its error counts as seen, also by who was cancelled.
                if not turn.cancelled():
                    turn.exception()
            elif not isinstance(error, TimeoutError):
                self.release(ticket)
            else:
                return True  # the permit came in the very moment in which the time was up
            raise
        return True

    def release(self, ticket: Ticket) -> None:
        """Take the permit back and hand it on."""
        self._queue.release(ticket)
        self.stir()

    def stir(self) -> None:
        """Let go who can go; to be called after every change."""
        for ticket in self._queue.grant(asyncio.get_running_loop().time()):
            turn = self._waiting.pop(ticket, None)
            if turn is not None and not turn.done():
                turn.set_result(None)

    def fail_all(self, error: Callable[[], Exception]) -> None:
        """Let every waiting caller end with an error of its own."""
        for ticket in self._queue.waiting():
            self._queue.withdraw(ticket)
            turn = self._waiting.pop(ticket)
            if not turn.done():
                turn.set_exception(error())
