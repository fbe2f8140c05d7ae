"""Where connections come from: one database URL, its engine, and what differs between databases."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any, Literal

from sqlalchemy import URL, Connection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

from brokerpool.db import sqlite
from brokerpool.db.url import parse, shown

Dialect = Literal["sqlite", "postgresql"]


class DatabaseEngine:
    """An engine of SQLAlchemy with `pool_size` kept and `max_overflow` further connections.

    Its own queue is never waited in, because no more callers come than there are connections. Raises
    ValueError for a URL of another database; no text has the URL's user, password or parameters.
    """

    def __init__(
        self, url: str, *, pool_size: int, max_overflow: int, pre_ping: bool, patience: float
    ) -> None:
        if pool_size < 1 or max_overflow < 0:
            raise ValueError("a pool keeps at least one connection, and no less than 0 further ones")
        self.url = url
        parsed = parse(url)
        self.dialect: Dialect = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql"
        self._secrets = [text for text in (parsed.password, *parsed.query.values()) if isinstance(text, str)]
        self._memory: URL | None = None
        self._anchor: sqlite3.Connection | None = None
        if self.dialect == "postgresql":
            self.address = shown(url)
            self.sqlalchemy = _postgres(parsed, pool_size, max_overflow, pre_ping, patience)
            self._writes = self.sqlalchemy
        else:
            self.address = "sqlite in memory" if sqlite.is_in_memory(parsed) else f"sqlite {parsed.database}"
            if sqlite.is_in_memory(parsed):
                # Two connections to one database in memory lock each other out.
                pool_size, max_overflow = 1, 0
                parsed = self._memory = sqlite.in_memory()
            self.sqlalchemy = sqlite.create_engine(parsed, pool_size=pool_size, max_overflow=max_overflow)
            self._writes = self.sqlalchemy.execution_options(**{sqlite.WRITES: True})
        self.pool_size, self.max_overflow = pool_size, max_overflow
        #: True once another engine took its place: connections end when they are returned.
        self.retired = False

    @property
    def capacity(self) -> int:
        """How many connections there may be at the same time."""
        return self.pool_size + self.max_overflow

    @property
    def one_writer(self) -> bool:
        """True where a second writer would be refused by the database."""
        return self.dialect == "sqlite"

    @property
    def can_be_cut(self) -> bool:
        """True where a roll-back may be cancelled; the connection is closed then."""
        return self.dialect == "postgresql"

    @property
    def in_memory(self) -> bool:
        """True where the data is gone with the pool."""
        return self._memory is not None

    async def connect(self, *, writes: bool) -> AsyncConnection:
        """Return a connection that works, or raise what the driver says; holds nothing when cancelled."""
        if self._memory is not None and self._anchor is None:
            self._anchor = sqlite.anchor(self._memory)
        connection = (self._writes if writes else self.sqlalchemy).connect()
        if self.dialect == "sqlite":
            # A thread is opening the file: let it end, it is on this machine, and leave nothing half open.
            await _undisturbed(connection)
        else:
            await connection.start()
        return connection

    async def sever(self, connection: Connection) -> None:
        """End what runs on the connection now."""
        raw = _raw(connection)
        if raw is not None:
            await sqlite.sever(raw) if self.dialect == "sqlite" else raw.sever()

    def coming_back(self, connection: AsyncConnection) -> None:
        """Note that the caller is done with the connection: what is sent from here on is the pool's."""
        raw = _raw(connection.sync_connection)
        if raw is not None and self.dialect == "postgresql":
            raw.lent = False

    async def retire(self) -> None:
        """Close every idle connection; to be called again after each return to a retired engine."""
        self.retired = True
        await greenlet_spawn(self.sqlalchemy.pool.dispose)
        if self._anchor is not None:
            self._anchor.close()

    def scrub(self, text: str) -> str:
        """Return the text without the URL's secrets."""
        for secret in self._secrets:
            if secret:
                text = text.replace(secret, "***")
        return text


def _postgres(url: URL, pool_size: int, max_overflow: int, pre_ping: bool, patience: float) -> AsyncEngine:
    try:
        from brokerpool.db import postgres  # only here, for psycopg comes with an extra
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("PostgreSQL needs psycopg: pip install 'brokerpool[postgres]'") from error
    return postgres.create_engine(
        url, pool_size=pool_size, max_overflow=max_overflow, pre_ping=pre_ping, patience=patience
    )


def _raw(connection: Connection | None) -> Any:  # noqa: ANN401  (PgConnection or aiosqlite.Connection)
    # An invalidated connection would dial again when it is asked.
    if connection is None or connection.closed or connection.invalidated:
        return None
    return connection.connection.driver_connection


async def _undisturbed(connection: AsyncConnection) -> None:
    start = asyncio.create_task(_started(connection))
    try:
        await asyncio.shield(start)
    except asyncio.CancelledError:
        await _ended(start)
        if not start.cancelled() and start.exception() is None:
            await _ended(asyncio.create_task(connection.close()))
        raise


async def _started(connection: AsyncConnection) -> None:
    await connection.start()


async def _ended(task: asyncio.Task[None]) -> None:
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue  # the first one is raised in any case
