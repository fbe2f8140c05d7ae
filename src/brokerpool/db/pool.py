"""STAND-IN for the database pool that is built elsewhere; only what the store relies on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import Connection, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg"}


class DatabasePool:
    """Lends connections to one database."""

    def __init__(
        self, url: str, *, pool_size: int = 5, max_overflow: int = 10, pool_timeout: float = 30.0
    ) -> None:
        address = make_url(url)
        self.dialect = address.get_backend_name()
        self._engine: AsyncEngine = create_async_engine(
            address.set(drivername=_DRIVERS[self.dialect]),
            pool_size=pool_size,
            max_overflow=max_overflow,
            pool_timeout=pool_timeout,
            pool_pre_ping=self.dialect == "postgresql",
            hide_parameters=True,
            connect_args={"isolation_level": None} if self.dialect == "sqlite" else {},
        )
        self._writes = self._engine.execution_options(writes=True)
        if self.dialect == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _prepare)
            event.listen(self._engine.sync_engine, "begin", _begin)

    async def open(self) -> None:
        """Connect once, to see that it works."""
        async with self.connection():
            pass

    async def drain(self) -> None:
        """Close every connection."""
        await self._engine.dispose()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection; what is not committed is rolled back."""
        async with self._engine.connect() as conn:
            yield conn

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Lend a connection in a transaction that is committed at the end of the block."""
        async with self._writes.begin() as conn:
            yield conn


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")


def _prepare(connection: DBAPIConnection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA busy_timeout=5000")
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()
