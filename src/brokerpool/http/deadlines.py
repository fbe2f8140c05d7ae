"""The calls that run, each with a deadline: one timer for all costs a tenth of `asyncio.timeout`."""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any, Self


class Deadline:
    """Ends what runs in its `with` block when the time is up: it is cancelled, and TimeoutError comes out.

    As with `asyncio.timeout`, a cancellation from elsewhere stays one.
    """

    __slots__ = ("_cancelling", "_running", "_task", "expired", "resting", "when")

    def __init__(self, when: float, running: Deadlines, task: asyncio.Task[Any]) -> None:
        #: On the loop's clock, in seconds.
        self.when = when
        self.expired = False
        #: True while nothing would be lost if it were brought forward: the block only waits.
        self.resting = False
        self._running = running
        self._task: asyncio.Task[Any] | None = task
        self._cancelling = task.cancelling()

    def expire(self) -> None:
        """End the block now; one that has ended is left alone."""
        if self._task is not None and not self.expired:
            self.expired = True
            self._task.cancel()

    @property
    def holder(self) -> str:
        """The name of the task whose block it ends."""
        return self._task.get_name() if self._task is not None else "no task"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        self._running.ended(self)
        if self.expired and task is not None:
            ours = task.uncancel() <= self._cancelling
            if ours and kind is asyncio.CancelledError:
                raise TimeoutError from error


class Deadlines:
    """What runs at present; only the first deadline has a timer."""

    def __init__(self) -> None:
        self._deadlines: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        #: When the timer goes off.
        self._due = math.inf
        #: Set once nothing runs any more; there is one while somebody waits for it.
        self._idle: asyncio.Event | None = None

    def __len__(self) -> int:
        return len(self._deadlines)

    def until(self, when: float, loop: asyncio.AbstractEventLoop) -> Deadline:
        """Return a deadline at `when` on the loop's clock for the current task, to be entered at once."""
        task = asyncio.current_task(loop)
        assert task is not None  # only tasks await
        deadline = Deadline(when, self, task)
        self._deadlines.add(deadline)
        if when < self._due:
            self._arm(when, loop)
        return deadline

    def ended(self, deadline: Deadline) -> None:
        """Forget a deadline whose block has ended."""
        self._deadlines.discard(deadline)
        if self._idle is not None and not self._deadlines:
            self._idle.set()

    def expire(self, *, resting: bool = False) -> None:
        """End everything now, or only what is resting."""
        for deadline in [d for d in self._deadlines if d.resting or not resting]:
            deadline.expire()

    async def idle(self) -> None:
        """Return as soon as nothing runs."""
        if self._deadlines:
            self._idle = self._idle or asyncio.Event()
            self._idle.clear()
            await self._idle.wait()
        self._disarm()

    def _arm(self, when: float, loop: asyncio.AbstractEventLoop) -> None:
        self._disarm()
        self._due = when
        self._timer = loop.call_at(when, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        # Most calls have long ended when the timer that was set for them goes off, so that it looks through
        # those that run about once in a timeout.
        self._disarm()
        now = loop.time()
        for deadline in [d for d in self._deadlines if d.when <= now]:
            deadline.expire()
        first = min((d.when for d in self._deadlines if not d.expired), default=math.inf)
        if first < math.inf:
            self._arm(first, loop)

    def _disarm(self) -> None:
        self._due = math.inf
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
