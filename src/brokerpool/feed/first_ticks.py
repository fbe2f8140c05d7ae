"""Waiting for the first ticks of symbols."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from brokerpool import argument_checks
from brokerpool.argument_checks import Instruments
from brokerpool.feed import refusals
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener, Source
from brokerpool.instruments import Instrument, TokenBook


class TickSource(Source, Protocol):
    """What can be listened to, and asked how far a symbol has come."""

    @property
    def book(self) -> TokenBook: ...
    def state(self, instrument: Instrument) -> SymbolState | None: ...


async def arrived(
    source: TickSource, instruments: Instruments, timeout: float, *, name: str, loads: Callable[[], str]
) -> None:
    """Return once each of the instruments is live, see `WebSocketPool.wait_live`.

    Errors tell the source's name, and how full its connections are.
    """
    given = argument_checks.instruments(instruments)
    argument_checks.seconds("timeout", timeout)
    states = {i: source.state(i) for i in given}
    waiting = {i: None for i, state in states.items() if state is not SymbolState.LIVE}
    strangers = [i for i in waiting if states[i] is None and source.book.token(i) is None]
    if strangers:
        raise refusals.unknown_error(name, refusals.unlisted(name, strangers))
    watch = FirstTicks(waiting)
    source.listen(watch)
    try:
        async with asyncio.timeout(timeout):
            await watch.done.wait()
    except TimeoutError:
        raise refusals.not_live({i: source.state(i) for i in waiting}, timeout, loads()) from None
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
