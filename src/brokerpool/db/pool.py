"""The database pool: few connections, lent in order, and no wait without an end and a reason."""

from __future__ import annotations

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from brokerpool import argument_checks, open_pools
from brokerpool.db.borrower import call_site
from brokerpool.db.checkout import Checkout, Loan
from brokerpool.db.engine import DatabaseEngine, Dialect
from brokerpool.running_loop import clock


class DatabasePool:
    """Lends connections to one SQLite or PostgreSQL database; all times are seconds.

    `pool_size` connections are kept and up to `max_overflow` more opened under load; up to `max_waiting`
    callers wait for one, each at most `pool_timeout`, in which the dial and the pre-ping are included. A dial
    may take `connect_timeout`, as may the answer to a pre-ping (PostgreSQL only). After `long_hold` the
    borrower of a connection is named in the log. Raises ValueError for what cannot be. Whoever is cancelled,
    in the line or in a statement, holds no connection afterwards, and the statement has ended.
    """

    def __init__(
        self,
        url: str = "sqlite:///brokerpool.db",
        *,
        name: str = "database",
        pool_size: int = 5,
        max_overflow: int = 10,
        pool_timeout: float = 30.0,
        pool_pre_ping: bool = True,
        max_waiting: int = 100,
        long_hold: float = 10.0,
        connect_timeout: float = 5.0,
    ) -> None:
        argument_checks.seconds("connect_timeout", connect_timeout, above_zero=True)
        argument_checks.seconds("pool_timeout", pool_timeout, above_zero=True)
        argument_checks.seconds("long_hold", long_hold, above_zero=True)
        argument_checks.whole("max_waiting", max_waiting, 0)
        self.name = argument_checks.text("name", name)
        self._pre_ping = argument_checks.instance("pool_pre_ping", pool_pre_ping, bool)
        self._patience = connect_timeout
        engine = self._engine(url, pool_size, max_overflow)
        self._checkout = Checkout(
            name, engine, pool_timeout=pool_timeout, max_waiting=max_waiting, long_hold=long_hold
        )
        open_pools.add("database", self, self.stats, self._checkout.guard)

    @property
    def dialect(self) -> Dialect:
        """Which database it is."""
        return self._checkout.engine.dialect

    # -- connections --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the connections that are kept, so that no later caller waits for a dial.

        Without it they are opened as they are needed. Raises DatabaseUnavailableError when the database
        cannot be reached.
        """
        async with AsyncExitStack() as stack:
            for _ in range(
                min(
                    self._checkout.engine.pool_size, self._checkout.queue.capacity - self._checkout.queue.held
                )
            ):
                await stack.enter_async_context(self.connection())

    def connection(self) -> Loan:
        """Lend a connection for a block; what was not committed at its end is rolled back.

        Raises DatabaseUnavailableError within `pool_timeout`, and PoolClosedError. On SQLite write with
        `begin`, which waits for other writers where this would fail.
        """
        return Loan(self._checkout, call_site(), begin=False)

    def begin(self) -> Loan:
        """Lend a connection inside a transaction, committed at the end of the block unless it raises.

        On SQLite there is one such block at a time, first come first served. Raises as `connection` does.
        """
        return Loan(self._checkout, call_site(), begin=True)

    # -- changes ------------------------------------------------------------------------------------------

    def renew(self, url: str) -> None:
        """Use another URL, such as one with a new password, for all connections from now on.

        Connections with the old one end when they are returned. Raises ValueError when it is another kind of
        database, and PoolClosedError.
        """
        engine = self._checkout.engine
        fresh = self._engine(url, engine.pool_size, engine.max_overflow)
        if fresh.dialect != self.dialect or fresh.in_memory or engine.in_memory:
            raise ValueError("a pool stays with its kind of database, and in memory with its data")
        self._checkout.replace(fresh)

    async def resize(self, pool_size: int, max_overflow: int) -> None:
        """Keep and allow another number of connections from now on; waiting callers profit at once.

        Connections that are lent stay with their borrowers and count; idle ones are opened anew when needed.
        Raises ValueError for impossible numbers and for a database in memory, and PoolClosedError.
        """
        engine = self._checkout.engine
        if engine.in_memory:
            raise ValueError("a database in memory has one connection")
        self._checkout.replace(self._engine(engine.url, pool_size, max_overflow))

    # -- numbers and end ----------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the pool; the seed's members first."""
        checkout, now = self._checkout, clock()
        engine, queue = checkout.engine, checkout.queue
        return {
            "pool_size": engine.pool_size,
            "checked_out": queue.held,
            "overflow": max(0, checkout.tally.open - engine.pool_size),
            "checked_in": max(0, checkout.tally.open - queue.held),
            "max_overflow": engine.max_overflow,
            "pool_timeout": checkout.pool_timeout,
            "name": self.name,
            "dialect": engine.dialect,
            "open": checkout.tally.open,
            "waiting": queue.queued,
            "max_waiting": queue.max_waiting,
            "oldest_wait_seconds": queue.oldest_wait(now),
            "holders": [
                {
                    "task": ticket.borrower.holder,
                    "site": ticket.borrower.site,
                    "writer": ticket.alone,
                    "seconds": now - ticket.granted,
                }
                for ticket in queue.holders()
            ],
            "read_only": checkout.role.read_only,
            "evictions": checkout.role.evictions,
            **checkout.tally.stats(),
        }

    async def drain(self, deadline: float = 10.0) -> None:
        """Refuse new callers, end the waiting ones with PoolClosedError, give the others `deadline` seconds.

        Who still has a connection then is cut off. All connections are closed; a drain that was cancelled can
        be called again.
        """
        argument_checks.seconds("deadline", deadline)
        open_pools.remove(self)
        await self._checkout.close(deadline)

    async def close(self) -> None:
        """Drain without waiting for those who have a connection."""
        await self.drain(0)

    async def __aenter__(self) -> Self:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.drain()

    def __repr__(self) -> str:
        return f"<DatabasePool {self.name}: {self._checkout.engine.address}, {self._checkout.queue!r}>"

    # -- inside -------------------------------------------------------------------------------------------

    def _engine(self, url: str, pool_size: int, max_overflow: int) -> DatabaseEngine:
        return DatabaseEngine(
            argument_checks.text("url", url),
            pool_size=argument_checks.whole("pool_size", pool_size),
            max_overflow=argument_checks.whole("max_overflow", max_overflow),
            pre_ping=self._pre_ping,
            patience=self._patience,
        )
