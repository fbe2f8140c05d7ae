"""How long a call may take: one timer for all calls of a client, which costs a tenth of `asyncio.timeout`."""

from __future__ import annotations

import asyncio
import heapq
from types import TracebackType
from typing import Any, Self


class Deadline:
    """Ends what runs in its `with` block when the time is up: it is cancelled, and TimeoutError comes out.

    As with `asyncio.timeout`, a cancellation from elsewhere stays one.
    """

    __slots__ = ("_cancelling", "_task", "expired", "when")

    def __init__(self, when: float) -> None:
        #: On the loop's clock, in seconds.
        self.when = when
        self.expired = False
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0

    def expire(self) -> None:
        """End the block now; one that has ended is left alone."""
        if self._task is not None and not self.expired:
            self.expired = True
            self._task.cancel()

    @property
    def over(self) -> bool:
        """True once the block has ended."""
        return self._task is None

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        assert task is not None  # only tasks await
        self._cancelling = task.cancelling()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if self.expired and task is not None:
            ours = task.uncancel() <= self._cancelling
            if ours and kind is asyncio.CancelledError:
                raise TimeoutError from error


class Deadlines:
    """The deadlines of the calls that run; only their first one has a timer."""

    def __init__(self) -> None:
        self._line: list[tuple[float, int, Deadline]] = []
        self._numbered = 0
        self._timer: asyncio.TimerHandle | None = None

    def after(self, seconds: float, loop: asyncio.AbstractEventLoop) -> Deadline:
        """Return a deadline so many seconds from now, to be entered at once."""
        deadline = Deadline(loop.time() + seconds)
        self._numbered += 1
        heapq.heappush(self._line, (deadline.when, self._numbered, deadline))
        if self._timer is None or deadline.when < self._timer.when():
            self._arm(loop)
        return deadline

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(self._line[0][0], self._look, loop) if self._line else None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        # Calls that have ended leave when their time comes; until then they are as many as a timeout sees.
        now = loop.time()
        while self._line and (self._line[0][0] <= now or self._line[0][2].over):
            heapq.heappop(self._line)[2].expire()
        self._timer = None
        self._arm(loop)

    def close(self) -> None:
        """Drop the timer; to be called when no call runs any more."""
        self._line.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
