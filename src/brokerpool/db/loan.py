"""One use of a connection, as the block of an `async with`."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from types import CodeType, TracebackType

from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool.db.borrower import Borrower
from brokerpool.db.checkout import Checkout
from brokerpool.db.queue import Ticket


class Loan(AbstractAsyncContextManager[AsyncConnection]):
    """Gives a connection, and takes it back at the end of the block; used once.

    With `begin` the block is a transaction, committed when the block ends well.
    """

    __slots__ = ("_begin", "_checkout", "_connection", "_site", "_ticket")

    def __init__(self, checkout: Checkout, site: tuple[CodeType, int], *, begin: bool) -> None:
        self._checkout = checkout
        self._site = site
        self._begin = begin
        self._ticket: Ticket | None = None
        self._connection: AsyncConnection | None = None

    async def __aenter__(self) -> AsyncConnection:
        borrower = Borrower(*self._site, asyncio.current_task())
        return await self.enter(borrower)

    async def enter(self, borrower: Borrower) -> AsyncConnection:
        """Enter the block for a borrower that is not the running task."""
        if self._ticket is not None:
            raise RuntimeError("a connection is asked for anew for each block")
        self._ticket, self._connection = await self._checkout.lend(borrower, begin=self._begin)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._ticket is not None  # entered
        assert self._connection is not None
        try:
            if self._begin and kind is None:
                await self._connection.commit()
        finally:
            await self._checkout.take_back(self._ticket, self._connection)
