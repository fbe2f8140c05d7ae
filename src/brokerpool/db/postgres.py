"""PostgreSQL by psycopg 3: dials in a bounded time, and nothing waits for a server that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from functools import partial
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

#: A query whose caller was cancelled is cancelled on the server too; it has so many seconds to say so.
CANCEL_SECONDS = 1.0

# The kernel notices a line that is dead while a query waits for its answer. Meanings: libpq, "Parameter Key
# Words"; seconds, and milliseconds for the last.
_KEEPALIVE = {
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


class PgConnection(psycopg.AsyncConnection[Any]):
    """A connection that can be given up at any moment, whatever its server does.

    psycopg itself waits up to ten seconds for the server when a caller is cancelled. While nobody has the
    connection (`lent` is False: pre-ping and roll-back) it waits at most `patience` seconds for an answer.
    """

    lent = False
    patience = 5.0

    async def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:  # noqa: ANN401  (what the generator returns)
        """Run the generator of a protocol step; the signature is psycopg's."""
        limit = {} if timeout is None else {"timeout": timeout}
        if self.lent:
            try:
                return await wait_async(gen, self.pgconn.socket, interval, **limit)
            except asyncio.CancelledError:
                await self._call_off(gen, interval)
                raise
        # A timer is cheaper than asyncio.timeout, and there are five such waits for each time it is lent.
        impatience = asyncio.get_running_loop().call_later(self.patience, self.sever)
        try:
            return await wait_async(gen, self.pgconn.socket, interval, **limit)
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise
        finally:
            impatience.cancel()

    def sever(self) -> None:
        """End what waits on this connection now; it is of no use any more."""
        if not self.closed:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(self.pgconn.socket)) as line:
                line.shutdown(socket.SHUT_RDWR)

    async def _call_off(self, gen: PQGen[Any], interval: float) -> None:
        if self.pgconn.transaction_status != TransactionStatus.ACTIVE:
            return
        try:
            async with asyncio.timeout(CANCEL_SECONDS):
                await self.cancel_safe(timeout=CANCEL_SECONDS)
                await wait_async(gen, self.pgconn.socket, interval)
        except psycopg.errors.QueryCanceled:
            pass
        except BaseException:  # a second cancellation too: the first one is raised in any case
            self.pgconn.finish()


def create_engine(
    url: URL, *, pool_size: int, max_overflow: int, pre_ping: bool, patience: float
) -> AsyncEngine:
    """Return an engine whose connections are PgConnections; a dial takes at most `patience` seconds."""
    keepalive = {key: value for key, value in _KEEPALIVE.items() if key not in url.query}
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=patience,
        pool_pre_ping=pre_ping,
        pool_use_lifo=True,
        connect_args={"async_creator_fn": partial(_dial, patience), **keepalive},
    )
    event.listen(engine.sync_engine, "checkout", _lent)
    return engine


async def _dial(patience: float, *args: Any, **options: Any) -> PgConnection:  # noqa: ANN401  (psycopg's)
    try:
        async with asyncio.timeout(patience):
            connection = await PgConnection.connect(*args, **options)
    except TimeoutError:
        raise psycopg.OperationalError(f"no connection within {patience:g} s") from None
    connection.patience = patience
    return connection


def _lent(connection: Any, _record: Any, _proxy: Any) -> None:  # noqa: ANN401  (SQLAlchemy's event)
    connection.driver_connection.lent = True
