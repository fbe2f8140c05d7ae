"""The connections of a replica: made when needed, closed when they stay empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from brokerpool.brokers.account import Account
from brokerpool.feed.account_limits import AccountLimits
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.connection import Connection, ConnectionObserver
from brokerpool.feed.dial import Dial


class Connections:
    """Has a connection for each name that is taken, and forgets none that is still closing."""

    def __init__(
        self,
        feed: Account,
        account: AccountLimits,
        observer: ConnectionObserver,
        linger: float,
        random: Random,
        dial: Dial,
        wall_clock: Callable[[], float],
    ) -> None:
        """`linger` is how many seconds an empty connection is kept for what may come."""
        #: Those that are not closed, by name; to be read only.
        self.connections: dict[str, Connection] = {}
        self._feed = feed
        self._account = account
        self._observer = observer
        self._linger = linger
        self._random = random
        self._dial = dial
        self._wall_clock = wall_clock
        self._loop = asyncio.get_running_loop()
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._ending: list[Connection] = []

    def take(self, name: str) -> Connection:
        """Return the connection of this name, dialled at once where it is a new one; it lingers no more."""
        self._stay(name)
        connection = self.connections.get(name)
        if connection is None:
            connection = self.connections[name] = Connection(
                name,
                self._feed,
                self._account,
                self._observer,
                dial=self._dial,
                backoff=Backoff(self._random),
                wall_clock=self._wall_clock,
            )
        return connection

    def linger(self, name: str, over: Callable[[str], None]) -> None:
        """Call `over` with the name of an empty connection when nobody takes it for so long."""
        if name not in self._lingering:
            self._lingering[name] = self._loop.call_later(self._linger, over, name)

    def close(self, name: str, reason: str) -> None:
        """Begin to end a connection; the name is not known any more."""
        self._stay(name)
        connection = self.connections.pop(name)
        connection.end(reason)
        self._ending.append(connection)
        self._ending = [other for other in self._ending if not other.ended]

    def end(self) -> None:
        """Begin to end every connection; `ended` waits for it, and it goes on though nobody waits."""
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        for connection in self.connections.values():
            connection.end("closed by the pool")

    async def ended(self) -> None:
        """Return once every connection that was ended is gone; takes a few seconds at most."""
        for connection in (*self.connections.values(), *self._ending):
            await connection.gone()

    def _stay(self, name: str) -> None:
        timer = self._lingering.pop(name, None)
        if timer is not None:
            timer.cancel()
