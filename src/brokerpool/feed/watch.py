"""The regular look at everything: when it comes, and whether this process stood still before it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator

from brokerpool.fence import Fence, name_of

logger = logging.getLogger("brokerpool.feed")

#: The longest time between two looks.
PERIOD_SECONDS = 1.0
#: A look that comes this much too late means that the process was stopped, or its loop blocked.
STALLED_SECONDS = 2.0


class Watch:
    """Calls `look(now, stalled)` every period; `stalled` is how many seconds late it comes, if it does.

    What it returns is advanced by one step in each turn of the loop, so that a look at a big pool holds
    nobody up. One that raises is told, and the next comes all the same.
    """

    def __init__(
        self, look: Callable[[float, float], Iterator[None]], silence_seconds: float, fence: Fence
    ) -> None:
        """The period is a fifth of the broker's limit for silence, and a second at most."""
        self._look = look
        self._fence = fence
        self._period = min(PERIOD_SECONDS, silence_seconds / 5)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._told = False

    def start(self) -> None:
        """Look from now on; once started it goes on until `stop`."""
        if self._timer is None:
            self._schedule()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = self._loop.time() + self._period
        self._timer = self._loop.call_at(self._due, self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        late = now - self._due
        if late < STALLED_SECONDS:
            self._told = False
            late = 0.0
        elif not self._told:
            logger.warning("this process stood still for %.1f s; no socket is judged for that time", late)
            self._told = True
        self._go_on(self._look(now, late), now + self._period)

    def _go_on(self, steps: Iterator[None], due: float) -> None:
        more = self._fence.call(next, steps, False, otherwise=False, name=name_of(self._look)) is None
        if self._timer is None:
            return  # the end of all looks, in this step
        self._due = max(due, self._loop.time())
        again = self._loop.call_soon(self._go_on, steps, due) if more else None
        self._timer = again or self._loop.call_at(self._due, self._turn)
