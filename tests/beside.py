"""A service beside the test, on an event loop in a thread of its own: for tests that wait for programs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TypeVar

T = TypeVar("T")

_SECONDS = 20


@contextmanager
def beside(service: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Run the service until the block ends; entering and leaving it take 20 seconds at most each."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        running = asyncio.run_coroutine_threadsafe(service.__aenter__(), loop).result(_SECONDS)
        try:
            yield running
        finally:
            asyncio.run_coroutine_threadsafe(_left(service), loop).result(_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
        loop.close()


async def _left(service: AbstractAsyncContextManager[object]) -> None:
    await service.__aexit__(None, None, None)
