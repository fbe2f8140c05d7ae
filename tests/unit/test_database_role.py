"""A connection whose server or file has changed its role is given up, and the pool is right by itself."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from brokerpool import DatabasePool, DatabaseUnavailableError, ErrorCode
from brokerpool.db import server_role
from brokerpool.db.error_classification import meaning
from brokerpool.event_journal import Journal
from brokerpool.store.gateway_store import Store
from tests.database import PASSWORD, PostgresServer
from tests.rehearsal import until

CREATE = text("CREATE TABLE t (x integer)")
INSERT = text("INSERT INTO t VALUES (1)")
COUNT = text("SELECT count(*) FROM t")


@pytest.fixture(autouse=True)
def _old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections count as old from the beginning, but where a test says otherwise."""
    monkeypatch.setattr(server_role, "_YOUNG_SECONDS", 0.0)


@contextmanager
def read_only(postgres: PostgresServer, url: str) -> Iterator[None]:
    """Let sessions that begin in the block find a server that takes no writes."""
    name = url.rpartition("/")[2]
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    try:
        yield
    finally:
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")


async def write(pool: DatabasePool) -> str:
    """Write a row; return "ok", or the code for the error."""
    try:
        async with pool.begin() as connection:
            await connection.execute(INSERT)
    except DBAPIError as error:
        return meaning(error).name
    return "ok"


async def count(pool: DatabasePool) -> int:
    async with pool.connection() as connection:
        return int((await connection.execute(COUNT)).scalar_one())


def _take_away(file: Path, other: Path | None) -> None:
    for end in ("-wal", "-shm"):
        Path(f"{file}{end}").unlink(missing_ok=True)
    file.unlink() if other is None else other.replace(file)


async def prepare(url: str) -> None:
    async with DatabasePool(url) as pool, pool.begin() as connection:
        await connection.execute(CREATE)


def test_after_a_failover_one_write_is_refused_and_the_next_ones_reach_the_writable_server(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    url = postgres.fresh_database()

    async def main() -> None:
        await prepare(url)
        with read_only(postgres, url):
            pool = DatabasePool(url, name="trades", pool_size=3, max_overflow=0)
            await pool.open()
            assert pool.stats()["read_only"]
        assert [await write(pool) for _ in range(6)] == ["DB_READ_ONLY", *["ok"] * 5]
        stats = pool.stats()
        assert (stats["read_only"], stats["evictions"], await count(pool)) == (False, 1, 5)
        assert stats["checked_out"] == 0
        await pool.close()

    with caplog.at_level(logging.INFO, logger="brokerpool.db"):
        asyncio.run(main())
    told = [record.getMessage() for record in caplog.records if record.name == "brokerpool.db"]
    assert told == [
        "trades: DB_READ_ONLY; its open connections are replaced by new ones",
        "trades: a new connection leads to a server that takes writes",
    ]


def test_a_server_that_stays_read_only_is_dialled_once_a_second_at_most_and_told_of_once(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.fresh_database()
    monkeypatch.setattr(server_role, "_YOUNG_SECONDS", 3600.0)

    async def main() -> None:
        await prepare(url)
        with read_only(postgres, url):
            async with DatabasePool(url, pool_size=1) as pool:
                assert {await write(pool) for _ in range(20)} == {"DB_READ_ONLY"}
                assert await count(pool) == 0, "reading goes on"
                stats = pool.stats()
                assert (stats["read_only"], stats["connects"], stats["evictions"]) == (True, 1, 0)
                monkeypatch.setattr(server_role, "_YOUNG_SECONDS", 0.0)
                assert {await write(pool) for _ in range(3)} == {"DB_READ_ONLY"}
                assert pool.stats()["evictions"] == 3

    asyncio.run(main())
    assert sum(record.name == "brokerpool.db" for record in caplog.records) == 1


def test_a_callers_own_read_only_transaction_costs_no_connection(postgres: PostgresServer) -> None:
    async def main() -> None:
        async with DatabasePool(postgres.fresh_database(), pool_size=1) as pool:
            async with pool.begin() as connection:
                await connection.execute(CREATE)
            for how in ("by text", "by option"):
                async with pool.connection() as connection:
                    if how == "by text":
                        await connection.execute(text("SET TRANSACTION READ ONLY"))
                    else:
                        await connection.execution_options(postgresql_readonly=True)
                    with pytest.raises(DBAPIError) as caught:
                        await connection.execute(INSERT)
                assert meaning(caught.value) is ErrorCode.DB_READ_ONLY
                assert not caught.value.connection_invalidated
            assert await write(pool) == "ok"
            stats = pool.stats()
            assert (stats["connects"], stats["evictions"], stats["read_only"]) == (1, 0, False)

    asyncio.run(main())


def test_of_several_hosts_the_one_that_takes_writes_is_used(postgres: PostgresServer) -> None:
    url = postgres.fresh_database()
    name = url.rpartition("/")[2]
    hosts = f"127.0.0.1:1,127.0.0.1:{postgres.port}"
    several = f"postgresql://trader:{PASSWORD}@{hosts}/{name}?target_session_attrs=read-write"

    async def main() -> None:
        await prepare(several)
        with read_only(postgres, url):
            async with DatabasePool(url) as reader:
                assert await count(reader) == 0
            pool = DatabasePool(several, connect_timeout=2)
            with pytest.raises(DatabaseUnavailableError) as caught:
                await pool.open()
            assert hosts in str(caught.value)
            assert PASSWORD not in f"{caught.value}{pool!r}"
        assert await write(pool) == "ok"
        await pool.close()

    asyncio.run(main())


def test_a_host_that_swallows_everything_leaves_time_for_the_next_one(postgres: PostgresServer) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as hole:  # the kernel answers, and nobody reads
            url = postgres.fresh_database().replace("@", f"@127.0.0.1:{hole.getsockname()[1]},")
            async with DatabasePool(url, pool_size=1, connect_timeout=1) as pool, pool.connection() as there:
                assert await there.scalar(text("SELECT 1")) == 1

    asyncio.run(main())


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_sqlite_file_that_is_replaced_is_opened_anew_and_nothing_is_written_to_the_old_one(
    tmp_path: Path, how: str
) -> None:
    file, other = tmp_path / "a.db", tmp_path / "b.db"

    async def main() -> None:
        await prepare(f"sqlite:///{file}")
        await prepare(f"sqlite:///{other}")
        async with DatabasePool(f"sqlite:///{file}", pool_size=3) as pool:
            assert await write(pool) == "ok"
            _take_away(file, other if how == "replaced" else None)
            assert await write(pool) == "DB_MOVED"
            assert await write(pool) == ("ok" if how == "replaced" else "DB_SCHEMA_MISSING")
            if how == "replaced":
                assert await count(pool) == 1
            assert pool.stats()["evictions"] == 1
            await until(lambda: pool.stats()["checked_out"] == 0)

    asyncio.run(main())


def test_a_sqlite_connection_that_cannot_write_is_opened_anew(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'a.db'}"

    async def main() -> None:
        await prepare(url)
        async with DatabasePool(url, pool_size=1) as pool:
            async with pool.connection() as connection:  # as one that was opened while the file was read-only
                await connection.execute(text("PRAGMA query_only = ON"))
            assert [await write(pool) for _ in range(3)] == ["DB_READ_ONLY", "ok", "ok"]
            assert pool.stats()["evictions"] == 1

    asyncio.run(main())


def test_a_database_without_the_tables_is_an_outage_and_no_fault_of_what_was_to_be_written(
    database_url: str,
) -> None:
    async def main() -> None:
        async with DatabasePool(database_url, pool_size=1) as pool:
            assert await write(pool) == "DB_SCHEMA_MISSING"

    asyncio.run(main())


def test_a_store_on_a_read_only_server_says_so_keeps_what_waits_and_writes_it_after_the_failover(
    postgres: PostgresServer,
) -> None:
    url = postgres.fresh_database()

    async def main() -> None:
        async with Store(DatabasePool(url)):
            pass  # the schema is up to date
        journal = Journal()
        with read_only(postgres, url):
            store = Store(DatabasePool(url, pool_size=2))
            await store.open()
            store.follow(journal)
            store.note_call("GET /quote", status=200, seconds=0.1, attempts=1)
            await until(lambda: store.fault == "DB_READ_ONLY" and journal.counts()["database away"] == 1)
            assert (store.stats()["away"], store.stats()["read_only"]) == (True, True)
        await until(lambda: not store.fault and journal.counts()["database back"] == 1)
        assert not store.stats()["away"]
        await until(lambda: store.stats()["writer"]["queued"] == 0)
        assert len(await store.history("http_calls")) == 1
        assert {row["event"] for row in await store.history("journal")} >= {"database away"}
        assert store.stats()["writer"]["dropped"] == {}
        await store.close()

    asyncio.run(main())
