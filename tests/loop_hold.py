"""How long the event loop is held by one turn, as CPU time of its own thread."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class LoopHold:
    """The longest turn of the event loop, in CPU time: other programs on the machine do not enter.

    Nor does Python's garbage collection, which strikes wherever it likes.
    """

    def __init__(self) -> None:
        self.ms = 0.0
        self.turns = 0


@asynccontextmanager
async def measured() -> AsyncIterator[LoopHold]:
    hold, loop, before = LoopHold(), asyncio.get_running_loop(), time.thread_time()
    running = True

    def turn() -> None:
        nonlocal before
        now = time.thread_time()
        hold.ms = max(hold.ms, (now - before) * 1000)
        hold.turns += 1
        before = now
        if running:
            loop.call_soon(turn)

    loop.call_soon(turn)
    gc.disable()
    try:
        yield hold
    finally:
        gc.enable()
        running = False
