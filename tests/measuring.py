"""Judging speed beside other programs, for all tests: CPU of the work itself, in seconds of a known machine.

The clock on the wall tells how busy the machine is, and even a thread's CPU time grows by half while somebody
else uses the other half of a core. So a limit is judged

- on CPU time, of `work()` or of the longest of the loop's `turns()`, divided by `pace()`: how much slower a
  fixed piece of Python runs just now than on the machine for which the limits are written;
- on the `lowest` of several measurements: what others do only ever adds to one;
- by `without_waiting` where something is to happen at once, which no clock needs to tell.

What only the clock can judge (a promise such as "within a second") is marked `pytest.mark.alone`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

#: What the fixed piece takes there: Python 3.11 on one undisturbed core of an Intel Xeon of 2.8 GHz.
_REFERENCE_SECONDS = 0.00083


def pace() -> float:
    """Return how many times slower than there Python runs just now.

    1 where it is quicker: what a processor is quicker at this fixed piece, it is not where memory is read.
    """
    return max(1.0, min(_fixed_piece() for _ in range(5)) / _REFERENCE_SECONDS)


def _fixed_piece() -> float:
    began = time.thread_time()
    rows: dict[int, list[int]] = {}
    total = 0
    for n in range(2000):
        key = n * 7919 & 255
        row = rows.get(key)
        if row is None:
            rows[key] = row = []
        row.append(n)
        total += len(row) + int(str(n))
    return time.thread_time() - began


class Work:
    """What was measured, known at the end of its block."""

    seconds = 0.0
    #: Where it is a loop's: the seconds of each turn.
    turns: Sequence[float] = ()


@contextmanager
def work(clock: Callable[[], float] = time.thread_time) -> Iterator[Work]:
    """Measure the CPU seconds of this thread (`time.process_time`: of all) in the block, at the known pace.

    Without Python's garbage collection, which strikes wherever it likes.
    """
    measured, before = Work(), pace()
    with no_collection():
        began = clock()
        yield measured
        spent = clock() - began
    measured.seconds = spent / max(before, pace())


@asynccontextmanager
async def turns() -> AsyncIterator[Work]:
    """Measure the longest turn of the running loop in the block, as `work` does; waiting costs nothing."""
    loop: Any = asyncio.get_running_loop()
    measured, before, run_once = Work(), pace(), loop._run_once
    each: list[float] = []

    def turn() -> None:
        began = time.thread_time()
        run_once()
        each.append(time.thread_time() - began)

    loop._run_once = turn
    await asyncio.sleep(0)  # the turn in which this was called ends unmeasured
    try:
        with no_collection():
            yield measured
            for _ in range(2):  # until the turn has ended that was prepared last
                await asyncio.sleep(0)
    finally:
        del loop._run_once
    slower = max(before, pace())
    measured.turns = [spent / slower for spent in each]
    measured.seconds = max(measured.turns)


def longest_turn(runs: Sequence[Work]) -> float:
    """Return the longest turn of work that was done several times in the same turns, each at its quickest.

    What others do, or the system does with memory, falls into another turn each time.
    """
    same: Iterator[tuple[float, ...]] = zip(*(work.turns for work in runs), strict=False)
    return max(map(min, same))


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector out of what is done in the block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def lowest(measure: Callable[[], float], limit: float, attempts: int = 5) -> float:
    """Return the first measurement below the limit, or the lowest of all attempts."""
    found = measure()
    while found >= limit and (attempts := attempts - 1):
        found = min(found, measure())
    return found


def without_waiting(awaitable: Awaitable[Any]) -> Any:
    """Return or raise what the awaitable does when it ends at once; fails when it waits for anything."""
    steps = awaitable.__await__()
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    close = getattr(steps, "close", None)
    if close is not None:
        close()
    raise AssertionError(f"{awaitable!r} waits")
