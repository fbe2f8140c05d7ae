"""An event loop in a thread of its own: its turns are measured, and what goes wrong in it is remembered."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from brokerpool.gateway.loop_faults import LoopFaults

T = TypeVar("T")


class WatchedLoop:
    """Runs coroutines, and remembers the longest turn, lines of ERROR, and tasks and callbacks that raised.

    `async with` starts and ends it; everything here is called from another loop. What is dear and not to be
    measured stays there.
    """

    def __init__(self) -> None:
        #: CPU seconds of the longest turn since this was last set to 0.
        self.longest = 0.0
        #: What was logged at ERROR or above, by whomever.
        self.error_lines: list[str] = []
        #: What raised where nobody could catch it, and tasks that have ended and should not.
        self.deaths: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._lasting: set[asyncio.Task[Any]] = set()
        self._log = _ErrorLines(self.error_lines)
        self._thread = threading.Thread(target=self._run, name="watched loop")

    async def __aenter__(self) -> Self:
        logging.getLogger().addHandler(self._log)
        self._thread.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        logging.getLogger().removeHandler(self._log)

    async def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have the work done on the loop, and return or raise what it does."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def mark(self) -> None:
        """Expect every task with a name that runs now to run to the end."""
        self._lasting = await self.run(_named_tasks())

    async def look(self) -> None:
        """Add to `deaths` what has ended since `mark`."""
        running = await self.run(_named_tasks())
        self.deaths += [f"the task {task.get_name()!r} has ended" for task in self._lasting - running]
        self._lasting &= running

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            loop: Any = runner.get_loop()
            run_once = loop._run_once

            def turn() -> None:
                began = time.thread_time()  # waiting costs nothing, be it for the network or another thread
                run_once()
                self.longest = max(self.longest, time.thread_time() - began)

            loop._run_once = turn
            loop.set_exception_handler(LoopFaults(loop.time))
            # What `LoopFaults` does not take for a client's own fault comes here.
            loop.default_exception_handler = self._raised
            loop.run_forever()

    def _raised(self, context: dict[str, Any]) -> None:
        self.deaths.append(f"{context.get('message')}: {context.get('exception')!r}")


async def turns(count: int) -> None:
    """Return after so many turns of the running loop: what was there to be read has been read."""
    for _ in range(count):
        await asyncio.sleep(0)


async def _named_tasks() -> set[asyncio.Task[Any]]:
    return {
        task
        for task in asyncio.all_tasks()
        if not task.get_name().startswith("Task-") and not task.get_name().endswith("warm-up")
    }


class _ErrorLines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({record.exc_info[1]!r})"
        self._lines.append(f"{record.name}: {text}")
