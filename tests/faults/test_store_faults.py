"""Whatever is wrong with the database becomes one clear error with a code, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  (nobody may not read it where the interpreter is root's)
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

from brokerpool.brokers.login import Credentials
from brokerpool.db.error_classification import meaning
from brokerpool.db.pool import DatabasePool
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.store.gateway_store import Store
from tests.database import PASSWORD
from tests.postgres import DIALECTS, administer, database, server

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="
OTHER_KEY = "YW5vdGhlciBrZXksIG5vdCB0aGF0IG9mIGJlZm9yZSE="
NOBODY = 65_534


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


@contextmanager
def nobody() -> Iterator[None]:
    """Be a user without rights until the block ends, where the tests run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def opened(url: str, key: str = SECRET_KEY) -> Store:
    return Store(DatabasePool(url), database="DB", secret_keys=key)


async def fill(store: Store) -> None:
    for n in range(1000):
        await store.create_key(f"key {n}")


async def fault_of_opening(url: str) -> StoreError:
    with pytest.raises(StoreError) as refused:
        await opened(url).open()
    print(refused.value)
    return refused.value


def test_with_another_secret_key_the_login_stays_closed_and_is_there_when_the_key_returns(url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            await store.save_login("zerodha", Credentials("token"))
        async with opened(url, OTHER_KEY) as store:
            with pytest.raises(StoreError) as wrong:
                await store.login("zerodha")
            assert wrong.value.code is ErrorCode.SECRET_KEY_WRONG
        async with opened(url, "") as store:
            with pytest.raises(StoreError) as missing:
                await store.save_login("zerodha", Credentials("token"))
            assert missing.value.code is ErrorCode.SECRET_KEY_MISSING
        async with opened(url, f"{OTHER_KEY},{SECRET_KEY}") as store:
            assert await store.login("zerodha") == Credentials("token")

    asyncio.run(main())


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE brokerpool_broker_credentials SET version = 9 WHERE version = 2",
        "UPDATE brokerpool_broker_credentials SET sealed ="
        " (SELECT sealed FROM brokerpool_broker_credentials WHERE version = 1)",
        "UPDATE brokerpool_broker_credentials SET sealed = substr(sealed, 1, 49)"
        " || CASE substr(sealed, 50, 1) WHEN 'A' THEN 'B' ELSE 'A' END || substr(sealed, 51)",
        "UPDATE brokerpool_broker_credentials SET sealed = 'é' WHERE version = 2",
    ],
    ids=["newer", "replayed", "flipped", "garbage"],
)
def test_a_login_that_somebody_changed_is_not_used(url: str, tampering: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            await store.save_login("zerodha", Credentials("yesterday's"))
            await store.save_login("zerodha", Credentials("today's"))
            async with store._pool.begin() as conn:
                await conn.execute(text(tampering))
            with pytest.raises(StoreError) as damaged:
                await store.login("zerodha")
            assert damaged.value.code is ErrorCode.CREDENTIALS_DAMAGED

    asyncio.run(main())


def test_a_file_that_may_only_be_read_is_told_and_stays_as_it_was() -> None:
    async def make(url: str, name: str) -> None:
        async with opened(url) as store:
            await store.create_key(name)

    # Not in pytest's folder, which nobody else may enter.
    with tempfile.TemporaryDirectory() as name:
        folder, file = Path(name), Path(name, "store.db")
        asyncio.run(make(f"sqlite:///{file}", "kept"))
        before = file.read_bytes()
        file.chmod(0o444)
        folder.chmod(0o555)
        with nobody(), pytest.raises(StoreError) as refused:
            asyncio.run(make(f"sqlite:///{file}", "new"))
        folder.chmod(0o755)
        assert refused.value.code is ErrorCode.DB_READ_ONLY
        assert file.read_bytes() == before


def test_a_server_that_may_only_be_read_is_told(tmp_path: Path) -> None:
    async def main(url: str) -> None:
        async with opened(url):
            pass
        name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
        administer(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        async with opened(url) as store:
            with pytest.raises(StoreError) as refused:
                await store.create_key("new")
        assert refused.value.code is ErrorCode.DB_READ_ONLY

    with database("postgresql", tmp_path) as url:
        asyncio.run(main(url))


def test_a_full_database_is_told_and_takes_writes_again_when_there_is_room(tmp_path: Path) -> None:
    limit = {"pages": 0}

    def limited(connection: Any, *_: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {limit['pages']}")
        cursor.close()

    async def main(url: str) -> None:
        async with opened(url) as store:
            kept = await store.create_key("kept")
        event.listen(Engine, "connect", limited)
        try:
            limit["pages"] = 1  # SQLite makes it as many as there are
            async with opened(url) as store:
                with pytest.raises(StoreError) as full:
                    await fill(store)
                assert full.value.code is ErrorCode.DB_FULL
                names = [key.name for key in await store.list_keys()]
                assert names == ["kept", *(f"key {n}" for n in range(len(names) - 1))]
        finally:
            event.remove(Engine, "connect", limited)
        async with opened(url) as store:
            assert store.keys.check(kept)
            await store.create_key("there is room")

    with database("sqlite", tmp_path) as url:
        asyncio.run(main(url))


def test_a_database_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    async def main() -> None:
        missing = await fault_of_opening(f"sqlite:///{tmp_path / 'no' / 'folder' / 'store.db'}")
        assert missing.code is ErrorCode.DB_UNREACHABLE
        for url in (
            "postgresql://user:hunter2@127.0.0.1:1/nobody_listens",
            server().url_of("trader", PASSWORD, "no_such_database"),
            server().url_of("stranger", "hunter2"),
        ):
            gone = await fault_of_opening(url)
            assert gone.code is ErrorCode.DB_UNREACHABLE
            assert "hunter2" not in str(gone)

    asyncio.run(main())


def test_a_file_that_is_no_database_is_told_and_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_bytes(b"Dear diary, " * 1000)
    fault = asyncio.run(fault_of_opening(f"sqlite:///{file}"))
    assert fault.code is ErrorCode.DB_DAMAGED
    assert file.read_bytes() == b"Dear diary, " * 1000


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (psycopg.errors.DiskFull(), ErrorCode.DB_FULL),
        (psycopg.errors.AdminShutdown(), ErrorCode.DB_UNREACHABLE),
        (psycopg.errors.TooManyConnections(), ErrorCode.DB_UNREACHABLE),
        (psycopg.errors.LockNotAvailable(), ErrorCode.DB_BUSY),
        (psycopg.errors.DataCorrupted(), ErrorCode.DB_DAMAGED),
        (psycopg.OperationalError("server closed the connection"), ErrorCode.DB_UNREACHABLE),
        (psycopg.errors.UndefinedTable(), ErrorCode.DB_SCHEMA_MISSING),
        (sqlite3.ProgrammingError("closed"), ErrorCode.DB_FAILED),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.name,
)
def test_each_error_of_a_driver_has_its_code(error: Exception, code: ErrorCode) -> None:
    assert meaning(OperationalError("SELECT 1", {}, error)) is code
