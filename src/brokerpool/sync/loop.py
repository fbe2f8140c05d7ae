"""An event loop in a thread of its own, into which other threads call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from typing import Any, TypeVar

from brokerpool import argument_checks
from brokerpool.errors import PoolClosedError
from brokerpool.fork_guard import ForkGuard

T = TypeVar("T")

#: Every call into the loop's thread ends within this many seconds beyond its own, or raises TimeoutError.
CALL_SECONDS = 15.0
#: For tasks that are cancelled at the end.
_END_SECONDS = 5.0


class LoopThread:
    """Runs functions and coroutines on its loop for any number of threads, which wait for the result.

    The thread begins with the first call. After `close` all calls raise PoolClosedError, and in a child that
    was forked after the first call PoolForkedError.
    """

    def __init__(self, owner: str) -> None:
        """`owner` is what is closed with it, as the errors name it."""
        self._owner = owner
        #: Whose process it is.
        self.guard = ForkGuard(self, owner)
        #: Held while the thread is started, and while a call is handed over: none comes after the end.
        self._lock = threading.Lock()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def closed(self) -> bool:
        """True after `close`, and in a forked child, where there is nothing to close."""
        return self.guard.elsewhere or self._closed

    def check(self) -> None:
        """Raise PoolClosedError or PoolForkedError where calls would."""
        self.guard.enter()
        if self.closed:
            raise PoolClosedError(f"{self._owner} is closed.")

    def call(self, function: Callable[[], T]) -> T:
        """Return what the function returns on the loop, or raise what it raises."""

        async def on_the_loop() -> T:
            return function()

        return self.run(on_the_loop())

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float = 0.0) -> T:
        """Return what the coroutine returns, which may itself take up to `seconds`."""
        try:
            self.check()
            # Before it begins: an order must not leave whose caller is told of a wrong argument.
            most = argument_checks.seconds("timeout", seconds) + CALL_SECONDS
            with self._lock:
                self.check()
                handed_over = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        except BaseException:
            coroutine.close()
            raise
        try:
            return handed_over.result(most)
        except CancelledError:
            self.check()
            raise

    def close(self) -> None:
        """End the thread; calls that are under way in other threads raise PoolClosedError."""
        with self._lock:
            if self._closed:
                return
            loop = self._started()
            self._closed = True
        asyncio.run_coroutine_threadsafe(_ended(loop), loop).result(CALL_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        assert self._thread is not None  # started
        self._thread.join(CALL_SECONDS)
        loop.close()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            # Not the own loop of Windows, with which psycopg does not work.
            self._loop = asyncio.SelectorEventLoop()
            self._thread = threading.Thread(target=self._loop.run_forever, name="brokerpool", daemon=True)
            self._thread.start()
        return self._loop


async def _ended(loop: asyncio.AbstractEventLoop) -> None:
    """Let everything on the loop end, or a call that was handed over just before would never be answered."""
    await loop.shutdown_default_executor()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=_END_SECONDS)
