"""How an adapter reads a whole instrument list: in how much processor time, in which turns of the loop."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from brokerpool.instruments import TokenBook


class Loaded(Protocol):
    """What an adapter's loader returns."""

    @property
    def book(self) -> TokenBook: ...


class Reading(NamedTuple):
    """The best of several readings of one list."""

    rows: int
    #: Of the thread's processor time.
    seconds: float
    #: The longest turns as parts of the whole time: of all, and without those in which dictionaries grow.
    longest: float
    usual: float

    def __str__(self) -> str:
        return (
            f"{self.rows:,} rows: {self.seconds:.2f} s of processor time; a turn takes"
            f" {self.usual * self.seconds * 1000:.1f} ms at most,"
            f" {self.longest * self.seconds * 1000:.1f} ms when the dictionaries grow"
        )


def reading(load: Callable[[], Awaitable[Loaded]], runs: int) -> Reading:
    """Read the list `runs` times, and return what the best of each took."""

    async def measured() -> tuple[TokenBook, float, list[float]]:
        turns = []

        async def beat() -> None:
            last = time.thread_time()
            while True:
                await asyncio.sleep(0)
                now = time.thread_time()
                turns.append(now - last)
                last = now

        beating = asyncio.create_task(beat())
        started = time.thread_time()
        loaded = await load()
        spent = time.thread_time() - started
        beating.cancel()
        return loaded.book, spent, sorted(turns)

    # By its own processor time; a collection of all that other tests have left behind is not the loader's.
    gc.collect()
    gc.freeze()
    try:
        done = [asyncio.run(measured()) for _ in range(runs)]
    finally:
        gc.unfreeze()
    # In a few turns the dictionaries grow, all at once.
    longest, usual = (min(turns[at] / whole for _, whole, turns in done) for at in (-1, -8))
    return Reading(len(done[0][0]), min(spent for _, spent, _ in done), longest, usual)
