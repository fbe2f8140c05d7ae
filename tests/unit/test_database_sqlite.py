"""What SQLite needs to be shared: one writer at a time, readers beside it, and no lock errors."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from sqlalchemy import text

from brokerpool import DatabasePool, DatabaseUnavailableError, ErrorCode
from brokerpool.db.sqlite import _Tuned
from tests.rehearsal import no_task_dies, until

COUNT = text("SELECT count(*) FROM trades")
INSERT = text("INSERT INTO trades (n) VALUES (:n)")
ENDLESS = text("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c")


async def with_table(pool: DatabasePool) -> None:
    async with pool.begin() as connection:
        await connection.execute(text("CREATE TABLE trades (n integer)"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'test.db'}"


def test_fifty_writers_meet_no_lock_and_write_in_the_order_in_which_they_came(url: str) -> None:
    async def main() -> None:
        async with no_task_dies(), DatabasePool(url) as pool:
            await with_table(pool)

            async def writer(number: int) -> None:
                async with pool.begin() as connection:
                    before = (await connection.execute(COUNT)).scalar_one()
                    await asyncio.sleep(0)
                    await connection.execute(INSERT, {"n": number})
                    assert (await connection.execute(COUNT)).scalar_one() == before + 1

            await asyncio.gather(*(writer(number) for number in range(50)))
            async with pool.connection() as connection:
                rows = (await connection.execute(text("SELECT n FROM trades ORDER BY rowid"))).scalars().all()
            assert list(rows) == list(range(50))

    asyncio.run(main())


def test_a_new_file_and_those_beside_it_are_readable_by_their_owner_only(url: str, tmp_path: Path) -> None:
    def files() -> list[Path]:
        return [*tmp_path.iterdir()]

    async def main() -> None:
        async with DatabasePool(url) as pool:
            await with_table(pool)
            rights = {path.name: path.stat().st_mode & 0o777 for path in files()}
            assert len(rights) > 1, "SQLite has its log of writes beside it"
            assert set(rights.values()) == {0o600}, rights

    asyncio.run(main())


def test_a_file_that_is_no_database_is_not_kept_open(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear reader, " * 1000)
    # The error's traceback keeps the connection alive, so only closing it closes the file.
    with pytest.raises(sqlite3.DatabaseError) as told:
        sqlite3.connect(path, factory=_Tuned)
    assert str(path) not in {file.path for file in psutil.Process().open_files()}
    assert told.value.__traceback__ is not None


def test_readers_are_served_while_writers_wait_for_a_writer(url: str) -> None:
    async def main() -> None:
        async with no_task_dies(), DatabasePool(url, pool_size=2, max_overflow=0) as pool:
            await with_table(pool)
            go_on = asyncio.Event()

            async def writer() -> None:
                async with pool.begin() as connection:
                    await connection.execute(INSERT, {"n": 1})
                    await go_on.wait()

            writers = [asyncio.create_task(writer()) for _ in range(10)]
            await until(lambda: pool.stats()["waiting"] == 9)
            for _ in range(3):
                async with asyncio.timeout(1), pool.connection() as connection:
                    assert (await connection.execute(COUNT)).scalar_one() == 0, (
                        "what is not committed is unseen"
                    )
            assert [holder["writer"] for holder in pool.stats()["holders"]] == [True]
            go_on.set()
            await asyncio.gather(*writers)
            async with pool.connection() as connection:
                assert (await connection.execute(COUNT)).scalar_one() == 10

    asyncio.run(main())


def test_each_connection_is_tuned_for_sharing_from_the_first_on_a_new_file(url: str) -> None:
    async def main() -> None:
        for round_ in range(5):  # fifteen dials at once turn a new file into a WAL database
            async with no_task_dies():
                pool = DatabasePool(url + str(round_))

                async def settings(pool: DatabasePool = pool) -> list[Any]:
                    async with pool.connection() as connection:
                        names = ("journal_mode", "busy_timeout", "synchronous", "foreign_keys")
                        return [(await connection.exec_driver_sql(f"PRAGMA {n}")).scalar() for n in names]

                for found in await asyncio.gather(*(settings() for _ in range(15))):
                    assert found == ["wal", 5000, 1, 1]
                await pool.drain()

    asyncio.run(main())


def test_a_cancelled_caller_does_not_wait_for_its_statement(url: str) -> None:
    async def main() -> None:
        for address in (url, "sqlite://"):
            async with no_task_dies(), DatabasePool(address) as pool:
                await with_table(pool)
                before = time.perf_counter()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1), pool.connection() as connection:
                        await connection.execute(ENDLESS)
                assert time.perf_counter() - before < 10, "it would never end"
                await until(lambda pool=pool: not pool.stats()["checked_out"])  # type: ignore[misc]  # mypy: a default is no type
                async with pool.connection() as connection:
                    assert (await connection.execute(COUNT)).scalar_one() == 0, "the data is still there"

    asyncio.run(main())


def test_a_writer_waits_for_another_program_and_is_told_when_that_takes_too_long(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerpool.db.sqlite._BUSY_SECONDS", 0.5)

    async def main() -> None:
        async with no_task_dies(), DatabasePool(url) as pool:
            await with_table(pool)
            other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
            other.execute("BEGIN IMMEDIATE")
            asyncio.get_running_loop().call_later(0.1, other.execute, "COMMIT")
            async with pool.begin() as connection:
                await connection.execute(INSERT, {"n": 1})
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(DatabaseUnavailableError, match="another program is writing") as error:
                await pool.begin().__aenter__()
            assert error.value.code is ErrorCode.DB_WAIT_TOO_LONG
            other.close()
            async with pool.begin() as connection:
                assert (await connection.execute(COUNT)).scalar_one() == 1
            assert pool.stats()["checked_out"] == 0

    asyncio.run(main())


def test_a_database_in_memory_is_shared_by_all_callers_and_by_no_other_pool() -> None:
    async def main() -> None:
        async with no_task_dies(), DatabasePool("sqlite://") as pool, DatabasePool("sqlite://") as other:
            await with_table(pool)
            await with_table(other)

            async def writer(number: int) -> None:
                async with pool.begin() as connection:
                    await connection.execute(INSERT, {"n": number})

            await asyncio.gather(*(writer(number) for number in range(30)))
            for each, expected in ((pool, 30), (other, 0)):
                async with each.connection() as connection:
                    assert (await connection.execute(COUNT)).scalar_one() == expected
            with pytest.raises(ValueError, match="in memory"):
                await pool.resize(5, 5)

    asyncio.run(main())


def test_a_file_that_cannot_be_opened_leaves_no_thread_behind(tmp_path: Path) -> None:
    async def main() -> None:
        pool = DatabasePool(f"sqlite:///{tmp_path}/no/such/folder/test.db")
        with pytest.raises(DatabaseUnavailableError):
            await pool.open()
        assert not [t for t in threading.enumerate() if "_connection_worker_thread" in t.name]
        await pool.close()

    for _ in range(20):
        asyncio.run(main())
