"""Promises of the database pool, the same over SQLite and over a real PostgreSQL."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import text

from brokerpool import DatabasePool, DatabaseUnavailableError, ErrorCode, PoolClosedError
from tests.database import PASSWORD, PostgresServer
from tests.measuring import without_waiting
from tests.rehearsal import no_task_dies, until

ONE = text("SELECT 1")
COUNT = text("SELECT count(*) FROM trades")
INSERT = text("INSERT INTO trades (n) VALUES (:n)")


async def with_table(pool: DatabasePool) -> None:
    async with pool.begin() as connection:
        await connection.execute(text("CREATE TABLE trades (n integer)"))


async def count(pool: DatabasePool) -> int:
    async with pool.connection() as connection:
        return int((await connection.execute(COUNT)).scalar_one())


def quiet(pool: DatabasePool) -> dict[str, Any]:
    """Return the statistics, and check that nobody has or waits for anything."""
    stats = pool.stats()
    assert (stats["checked_out"], stats["waiting"], stats["holders"]) == (0, 0, [])
    assert stats["open"] == stats["checked_in"] == stats["connects"] - stats["closes"]
    assert stats["open"] <= stats["pool_size"]
    return stats


def test_what_was_not_committed_is_rolled_back_and_a_transaction_commits_at_its_end(
    database_url: str,
) -> None:
    async def main() -> None:
        async with no_task_dies(), DatabasePool(database_url) as pool:
            await with_table(pool)
            async with pool.begin() as connection:
                await connection.execute(INSERT, {"n": 1})
            async with pool.connection() as connection:
                await connection.execute(INSERT, {"n": 2})
            async with pool.connection() as connection:
                await connection.execute(INSERT, {"n": 3})
                await connection.commit()
            with suppress(ZeroDivisionError):
                async with pool.begin() as connection:
                    await connection.execute(INSERT, {"n": 4})
                    raise ZeroDivisionError
            async with pool.connection() as connection:
                rows = (await connection.execute(text("SELECT n FROM trades ORDER BY n"))).scalars().all()
            assert list(rows) == [1, 3]
            quiet(pool)
        assert pool.stats()["open"] == 0

    asyncio.run(main())


def test_opening_connects_what_is_kept_and_later_callers_dial_no_more(database_url: str) -> None:
    async def main() -> None:
        async with DatabasePool(database_url, pool_size=3) as pool:
            assert (pool.stats()["open"], pool.stats()["checked_in"]) == (3, 3)
            async with pool.connection(), pool.connection(), pool.connection():
                assert pool.stats()["connects"] == 3
                async with pool.connection():
                    stats = pool.stats()
                    assert (stats["checked_out"], stats["overflow"], stats["open"]) == (4, 1, 4)
            assert quiet(pool)["open"] == 3

    asyncio.run(main())


def test_two_hundred_tasks_on_fifteen_connections_are_served_in_the_order_in_which_they_came(
    database_url: str,
) -> None:
    async def main() -> None:
        served: list[int] = []
        most = 0

        async def caller(pool: DatabasePool, number: int) -> None:
            nonlocal most
            async with pool.connection() as connection:
                served.append(number)
                most = max(most, pool.stats()["checked_out"])
                assert (await connection.execute(ONE)).scalar() == 1

        # Without a pre-ping, and with all connections open: nothing but the queue decides who comes first.
        options = {"pool_size": 15, "max_overflow": 0, "max_waiting": 185, "pool_pre_ping": False}
        async with no_task_dies(), DatabasePool(database_url, **options) as pool:  # type: ignore[arg-type]
            granted: list[int] = []
            release = pool._checkout.queue.grant

            def noting(now: float) -> Any:
                tickets = release(now)
                granted.extend(ticket.number for ticket in tickets)
                return tickets

            pool._checkout.queue.grant = noting  # type: ignore[method-assign]
            first = pool._checkout.queue._numbered
            await asyncio.gather(*(caller(pool, number) for number in range(200)))
            assert [number - first - 1 for number in granted] == list(range(200))
            assert sorted(served) == list(range(200))
            assert most == 15
            stats = quiet(pool)
            assert (stats["checkouts"], stats["waits"], stats["connects"]) == (215, 185, 15)
            assert stats["wait_seconds"]["count"] == stats["hold_seconds"]["count"] == 215
            assert not stats["refused"]

    asyncio.run(main())


def test_more_callers_than_may_wait_are_refused_at_once_and_the_others_served(database_url: str) -> None:
    async def main() -> None:
        options = {"pool_size": 1, "max_overflow": 1, "max_waiting": 3}
        async with DatabasePool(database_url, **options) as pool:  # type: ignore[arg-type]
            go_on = asyncio.Event()

            async def caller() -> None:
                async with pool.connection():
                    await go_on.wait()

            callers = [asyncio.create_task(caller(), name=f"caller-{i}") for i in range(5)]
            await until(lambda: (pool.stats()["checked_out"], pool.stats()["waiting"]) == (2, 3))
            for _ in range(3):
                with pytest.raises(DatabaseUnavailableError) as refused:
                    without_waiting(pool.connection().__aenter__())
                assert refused.value.code is ErrorCode.DB_QUEUE_FULL
            assert "2 of 2 connections are checked out" in str(refused.value)
            assert "3 callers wait (oldest " in str(refused.value)
            go_on.set()
            await asyncio.gather(*callers)
            assert quiet(pool)["refused"] == {"DB_QUEUE_FULL": 3}

    asyncio.run(main())


def test_a_caller_who_waited_in_vain_is_told_who_has_the_connections(database_url: str) -> None:
    async def main() -> None:
        async with DatabasePool(database_url, pool_size=1, max_overflow=0, pool_timeout=1.0) as pool:

            async def caller() -> None:
                async with pool.connection():
                    pass

            async with pool.connection():
                before = time.perf_counter()
                with pytest.raises(DatabaseUnavailableError) as error:
                    await asyncio.create_task(caller(), name="in vain")
                assert 1.0 <= time.perf_counter() - before < 10
            said = str(error.value)
            assert error.value.code is ErrorCode.DB_WAIT_TOO_LONG
            assert f"{__file__}:" in said
            assert re.search(r"by in vain waited \d\.\d", said)
            assert "1 of 1 connections are checked out (longest: " in said
            assert re.search(rf"by {asyncio.current_task().get_name()} \d\.\d s", said)  # type: ignore[union-attr]
            assert quiet(pool)["timeouts"] == 1

    asyncio.run(main())


def test_a_larger_pool_serves_who_waits_at_once_and_a_smaller_one_shrinks_by_the_returns(
    database_url: str,
) -> None:
    async def main() -> None:
        async with no_task_dies(), DatabasePool(database_url, pool_size=1, max_overflow=0) as pool:
            go_on = asyncio.Event()

            async def caller() -> None:
                async with pool.connection() as connection:
                    await connection.execute(ONE)
                    await go_on.wait()

            callers = [asyncio.create_task(caller()) for _ in range(4)]
            await until(lambda: pool.stats()["waiting"] == 3)
            await pool.resize(2, 1)
            await until(lambda: (pool.stats()["checked_out"], pool.stats()["open"]) == (3, 3))
            await pool.resize(1, 0)
            assert (pool.stats()["checked_out"], pool.stats()["waiting"]) == (3, 1)
            go_on.set()
            await asyncio.gather(*callers)
            await until(lambda: not pool._checkout._chores)
            assert quiet(pool)["open"] == 1
            with pytest.raises(ValueError, match="at least one"):
                await pool.resize(0, 5)

    asyncio.run(main())


def test_draining_serves_who_has_a_connection_and_refuses_everybody_else(database_url: str) -> None:
    async def main() -> None:
        async with no_task_dies():
            pool = DatabasePool(database_url, pool_size=1, max_overflow=0)
            await with_table(pool)
            has, go_on = asyncio.Event(), asyncio.Event()

            async def holder() -> None:
                async with pool.begin() as connection:
                    await connection.execute(INSERT, {"n": 1})
                    has.set()
                    await go_on.wait()

            async def waiting() -> None:
                async with pool.connection():
                    pass

            held, waits = asyncio.create_task(holder()), asyncio.create_task(waiting())
            await has.wait()
            draining = asyncio.create_task(pool.drain(5))
            with pytest.raises(PoolClosedError):
                await waits
            with pytest.raises(PoolClosedError):
                await waiting()
            go_on.set()
            await held
            await draining
            assert pool.stats()["open"] == 0
            await pool.drain(5)
            async with DatabasePool(database_url) as other:
                assert await count(other) == 1

    asyncio.run(main())


def test_a_drain_cuts_off_who_does_not_return_in_time(database_url: str) -> None:
    slow = {
        "sqlite": "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c",
        "postgresql": "SELECT pg_sleep(60)",
    }

    async def main() -> None:
        async with no_task_dies():
            pool = DatabasePool(database_url, pool_size=2, max_overflow=0)
            await pool.open()

            async def busy() -> None:
                async with pool.connection() as connection:
                    await connection.execute(text(slow[pool.dialect]))

            async def idle() -> None:
                async with pool.connection() as connection:
                    await connection.execute(ONE)
                    await asyncio.Event().wait()

            tasks = [asyncio.create_task(busy()), asyncio.create_task(idle())]
            await until(lambda: pool.stats()["checked_out"] == 2)
            await asyncio.sleep(0)
            before = time.perf_counter()
            await pool.drain(0.1)
            assert time.perf_counter() - before < 10, "not as long as the statement"
            assert (pool.stats()["checked_out"], pool.stats()["open"]) == (0, 0)
            tasks[1].cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(end, BaseException) for end in ends)

    asyncio.run(main())


def test_new_credentials_are_for_new_connections_and_old_ones_end_when_they_are_returned(
    postgres: PostgresServer,
) -> None:
    postgres.execute("CREATE ROLE rotated LOGIN PASSWORD 'first'")

    async def main() -> None:
        async with no_task_dies(), DatabasePool(postgres.url_of("rotated", "first"), pool_size=2) as pool:
            async with pool.connection() as old:
                postgres.execute("ALTER ROLE rotated PASSWORD 'second'")
                pool.renew(postgres.url_of("rotated", "second"))
                async with pool.connection() as fresh:
                    assert (await fresh.execute(ONE)).scalar() == 1
                assert (await old.execute(ONE)).scalar() == 1
                assert postgres.sessions("rotated") == 2
            await until(lambda: postgres.sessions("rotated") == 1)
            assert quiet(pool)["connects"] == 3
            with pytest.raises(ValueError, match="kind of database"):
                pool.renew("sqlite:///other.db")
        await until(lambda: postgres.sessions("rotated") == 0)

    asyncio.run(main())


def test_a_cancelled_callers_statement_is_called_off_on_the_server(postgres: PostgresServer) -> None:
    running = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(61)' AND state = 'active'"

    async def main() -> None:
        async with no_task_dies(), DatabasePool(postgres.url) as pool:

            async def sleeper() -> None:
                async with pool.connection() as connection:
                    await connection.execute(text("SELECT pg_sleep(61)"))

            task = asyncio.create_task(sleeper())
            await until(lambda: postgres.execute(running) == [(1,)])
            before = time.perf_counter()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
            assert time.perf_counter() - before < 10, "not as long as the statement"
            quiet(pool)
            await until(lambda: postgres.execute(running) == [(0,)])

    asyncio.run(main())


def test_the_password_is_in_no_error_log_statistic_or_repr(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    wrong = "another-secret"
    texts: list[object] = []

    async def main() -> None:
        async with DatabasePool(postgres.url, long_hold=0.01) as pool, pool.connection() as connection:
            await until(lambda: pool.stats()["long_holds"])
            texts.extend([repr(pool), pool.stats(), repr(pool._checkout.engine.sqlalchemy), repr(connection)])
        with pytest.raises(PoolClosedError) as closed:
            await pool.connection().__aenter__()
        texts.append(closed.value)
        dead = f"postgresql://trader:{wrong}@127.0.0.1:1/x"
        for url in (postgres.url_of("trader", wrong), dead, dead + f"?options=-c%20a.b={wrong}"):
            pool = DatabasePool(url)
            with pytest.raises(DatabaseUnavailableError) as refused:
                await pool.open()
            assert refused.value.code is ErrorCode.DB_UNREACHABLE
            texts.extend([refused.value, repr(pool), refused.value.__cause__, pool.stats()])
            await pool.close()
        for url in (f"nonsense {wrong}", f"mysql://u:{wrong}@h/d"):
            with pytest.raises(ValueError, match="database") as malformed:
                DatabasePool(url)
            texts.extend([malformed.value, malformed.value.__cause__])

    asyncio.run(main())
    said = "\n".join([*map(str, texts), caplog.text])
    assert PASSWORD not in said
    assert wrong not in said
    assert "postgresql://127.0.0.1:" in said


def test_the_urls_that_users_write_are_understood() -> None:
    for url in ("sqlite://", "sqlite:///x.db", "sqlite+aiosqlite:///x.db", "sqlite+pysqlite:///x.db"):
        assert DatabasePool(url).dialect == "sqlite"
    for scheme in (
        "postgres",
        "postgresql",
        "postgresql+psycopg",
        "postgresql+psycopg2",
        "postgresql+asyncpg",
    ):
        pool = DatabasePool(f"{scheme}://user:pw@host/db")
        assert pool.dialect == "postgresql"
        assert "postgresql://host:5432/db" in repr(pool)
