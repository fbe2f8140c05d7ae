"""A caller is cancelled at every single step of a checkout and a return, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from brokerpool import DatabasePool
from tests.rehearsal import no_task_dies, until

ONE = text("SELECT 1")

Scenario = Callable[[DatabasePool], Coroutine[Any, Any, object]]


class Cancelled:
    """A call that is cancelled in its n-th wait: while it lasts, or `late`, in the turn in which it is over.

    By the call's own waits and not by turns of the loop, of which a slow server gives thousands.
    """

    def __init__(self, call: Coroutine[Any, Any, object], wait: int, late: bool) -> None:
        self._call = call
        self._wait = wait
        self._late = late
        self.reached = False

    async def made(self) -> None:
        await self

    def __await__(self) -> Generator[Any, Any, object]:
        task = asyncio.current_task()
        assert task is not None
        go_on, word = self._call.send, None
        for wait in itertools.count():
            try:
                future = go_on(word)
            except StopIteration as end:
                return end.value
            if wait == self._wait:
                self.reached = True
                if self._late and future is not None:
                    future.add_done_callback(lambda _: task.cancel())
                else:
                    asyncio.get_running_loop().call_soon(task.cancel)
            try:
                go_on, word = self._call.send, (yield future)
            except BaseException as error:
                go_on, word = self._call.throw, error
        raise AssertionError


async def dialled(pool: DatabasePool) -> None:
    async with pool.connection() as connection:
        await connection.execute(ONE)


async def reused(pool: DatabasePool) -> None:
    async with pool.connection() as connection:
        await connection.execute(ONE)


async def written(pool: DatabasePool) -> None:
    async with pool.begin() as connection:
        await connection.execute(ONE)


async def behind_another(pool: DatabasePool) -> None:
    others = [asyncio.create_task(written(pool)) for _ in range(3)]
    await asyncio.sleep(0)
    await written(pool)
    await asyncio.wait(others)


async def before_others(pool: DatabasePool) -> None:
    others = [asyncio.create_task(written(pool)) for _ in range(3)]
    await written(pool)
    await asyncio.wait(others)


async def resized(pool: DatabasePool) -> None:
    async with pool.connection() as connection:
        await pool.resize(2, 1)
        await connection.execute(ONE)


@pytest.mark.parametrize(
    "scenario",
    [dialled, reused, written, behind_another, before_others, resized],
    ids=lambda scenario: scenario.__name__,
)
def test_a_caller_cancelled_at_any_step_leaves_nothing_behind(
    database_url: str, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scenario is before_others:  # SQLite's statements are interrupted at once, also those at their end
        monkeypatch.setattr("brokerpool.db.sqlite._INTERRUPT_SECONDS", 0)

    async def cancelled_at(wait: int, late: bool, pool: DatabasePool) -> bool:
        """Cancel a caller in one of its waits, or as it would go on, and tell whether it waited so often."""
        call = Cancelled(scenario(pool), wait, late)
        task = asyncio.create_task(call.made())
        await asyncio.wait([task], timeout=5)
        assert task.done()
        if not task.cancelled():
            task.result()
        await until(lambda: not pool._checkout._chores and not pool.stats()["checked_out"], 3)
        stats = pool.stats()
        assert (stats["checked_out"], stats["waiting"]) == (0, 0)
        assert stats["open"] == stats["checked_in"] <= stats["pool_size"]
        assert not pool._checkout._lent
        return call.reached

    async def main() -> None:
        async with no_task_dies():
            tasks = len(asyncio.all_tasks())
            pool = DatabasePool(database_url, pool_size=2, max_overflow=1)
            if scenario is not dialled:
                await pool.open()
            for wait, late in ((n // 2, bool(n % 2)) for n in range(1000)):
                if scenario is dialled:
                    await pool.resize(2, 1)  # so the next caller has to dial
                if not await cancelled_at(wait, late, pool):
                    break
            assert wait > 0
            # All three can be had, and each works: neither a permit nor a place in SQLAlchemy's pool is lost.
            async with (
                asyncio.timeout(5),
                pool.connection() as a,
                pool.connection() as b,
                pool.connection() as c,
            ):
                for connection in (a, b, c):
                    assert (await connection.execute(ONE)).scalar() == 1
                assert pool.stats()["open"] == 3
            await pool.drain()
            assert pool.stats()["open"] == 0
            await until(lambda: len(asyncio.all_tasks()) == tasks)

    asyncio.run(main())


def _nothing_is_left(pool: DatabasePool) -> bool:
    return not pool.stats()["checked_out"] and not pool.stats()["open"]


def test_a_drain_cancelled_at_any_step_can_be_finished(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerpool.db.checkout._CUT_SECONDS", 0.02)

    async def main() -> None:
        async with no_task_dies():
            for step in itertools.count():
                pool = DatabasePool(database_url, pool_size=2, max_overflow=0)
                await pool.open()
                async with pool.connection():
                    task = asyncio.create_task(pool.drain(0.001))
                    for _ in range(step):
                        if task.done():
                            break
                        await asyncio.sleep(0)
                    in_time = task.cancel()
                    await asyncio.wait([task], timeout=5)
                    await pool.drain(0)
                    # What a drain has cut off it closes behind itself where 20 ms are too short for that.
                    await until(partial(_nothing_is_left, pool))
                if not in_time or step > 12:
                    break

    asyncio.run(main())
