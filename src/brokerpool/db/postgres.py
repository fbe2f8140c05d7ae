"""PostgreSQL by psycopg 3: dials in a bounded time, and nothing waits for a server that does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from functools import partial
from math import ceil
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.waiting import wait_async
from sqlalchemy import URL, event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from brokerpool.db.url import hosts

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

# What a server reports at the dial and at each change.
_ROLE = (b"in_hot_standby", b"default_transaction_read_only")


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

    @property
    def refuses_writes(self) -> bool | None:
        """Whether the server takes no writes, as it has reported by itself; None for one older than 14."""
        reported = [self.pgconn.parameter_status(name) for name in _ROLE]
        return b"on" in reported if None not in reported else None


def create_engine(
    url: URL, *, pool_size: int, max_overflow: int, pre_ping: bool, patience: float
) -> AsyncEngine:
    """Return an engine whose connections are PgConnections; a dial takes `patience` seconds at most a host.

    `prepare_threshold` in the URL is after how many runs a statement is prepared on the server. Without it
    that is 0, never: what a pooler of transactions (PgBouncer) lends is another session each time, in which a
    name means another statement, or none. Raises ValueError when it is no number.
    """
    options: dict[str, Any] = {key: value for key, value in _KEEPALIVE.items() if key not in url.query}
    dial_seconds, several = patience, len(hosts(url))
    if several > 1:
        # A host that swallows everything must leave time for the next one; libpq knows no less than 2 s.
        options.setdefault("connect_timeout", max(2, ceil(patience)))
        dial_seconds = several * max(2, patience)
    threshold = str(url.query.get("prepare_threshold", "0"))
    if not threshold.isdecimal():
        raise ValueError("prepare_threshold in the database URL is a whole number, 0 for never")
    options["prepare_threshold"] = int(threshold) or None
    url = url.difference_update_query(["prepare_threshold"])
    engine = create_async_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=max_overflow,
        pool_timeout=patience,
        pool_pre_ping=pre_ping,
        pool_use_lifo=True,
        connect_args={"async_creator_fn": partial(_dial, dial_seconds, patience), **options},
    )
    event.listen(engine.sync_engine, "checkout", _lent)
    return engine


async def _dial(seconds: float, patience: float, *args: Any, **options: Any) -> PgConnection:  # noqa: ANN401  (psycopg's)
    try:
        async with asyncio.timeout(seconds):
            connection = await PgConnection.connect(*args, **options)
    except TimeoutError:
        raise psycopg.OperationalError(f"no connection within {seconds:g} s") from None
    connection.patience = patience
    return connection


def _lent(connection: Any, _record: Any, _proxy: Any) -> None:  # noqa: ANN401  (SQLAlchemy's event)
    connection.driver_connection.lent = True
