"""The event loop that runs here: asked for in words, for pools that are used where there is none."""

from __future__ import annotations

import asyncio
import time


def running(what: str) -> asyncio.AbstractEventLoop:
    """Return the loop that runs here. Raises RuntimeError, which says what to write, where none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise RuntimeError(
            f"{what} needs a running event loop, and there is none here. Do it inside of a coroutine,"
            " `async with WebSocketPool(feed) as pool: ...`, or in a script or a thread take the blocking"
            " twin of the same name from brokerpool.sync, which needs no loop."
        ) from None


def clock() -> float:
    """Return the time by which pools measure: that of the loop, and outside of loops the same clock's."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()
