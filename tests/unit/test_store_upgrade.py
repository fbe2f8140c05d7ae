"""Promises of the upgrade: from every revision with its data, by one process at a time, all or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event, text
from sqlalchemy.engine import Engine

from brokerpool.db.pool import DatabasePool
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.instruments import Instrument
from brokerpool.store.gateway_store import Store
from brokerpool.store.schema import metadata
from brokerpool.store.upgrade import VERSION_TABLE, _scripts, revision, upgrade
from brokerpool.store.vault import Vault
from brokerpool.ticks import Mode
from tests import preloaded
from tests.postgres import DIALECTS, database

REVISIONS = [script.revision for script in reversed(list(_scripts().walk_revisions()))]
STATEMENTS = 12  # more than an upgrade has steps

# What somebody has in the database who ran the version with that revision.
DATA = {
    "0001": [
        "INSERT INTO brokerpool_api_keys (id, name, digest, scopes, created_ms)"
        " VALUES (7, 'old', 'd1', 'data', 1)",
        "INSERT INTO brokerpool_broker_credentials VALUES ('zerodha', 3, 'id', 'sealed', 2)",
    ],
    "0002": [
        "INSERT INTO brokerpool_saved_demand VALUES ('zerodha', 'NSE', 'INFY', 2, 0)",
        "INSERT INTO brokerpool_journal VALUES ('run', 1, 5, 'lost', 'zerodha-1', 3, 'why')",
        "INSERT INTO brokerpool_pool_statistics VALUES ('run', 2, 5, '{}')",
        "INSERT INTO brokerpool_http_calls VALUES ('run', 3, 5, 'GET /quote', 200, 1.5, 1)",
    ],
    "0003": [
        "INSERT INTO brokerpool_broker_credentials (account, version, secret_key_id, sealed, created_ms)"
        " VALUES ('zerodha-2', 1, 'id', 'sealed', 2)",
        "INSERT INTO brokerpool_saved_demand (account, exchange, symbol, mode, position)"
        " VALUES ('zerodha-2', 'NSE', 'INFY', 2, 0)",
    ],
}


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


async def filled(pool: DatabasePool, up_to: str) -> None:
    """Upgrade step by step, and put data into the tables of each revision."""
    for step in REVISIONS[: REVISIONS.index(up_to) + 1]:
        await upgrade(pool, step)
        async with pool.begin() as conn:
            for statement in DATA[step]:
                await conn.execute(text(statement))


def contents(url: str) -> dict[str, list[Any]]:
    """Each table with its rows, read past everything of ours."""
    connect: Any = sqlite3.connect if url.startswith("sqlite") else psycopg.connect
    tables = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }[url.partition(":")[0]]
    conn = connect(url.removeprefix("sqlite:///"))
    try:
        names = sorted(row[0] for row in conn.execute(tables).fetchall())
        return {name: conn.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    finally:
        conn.close()


def test_there_is_data_for_every_revision() -> None:
    assert list(DATA) == REVISIONS


@pytest.mark.parametrize("start", REVISIONS)
def test_an_upgrade_from_any_revision_keeps_all_data(url: str, start: str) -> None:
    async def main() -> None:
        pool = DatabasePool(url)
        await filled(pool, start)
        before = contents(url)
        assert await upgrade(pool) == (start, REVISIONS[-1])
        after = contents(url)
        assert all(before[table] == after[table] for table in before if table != "brokerpool_revision")
        assert set(after) == {*metadata.tables, "brokerpool_revision"}
        await pool.drain()

    asyncio.run(main())


def test_a_login_and_a_demand_of_the_first_edition_are_those_of_the_account_called_as_its_broker(
    url: str,
) -> None:
    key = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="

    async def main() -> None:
        pool = DatabasePool(url)
        await upgrade(pool, "0002")
        sealed = Vault(key).seal("login 3 of zerodha", '{"access_token": "of-the-first-edition"}')
        async with pool.begin() as conn:
            await conn.execute(
                text("INSERT INTO brokerpool_broker_credentials VALUES ('zerodha', 3, :key_id, :sealed, 2)"),
                {"key_id": sealed.key_id, "sealed": sealed.text},
            )
            await conn.execute(
                text("INSERT INTO brokerpool_saved_demand VALUES ('zerodha', 'NSE', 'INFY', 2, 0)")
            )
        await pool.drain()
        async with Store(DatabasePool(url), secret_keys=key) as store:
            assert (await store.login("zerodha")).access_token == "of-the-first-edition"
            assert await store.login_accounts() == ["zerodha"]
            assert await store.saved_demand("zerodha") == {Instrument("NSE", "INFY"): Mode.QUOTE}

    asyncio.run(main())


def test_the_migrations_make_the_schema_that_the_code_uses(url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "version_table": VERSION_TABLE}
        )
        return list(compare_metadata(context, metadata))

    async def main() -> None:
        pool = DatabasePool(url)
        await upgrade(pool)
        async with pool.connection() as conn:
            assert await conn.run_sync(differences) == []
        await pool.drain()

    asyncio.run(main())


def test_eight_gateways_that_start_at_once_all_find_the_new_schema(url: str) -> None:
    async def one() -> tuple[str | None, str | None]:
        pool = DatabasePool(url)
        try:
            return await upgrade(pool)
        finally:
            await pool.drain()

    async def main() -> None:
        found = await asyncio.gather(*(one() for _ in range(8)))
        assert {after for _, after in found} == {REVISIONS[-1]}
        assert [before for before, _ in found].count(None) == 1, "one of them did it"

    asyncio.run(main())


def test_two_processes_that_upgrade_at_once_both_succeed(url: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "brokerpool", "db", "upgrade"]
    environ = {**os.environ, "DATABASE_URL": url}
    started = [
        preloaded.Popen(command, env=environ, cwd=tmp_path, stdout=-1, stderr=-1, text=True) for _ in range(2)
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    said = [out.partition(" ")[2] for out, _ in ended]  # behind the name of the database
    # The lock makes the late one wait, and it finds nothing to do.
    assert said.count("went from revision none to 0003.\n") == 1, said
    assert said.count("has revision 0003; nothing was to be done.\n") == 1, said


def test_an_upgrade_that_fails_at_any_statement_leaves_the_old_state_or_the_new_one(url: str) -> None:
    class InterruptedHereError(Exception):
        """The process ended here."""

    executed = {"now": 0, "fatal": 0}

    def interrupt(*_: object) -> None:
        executed["now"] += 1
        if executed["now"] == executed["fatal"]:
            raise InterruptedHereError

    async def main() -> int:
        pool = DatabasePool(url)
        await filled(pool, "0001")
        old = contents(url)
        failures = 0
        for fatal in range(1, 100):
            executed.update(now=0, fatal=fatal)
            event.listen(Engine, "after_cursor_execute", interrupt)
            try:
                await upgrade(pool)
            except InterruptedHereError:
                failures += 1
            else:
                break
            finally:
                event.remove(Engine, "after_cursor_execute", interrupt)
            assert contents(url) == old
        assert await revision(pool) == ("0003", "0003")
        assert contents(url)["brokerpool_api_keys"] == old["brokerpool_api_keys"]
        await pool.drain()
        return failures

    failures = asyncio.run(main())
    print(f"interrupted after each of {failures} statements")
    assert failures >= STATEMENTS


def test_an_upgrade_killed_in_the_middle_leaves_the_old_state(url: str) -> None:
    async def prepare() -> None:
        pool = DatabasePool(url)
        await filled(pool, "0001")
        await pool.drain()

    asyncio.run(prepare())
    old = contents(url)
    program = (
        "import asyncio, os, signal, sys\n"
        "from sqlalchemy import event\n"
        "from sqlalchemy.engine import Engine\n"
        "from brokerpool.db.pool import DatabasePool\n"
        "from brokerpool.store.upgrade import upgrade\n"
        "@event.listens_for(Engine, 'after_cursor_execute')\n"
        "def killed(conn, cursor, statement, *_):\n"
        "    if 'CREATE TABLE brokerpool_pool_statistics' in statement:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(upgrade(DatabasePool(sys.argv[1])))\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, url], timeout=30, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert contents(url) == old

    async def again() -> None:
        pool = DatabasePool(url)
        assert await upgrade(pool) == ("0001", "0003")
        await pool.drain()

    asyncio.run(again())
    assert contents(url)["brokerpool_broker_credentials"] == old["brokerpool_broker_credentials"]


def test_another_programs_tables_in_the_same_database_are_left_alone(url: str) -> None:
    async def main() -> None:
        pool = DatabasePool(url)
        async with pool.begin() as conn:
            await conn.execute(text("CREATE TABLE api_keys (theirs INTEGER)"))
            await conn.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
            await conn.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
        await upgrade(pool)
        assert contents(url)["api_keys"] == []
        assert contents(url)["alembic_version"] == [("theirs",)]
        await pool.drain()

    asyncio.run(main())


def test_a_newer_schema_is_refused_and_nothing_is_touched(url: str) -> None:
    async def main() -> None:
        pool = DatabasePool(url)
        await filled(pool, REVISIONS[-1])
        async with pool.begin() as conn:
            await conn.execute(text("UPDATE brokerpool_revision SET version_num = '9999'"))
            await conn.execute(text("ALTER TABLE brokerpool_api_keys ADD COLUMN from_the_future INTEGER"))
        await pool.drain()
        before = contents(url)
        with pytest.raises(StoreError) as refused:
            await Store(DatabasePool(url)).open()
        assert refused.value.code is ErrorCode.DB_SCHEMA_NEWER
        assert "revision 9999" in str(refused.value)
        assert "up to 0003" in str(refused.value)
        assert contents(url) == before

    asyncio.run(main())
