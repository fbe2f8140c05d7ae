"""What a client keeps for each host: a connection for each slot that was used, a breaker for each group."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from brokerpool.http.breaker import Breaker
from brokerpool.http.connection import Connection


class Hosts:
    """The connections and breakers of one client; bounded, for a host that loses its slots is forgotten."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connections: dict[tuple[str, int], Connection] = {}
        self._breakers: dict[tuple[str, str], Breaker] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def connection(self, host: str, slot: int) -> tuple[Connection, bool]:
        """Return the connection of a slot, and whether the slot had it before."""
        connection = self._connections.get((host, slot))
        if connection is not None:
            return connection, True
        connection = self._connections[host, slot] = self._connect()
        return connection, False

    def breaker(self, host: str, group: str) -> Breaker:
        """Return the breaker of a host's group of endpoints."""
        breaker = self._breakers.get((host, group))
        if breaker is None:
            breaker = self._breakers[host, group] = Breaker()
        return breaker

    def states(self, now: float) -> dict[str, str]:
        """Return the state of each breaker by host and group."""
        return {f"{host} {group}": b.state(now) for (host, group), b in self._breakers.items()}

    def forget(self, host: str) -> None:
        """Drop a host that lost its slots; its connections close in the background."""
        for key in [key for key in self._connections if key[0] == host]:
            task = asyncio.create_task(self._connections.pop(key).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        for known in [known for known in self._breakers if known[0] == host]:
            del self._breakers[known]

    async def close(self) -> None:
        """Close all connections; called again, it finishes what a cancellation has interrupted."""
        await asyncio.gather(*(c.close() for c in self._connections.values()), *self._closing)
