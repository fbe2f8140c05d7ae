"""Ticks for a consumer that takes them one by one: bounded, and honest about what it dropped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from brokerpool.feed.connection import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick


class PoolListener:
    """What the pool tells whoever listens; calls come on the event loop and must return quickly."""

    def ticked(self, ticks: list[Tick]) -> None:
        """Ticks of one broker message, in the broker's order."""

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        """These symbols have reached the state."""

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        """A connection has reached the state."""


class TickStream(PoolListener, AsyncIterator[Tick]):
    """An asynchronous iterator over ticks; it ends when the pool closes.

    It holds up to `size` ticks. A consumer that falls further behind loses the oldest ones, and
    `dropped` counts them.
    """

    def __init__(self, size: int) -> None:
        self._ticks: deque[Tick] = deque(maxlen=size)
        self._size = size
        self._ready = asyncio.Event()
        self._ended = False
        self.dropped = 0

    def ticked(self, ticks: list[Tick]) -> None:
        self.dropped += max(0, len(self._ticks) + len(ticks) - self._size)
        self._ticks.extend(ticks)
        self._ready.set()

    def end(self) -> None:
        """End the iteration once everything held has been taken."""
        self._ended = True
        self._ready.set()

    async def __anext__(self) -> Tick:
        while not self._ticks:
            if self._ended:
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._ticks.popleft()
