"""Waiting for the first ticks of symbols."""

from __future__ import annotations

import asyncio

from brokerpool.feed.listeners import PoolListener, Source
from brokerpool.feed.states import SymbolState
from brokerpool.instruments import Instrument


async def arrived(source: Source, waiting: dict[Instrument, None], timeout: float) -> None:
    """Return once each of these is live; takes those that are out of `waiting`. Raises TimeoutError."""
    watch = FirstTicks(waiting)
    source.listen(watch)
    try:
        async with asyncio.timeout(timeout):
            await watch.done.wait()
    finally:
        source.unlisten(watch)


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
