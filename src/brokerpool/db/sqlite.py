"""SQLite by aiosqlite: readers beside one writer, and no statement outlives its caller."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import URL, Connection, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool
from sqlalchemy.util import await_only

from brokerpool.db.error_classification import MovedError

#: Execution option of an engine whose transactions write.
WRITES = "brokerpool_writes"

# For the lock of another program; inside of this one the queue keeps writers apart.
_BUSY_SECONDS = 5.0

# A cancelled caller's statement may go on for so long before it is interrupted, again and again: an interrupt
# that comes before the statement is begun is lost.
_INTERRUPT_SECONDS = 0.05

# Two connections that turn the same new file into a WAL database at once are refused without waiting.
_TUNING = threading.Lock()

_databases_in_memory = count(1)


class _Tuned(sqlite3.Connection):
    """A connection with the settings that make SQLite fit for several readers and a writer."""

    def __init__(self, database: str, *args: Any, **options: Any) -> None:  # noqa: ANN401  (sqlite3's)
        self._path = Path(database).absolute()
        if not options.get("uri"):
            _make_private(self._path)
        super().__init__(database, *args, **options)
        self._file: tuple[int, int] | None = None
        try:
            with _TUNING:
                self.execute(f"PRAGMA busy_timeout = {_BUSY_SECONDS * 1000:.0f}")
                self.execute("PRAGMA journal_mode = WAL")
                self.execute("PRAGMA synchronous = NORMAL")
                self.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            self.close()  # nobody gets to see it
            raise
        self._file = self._place()

    # SQLite itself goes on with a file that was replaced or deleted, and what it writes is nobody's. All of
    # this class runs in the connection's own thread; a look costs a few microseconds.

    def cursor(self, *args: Any) -> sqlite3.Cursor:  # type: ignore[override]  # noqa: ANN401  (sqlite3's)
        """Return a cursor for a statement. Raises MovedError."""
        self._check_place()
        cursor: sqlite3.Cursor = super().cursor(*args)
        return cursor

    def commit(self) -> None:
        """Commit. Raises MovedError."""
        self._check_place()
        super().commit()

    def _check_place(self) -> None:
        if self._file is not None and self._place() != self._file:
            raise MovedError("the file was replaced or taken away while it was open")

    def _place(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


class LiteConnection(aiosqlite.Connection):
    """A connection whose caller can be cancelled: its statement has ended before he goes on.

    aiosqlite itself lets go of what its thread does, which then holds locks and connections unseen.
    """

    async def _execute(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:  # noqa: ANN401  (aiosqlite's)
        work = asyncio.ensure_future(super()._execute(fn, *args, **options))  # type: ignore[no-untyped-call]  # aiosqlite's
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            while not work.done():
                with contextlib.suppress(asyncio.CancelledError):  # the first one is raised in any case
                    await asyncio.wait({work}, timeout=_INTERRUPT_SECONDS)
                if not work.done():
                    await sever(self)
            if (
                not work.cancelled()
                and work.exception() is None
                and isinstance(work.result(), sqlite3.Cursor)
            ):
                # As long as its statement is not at its end, an interrupt would meet the roll-back too.
                work.result().close()
            raise


def _make_private(path: Path) -> None:
    """Make the file if there is none, for its owner alone: keys, logins and the account's demand are in it.

    SQLite gives the same rights to the files that it puts beside it.
    """
    with contextlib.suppress(OSError):  # it is there, or SQLite says better why it cannot be
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))


def is_in_memory(url: URL) -> bool:
    """Tell whether the database has no file."""
    return url.database in (None, "", ":memory:")


def in_memory() -> URL:
    """Return the URL of a new database without a file, which several connections can share."""
    name = f"file:brokerpool-{next(_databases_in_memory)}?mode=memory&cache=shared"
    return URL.create("sqlite", database=name, query={"uri": "true"})


def anchor(url: URL) -> sqlite3.Connection:
    """Return a connection beside the pool, as long as which a database in memory lives.

    Without it a cancelled caller, whose connection is closed, would take the database along.
    """
    assert url.database is not None
    return sqlite3.connect(url.database, uri=True, check_same_thread=False)


def create_engine(url: URL, *, pool_size: int, max_overflow: int) -> AsyncEngine:
    """Return an engine on the file; there is nothing to ping and nothing to dial."""
    engine = create_async_engine(
        url.set(drivername="sqlite+aiosqlite"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_use_lifo=True,
        # The driver is to begin no transactions of its own: `_begin` does.
        connect_args={
            "async_creator_fn": _open,
            "factory": _Tuned,
            "isolation_level": None,
            "check_same_thread": False,
        },
    )
    event.listen(engine.sync_engine, "begin", _begin)
    event.listen(engine.sync_engine, "invalidate", _invalidated)
    return engine


async def sever(connection: aiosqlite.Connection) -> None:
    """End the statement that runs on the connection, if one does."""
    with contextlib.suppress(ValueError):  # it is closed already
        await connection.interrupt()


async def _open(database: str, **options: Any) -> LiteConnection:  # noqa: ANN401  (sqlite3's)
    connection = LiteConnection(partial(sqlite3.connect, database, **options), 64)
    # As SQLAlchemy does it: a connection that was forgotten must not keep the interpreter from ending.
    thread = connection if isinstance(connection, threading.Thread) else connection._thread
    thread.daemon = True
    try:
        await connection
    except BaseException:
        # aiosqlite leaves its thread behind, whose last word would find a closed loop if this was the end.
        await asyncio.to_thread(thread.join)
        raise
    return connection


def _begin(connection: Connection) -> None:
    # A reader that turns into a writer may fail at once, a writer that says so first waits for its turn.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


def _invalidated(connection: Any, _record: Any, error: BaseException | None) -> None:  # noqa: ANN401  (SQLAlchemy's event)
    # SQLAlchemy closes the connection of a cancelled caller. His traceback may keep a cursor alive, and with
    # it SQLite would keep the lock beyond the closing.
    if isinstance(error, asyncio.CancelledError):
        await_only(_unlock(connection.driver_connection))


async def _unlock(connection: aiosqlite.Connection) -> None:
    with contextlib.suppress(sqlite3.Error, ValueError):
        await connection.rollback()
