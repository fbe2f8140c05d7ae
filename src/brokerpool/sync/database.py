"""The blocking twin of the database pool."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from types import CodeType
from typing import Any, Self, TypeVar

from sqlalchemy import CursorResult, Executable, ScalarResult
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool import argument_checks
from brokerpool.db import pool as asynchronous
from brokerpool.db.borrower import Borrower, call_site
from brokerpool.db.checkout import Loan
from brokerpool.sync.shutdown import Twin

T = TypeVar("T")

Values = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class DatabaseConnection:
    """A lent connection with blocking methods; valid inside its block."""

    def __init__(self, pool: DatabasePool, connection: AsyncConnection) -> None:
        self._pool = pool
        self._connection = connection

    def execute(self, statement: Executable, values: Values | None = None) -> CursorResult[Any]:
        """Run a statement and return its result, which is complete."""
        return self._pool.call(self._connection.execute(statement, values))

    def scalar(self, statement: Executable, values: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  (a column of any type)
        """Run a statement and return the first column of its first row."""
        return self._pool.call(self._connection.scalar(statement, values))

    def scalars(self, statement: Executable, values: Mapping[str, Any] | None = None) -> ScalarResult[Any]:
        """Run a statement and return the first column of each row."""
        return self._pool.call(self._connection.scalars(statement, values))

    def commit(self) -> None:
        """Commit what was done since the last commit."""
        self._pool.call(self._connection.commit())

    def rollback(self) -> None:
        """Undo what was done since the last commit."""
        self._pool.call(self._connection.rollback())


class DatabasePool(Twin):
    """`brokerpool.DatabasePool` with blocking methods; safe to use from any number of threads.

    Takes the same arguments, and `call_timeout`: the seconds that one statement may take before it is given
    up with TimeoutError. A connection belongs to the thread that asked for it.
    """

    def __init__(
        self,
        url: str = "sqlite:///brokerpool.db",
        *,
        pool_timeout: float = 30.0,
        call_timeout: float = 60.0,
        **options: Any,  # noqa: ANN401  (DatabasePool's)
    ) -> None:
        self._call_timeout = argument_checks.seconds("call_timeout", call_timeout, above_zero=True)
        self._pool_timeout = pool_timeout
        self._pool = asynchronous.DatabasePool(url, pool_timeout=pool_timeout, **options)
        super().__init__(f"pool {self._pool.name}", self._pool.drain)

    def open(self) -> None:
        """Open the connections that are kept; raises as the asynchronous method does."""
        self._loop.run(self._pool.open(), self._pool_timeout)

    def connection(self) -> AbstractContextManager[DatabaseConnection]:
        """Lend a connection for a block; what was not committed at its end is rolled back."""
        return self._lent(self._pool.connection(), call_site())

    def begin(self) -> AbstractContextManager[DatabaseConnection]:
        """Lend a connection inside a transaction, committed at the end of the block unless it raises."""
        return self._lent(self._pool.begin(), call_site())

    def renew(self, url: str) -> None:
        """Use another URL for all connections from now on."""
        self._loop.call(partial(self._pool.renew, url))

    def resize(self, pool_size: int, max_overflow: int) -> None:
        """Keep and allow another number of connections from now on."""
        self._loop.run(self._pool.resize(pool_size, max_overflow))

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the pool."""
        return self._loop.call(self._pool.stats)

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a statement returns. Raises TimeoutError when it takes too long."""
        if self._loop.closed:
            work.close()  # what wraps it would not
        return self._loop.run(_bounded(work, self._call_timeout), self._call_timeout)

    def __enter__(self) -> Self:
        try:
            self.open()
        except BaseException:
            self.close()
            raise
        return self

    def __repr__(self) -> str:
        return repr(self._pool)

    @contextmanager
    def _lent(self, loan: Loan, site: tuple[CodeType, int]) -> Iterator[DatabaseConnection]:
        # Each call runs in a task of its own, so it is the thread that has the connection.
        borrower = Borrower(*site, task=None, name=threading.current_thread().name)
        connection = self._loop.run(loan.enter(borrower), self._pool_timeout)
        try:
            yield DatabaseConnection(self, connection)
        except BaseException as error:
            self._give_back(loan, error)
            raise
        self._give_back(loan, None)

    def _give_back(self, loan: Loan, error: BaseException | None) -> None:
        if self._loop.closed:
            return  # cut off by a drain in another thread
        kind = None if error is None else type(error)
        self._loop.run(loan.__aexit__(kind, error, None), self._call_timeout)


async def _bounded(work: Coroutine[Any, Any, T], seconds: float) -> T:
    async with asyncio.timeout(seconds):
        return await work
