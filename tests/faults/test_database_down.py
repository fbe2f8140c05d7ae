"""The database is stopped, started and frozen: each caller returns in time and knows why."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest
from sqlalchemy import text

from brokerpool import DatabasePool, DatabaseUnavailableError, ErrorCode
from tests.database import PostgresServer
from tests.rehearsal import no_task_dies, until

pytestmark = pytest.mark.alone


ONE = text("SELECT 1")
POOL_TIMEOUT = 1.5


async def call(pool: DatabasePool) -> tuple[float, str]:
    """Use the pool once; return the seconds it took and how it ended."""
    before = time.perf_counter()
    try:
        async with pool.connection() as connection:
            await connection.execute(ONE)
    except DatabaseUnavailableError as error:
        end = error.code.name if "of 6 connections are checked out" in str(error) else str(error)
        return time.perf_counter() - before, end
    return time.perf_counter() - before, "served"


def test_a_server_that_was_stopped_is_used_again_within_five_seconds_of_its_start(
    postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        options = {"pool_size": 4, "max_overflow": 2}
        async with no_task_dies(), DatabasePool(postgres.url, **options) as pool:  # type: ignore[arg-type]
            assert (await call(pool))[1] == "served"
            try:
                await asyncio.to_thread(postgres.stop)
                ends = await asyncio.gather(*(call(pool) for _ in range(20)))
                assert {end for _, end in ends} == {"DB_UNREACHABLE"}
                assert max(seconds for seconds, _ in ends) < 1
            finally:
                await asyncio.to_thread(postgres.start)
            started = time.perf_counter()
            while (await call(pool))[1] != "served":
                assert time.perf_counter() - started < 5
            recovered = time.perf_counter() - started
            stats = pool.stats()
            assert (stats["checked_out"], stats["open"]) == (0, stats["checked_in"])
            assert stats["ping_failures"] >= 1
            with capsys.disabled():
                print(f"\ndatabase stopped: {len(ends)} callers told within {max(ends)[0]:.3f} s;", end=" ")
                print(f"served again {recovered:.3f} s after the start")

    asyncio.run(main())


def test_callers_of_a_frozen_server_return_in_time_with_the_state_and_are_served_after_it(
    postgres: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        pool = DatabasePool(
            postgres.url,
            pool_size=4,
            max_overflow=2,
            pool_timeout=POOL_TIMEOUT,
            connect_timeout=1.0,
            max_waiting=20,
        )
        async with no_task_dies(), pool:
            ready, go_on = asyncio.Event(), asyncio.Event()

            async def in_the_middle() -> None:
                async with pool.connection() as connection:
                    await connection.execute(ONE)
                    ready.set()
                    await go_on.wait()
                    async with asyncio.timeout(0.2):
                        await connection.execute(ONE)

            holder = asyncio.create_task(in_the_middle())
            await until(ready.is_set)
            assert pool.stats()["checked_out"] == 1
            postgres.freeze()
            try:
                before = time.perf_counter()
                go_on.set()
                callers = [asyncio.create_task(call(pool)) for _ in range(25)]
                await until(lambda: pool.stats()["waiting"] == 20)
                refused = min([await call(pool) for _ in range(5)])
                assert refused[1] == ErrorCode.DB_QUEUE_FULL.name
                assert refused[0] < 0.005
                ends = await asyncio.gather(*callers)
                assert {end for _, end in ends} <= {"DB_UNREACHABLE", "DB_WAIT_TOO_LONG"}
                assert max(seconds for seconds, _ in ends) < POOL_TIMEOUT + 0.3
                with pytest.raises(TimeoutError):
                    await holder
                cancelled = time.perf_counter() - before
                assert cancelled < 3, "psycopg itself waits ten seconds for a frozen server"
            finally:
                postgres.thaw()
            thawed = time.perf_counter()
            while (await call(pool))[1] != "served":
                assert time.perf_counter() - thawed < 5
            recovered = time.perf_counter() - thawed
            stats = pool.stats()
            assert (stats["checked_out"], stats["waiting"], stats["open"]) == (0, 0, stats["checked_in"])
            with capsys.disabled():
                print(f"\ndatabase frozen, pool_timeout {POOL_TIMEOUT:g} s:", end=" ")
                print(
                    f"25 callers told within {max(ends)[0]:.3f} s {dict(Counter(e for _, e in ends))};",
                    end=" ",
                )
                print(f"queue full in {refused[0] * 1000:.2f} ms; served {recovered:.3f} s after it thawed")

    asyncio.run(main())
