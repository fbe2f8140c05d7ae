"""Connections lent and taken back: who has them, for how long, and what becomes of those not returned."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import weakref
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from types import CodeType, TracebackType
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool.db.borrower import Borrower
from brokerpool.db.counters import Tally
from brokerpool.db.engine import DatabaseEngine
from brokerpool.db.queue import Queue, Ticket
from brokerpool.db.refusals import Refusals
from brokerpool.db.server_role import Role
from brokerpool.db.unreturned import Unreturned
from brokerpool.fork_guard import ForkGuard
from brokerpool.wait_queue import Waiting

logger = logging.getLogger(__name__)

# Those whose connection was cut at the end of a drain have so many seconds to notice.
_CUT_SECONDS = 1.0


@dataclass(eq=False, slots=True)
class _Lent:
    """A connection that somebody has; what the caller sees of it is only known by a weak reference."""

    engine: DatabaseEngine
    connection: Connection
    seen: weakref.ref[AsyncConnection]


class Checkout:
    """Lends connections first come first served, in a bounded time, and takes every one of them back.

    `long_hold` is the number of seconds after which the borrower of a connection is named in the log, as is
    one whose task ended, or who dropped the connection, without returning it.
    """

    def __init__(
        self, name: str, engine: DatabaseEngine, *, pool_timeout: float, max_waiting: int, long_hold: float
    ) -> None:
        if pool_timeout <= 0 or long_hold <= 0:
            raise ValueError("pool_timeout and long_hold are numbers of seconds above 0")
        self._name = name
        self.engine = engine
        self.pool_timeout = pool_timeout
        self.queue = Queue(capacity=engine.capacity, max_waiting=max_waiting)
        self.tally, self.role = Tally(), Role(name)
        self._listen(engine)
        self._unreturned = Unreturned(name, self.queue, self.tally, long_hold)
        #: Whose process and loop it is.
        self.guard = ForkGuard(self, f"pool {name}")
        self._refusals = Refusals(name, queue=self.queue, tally=self.tally)
        self._waiting = Waiting(self.queue, self.tally)
        self._lent: dict[Ticket, _Lent] = {}
        self._chores: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()
        self.closed = False

    # -- lending ------------------------------------------------------------------------------------------

    async def lend(self, borrower: Borrower, *, begin: bool) -> tuple[Ticket, AsyncConnection]:
        """Return a connection that works, inside a transaction with `begin`; it has to be taken back.

        Raises DatabaseUnavailableError within `pool_timeout` seconds, PoolClosedError and PoolForkedError.
        """
        self.guard.enter()
        if self.closed:
            raise self._refusals.closed()
        loop = asyncio.get_running_loop()
        entered = loop.time()
        ticket = Ticket(borrower, begin and self.engine.one_writer, entered)
        try:
            await self._waiting.wait(ticket, self.pool_timeout)
        except asyncio.QueueFull:
            raise self._refusals.queue_full(ticket) from None
        except TimeoutError:
            raise self._refusals.waited(ticket, loop.time() - entered) from None
        self.tally.admitted(ticket)
        engine = self.engine
        try:
            async with asyncio.timeout_at(entered + self.pool_timeout):
                connection = await engine.connect(writes=begin)
        except (SQLAlchemyError, OSError) as error:  # OSError: a TimeoutError is one too
            refusal = self._refusals.unreachable(ticket, engine, error, loop.time() - entered)
            self._release(ticket)
            raise refusal from None
        except BaseException:
            self._release(ticket)
            raise
        self._register(ticket, engine, connection)
        if self.closed and engine.retired:  # a drain did not wait for this dial
            await self.take_back(ticket, connection)
            raise self._refusals.closed()
        if begin:
            await self._begin(ticket, engine, connection)
        return ticket, connection

    async def take_back(self, ticket: Ticket, connection: AsyncConnection) -> None:
        """Roll back what is open and hand the connection on; ends well also when the caller is cancelled."""
        lent = self._lent.pop(ticket, None)
        if lent is None or self.guard.elsewhere:
            return  # it was taken away at the end of a drain, or is the parent's
        back = self._return(ticket, lent.engine, connection)
        if lent.engine.can_be_cut:
            await back  # whoever is cancelled here loses the connection, and a task for each return is saved
        else:
            await asyncio.shield(self._chore(back))

    async def _begin(self, ticket: Ticket, engine: DatabaseEngine, connection: AsyncConnection) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await connection.begin().start()
        except BaseException as error:
            await self.take_back(ticket, connection)
            if isinstance(error, OperationalError) and engine.one_writer and "locked" in str(error.orig):
                raise self._refusals.locked(ticket, engine, loop.time() - began) from None
            raise

    def _register(self, ticket: Ticket, engine: DatabaseEngine, connection: AsyncConnection) -> None:
        inner = connection.sync_connection
        assert inner is not None  # started
        self.tally.checkouts += 1
        # The garbage collector may run in any thread.
        loop = asyncio.get_running_loop()
        seen = weakref.ref(connection, partial(self._dropped, loop, ticket))
        self._lent[ticket] = _Lent(engine, inner, seen)
        self._unreturned.watch()

    async def _return(self, ticket: Ticket, engine: DatabaseEngine, connection: AsyncConnection) -> None:
        try:
            engine.coming_back(connection)
            try:
                await connection.close()
            except Exception as error:
                # The caller is done with it and has nothing to decide; the next one gets another.
                logger.warning(
                    "%s: a returned connection was of no use: %s", self._name, type(error).__name__
                )
                with contextlib.suppress(Exception):
                    await connection.invalidate()
                    await connection.close()
            if engine.retired:
                await engine.retire()
        finally:
            self.tally.holds.observe(asyncio.get_running_loop().time() - ticket.granted)
            self._release(ticket)

    def _release(self, ticket: Ticket) -> None:
        self._waiting.release(ticket, asyncio.get_running_loop().time())
        if not self.queue.held:
            self._empty.set()

    # -- those who do not return --------------------------------------------------------------------------

    def _dropped(self, loop: asyncio.AbstractEventLoop, ticket: Ticket, _: object) -> None:
        if ticket in self._lent:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and all is gone
                loop.call_soon_threadsafe(self._take_away, ticket)

    def _take_away(self, ticket: Ticket) -> None:
        """Take back a connection that nobody refers to any more."""
        lent = self._lent.pop(ticket, None)
        if lent is not None:
            self._unreturned.leaked(
                ticket, "it was dropped without being returned; the pool has taken it back"
            )
            self._chore(self._return(ticket, lent.engine, _anew(lent)))

    # -- changes and the end ------------------------------------------------------------------------------

    def replace(self, engine: DatabaseEngine) -> None:
        """Lend from another engine from now on; connections of the old one end when they are returned."""
        self.guard.enter()
        if self.closed:
            raise self._refusals.closed()
        old, self.engine = self.engine, engine
        self._listen(engine)
        self.queue.capacity = engine.capacity
        old.retired = True
        if self.tally.connects:  # else no loop need be running
            self._chore(old.retire())
            self._waiting.stir()

    async def close(self, deadline: float) -> None:
        """Refuse callers, give those with a connection `deadline` seconds, cut the others off, close all."""
        if self.guard.elsewhere:
            return  # all of it is the parent's
        self.closed = True
        self._waiting.fail_all(self._refusals.closed)
        await self._emptied(deadline)
        for lent in list(self._lent.values()):
            await lent.engine.sever(lent.connection)
        await self._emptied(_CUT_SECONDS)
        for ticket, lent in list(self._lent.items()):
            del self._lent[ticket]
            self._chore(self._return(ticket, lent.engine, lent.seen() or _anew(lent)))
        self._unreturned.close()
        if self._chores:
            await asyncio.wait(self._chores, timeout=_CUT_SECONDS)
        await self.engine.retire()

    def _listen(self, engine: DatabaseEngine) -> None:
        self.tally.listen(engine.sqlalchemy)
        self.role.listen(engine.sqlalchemy)

    async def _emptied(self, seconds: float) -> None:
        if self.queue.held:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._empty.wait()

    def _chore(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=f"{self._name}-chore")
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)
        return task


def _anew(lent: _Lent) -> AsyncConnection:
    return AsyncConnection(lent.engine.sqlalchemy, lent.connection)


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
