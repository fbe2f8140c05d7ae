"""Ticks for a consumer that takes them one by one: bounded, and honest about what it dropped."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from brokerpool.feed.gaps import Gap
from brokerpool.feed.states import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick


class PoolListener:
    """What the pool tells whoever listens; calls come on the event loop and must return quickly.

    What a listener raises is logged and counted, and changes nothing for the pool and the other listeners.
    All of them get the same list, which must not be changed.
    """

    def ticked(self, ticks: list[Tick]) -> None:
        """Ticks of one broker message, in the broker's order."""

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        """These symbols have reached the state."""

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        """A connection has reached the state."""

    def gaps_opened(self, gaps: list[Gap]) -> None:
        """The data of these symbols has stopped: their last values are stale from now on."""

    def gaps_closed(self, gaps: list[Gap]) -> None:
        """The data of these symbols goes on; said before the tick that closed the gap."""

    def delisted(self, instruments: list[Instrument]) -> None:
        """The broker has given the tokens of these to others: nobody holds them any longer."""

    def filled(self, ticks: list[Tick]) -> None:
        """Snapshots of symbols whose data has stopped, from another source than the feed."""


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


class FirstTicks(PoolListener):
    """Crosses off instruments as their first ticks come."""

    def __init__(self, waiting: dict[Instrument, None]) -> None:
        self._waiting = waiting
        self.done = asyncio.Event()
        if not waiting:
            self.done.set()

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if state is SymbolState.LIVE:
            for instrument in instruments:
                self._waiting.pop(instrument, None)
            if not self._waiting:
                self.done.set()
