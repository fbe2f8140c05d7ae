"""An event loop in a thread of its own, into which other threads call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from brokerpool import arguments
from brokerpool.errors import PoolClosedError

T = TypeVar("T")

#: Every call into the loop's thread ends within this many seconds beyond its own, or raises TimeoutError.
CALL_SECONDS = 15.0


class LoopThread:
    """Runs functions and coroutines on its loop for any number of threads, which wait for the result.

    After `close` all of them raise PoolClosedError.
    """

    def __init__(self, owner: str) -> None:
        """`owner` is what is closed with it, as the error names it."""
        self._owner = owner
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="brokerpool", daemon=True)
        self._thread.start()

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._loop.is_closed()

    def call(self, function: Callable[[], T]) -> T:
        """Return what the function returns on the loop, or raise what it raises."""

        async def on_the_loop() -> T:
            return function()

        return self.run(on_the_loop())

    def run(self, coroutine: Coroutine[Any, Any, T], seconds: float = 0.0) -> T:
        """Return what the coroutine returns, which may itself take up to `seconds`."""
        if self.closed:
            coroutine.close()
            raise PoolClosedError(f"{self._owner} is closed.")
        try:
            # Before it begins: an order must not leave whose caller is told of a wrong argument.
            most = arguments.seconds("timeout", seconds) + CALL_SECONDS
        except (TypeError, ValueError):
            coroutine.close()
            raise
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(most)

    def close(self) -> None:
        """End the thread."""
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CALL_SECONDS)
        self._loop.close()
