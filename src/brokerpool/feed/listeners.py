"""Who listens to a pool and what each is told: what one of them raises changes nothing for the others."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

from brokerpool import argument_checks
from brokerpool.callback_isolation import Fence, check_plain, name_of
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick


class PoolListener:
    """What the pool tells whoever listens; calls come on the event loop and must return quickly.

    What a listener raises is logged and counted, and changes nothing for the pool and the other listeners.
    All of them get the same list, which must not be changed.
    """

    def ticked(self, ticks: list[Tick]) -> None:
        """Ticks of one broker message, or of several that came together, in the broker's order."""

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        """These symbols have reached the state."""

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        """The broker does not serve these symbols, and said why; they are asked for again on a new socket."""

    def order_updated(self, update: str | bytes) -> None:
        """Something has become of an order of the account; this is what the broker sent, as it sent it."""

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

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        """From now on these are fed by this account at this broker; said before its first tick."""


class Source(Protocol):
    """What can be listened to."""

    def listen(self, listener: PoolListener) -> None: ...
    def unlisten(self, listener: PoolListener) -> None: ...


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


class TickStreams:
    """The iterators over the ticks of one source that are open."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._open: list[TickStream] = []

    @contextlib.contextmanager
    def stream(self, size: int) -> Iterator[TickStream]:
        """Give an iterator that is fed until the block ends."""
        stream = TickStream(argument_checks.whole("size", size, 1))
        self._source.listen(stream)
        self._open.append(stream)
        try:
            yield stream
        finally:
            self._source.unlisten(stream)
            self._open.remove(stream)

    def end(self) -> None:
        """End them all once everything held has been taken."""
        for stream in self._open:
            stream.end()

    def __len__(self) -> int:
        return len(self._open)


_TOLD = (
    *("ticked", "symbols_changed", "connection_changed"),
    *("refused", "order_updated"),
    *("gaps_opened", "gaps_closed", "delisted", "filled", "rerouted"),
)


class Listeners(PoolListener):
    """Passes everything on, in the order in which the listeners came.

    They may come and go while they are told: one that has been removed is told nothing more, and one that has
    come is told what comes next.
    """

    def __init__(self, fence: Fence) -> None:
        self._fence = fence
        self._all: tuple[PoolListener, ...] = ()

    def add(self, listener: PoolListener) -> None:
        """Tell the listener from now on. Raises TypeError for one that cannot be told."""
        check_plain(**{told: getattr(listener, told, None) for told in _TOLD})
        self._all = (*self._all, listener)

    def remove(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that is not there is ignored."""
        self._all = tuple(known for known in self._all if known is not listener)

    def ticked(self, ticks: list[Tick]) -> None:
        # Written out, unlike the others: it is called for every message of the feed.
        for listener in (listeners := self._all):
            if listeners is not self._all and not self._listens(listener):
                continue
            try:
                listener.ticked(ticks)
            except BaseException as error:
                self._fence.caught(name_of(listener.ticked), error)

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        for listener in self._present():
            self._fence.call(listener.symbols_changed, instruments, state, otherwise=None)

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        for listener in self._present():
            self._fence.call(listener.refused, instruments, reason, otherwise=None)

    def order_updated(self, update: str | bytes) -> None:
        for listener in self._present():
            self._fence.call(listener.order_updated, update, otherwise=None)

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        for listener in self._present():
            self._fence.call(listener.connection_changed, name, state, reason, otherwise=None)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for listener in self._present():
            self._fence.call(listener.gaps_opened, gaps, otherwise=None)

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for listener in self._present():
            self._fence.call(listener.gaps_closed, gaps, otherwise=None)

    def delisted(self, instruments: list[Instrument]) -> None:
        for listener in self._present():
            self._fence.call(listener.delisted, instruments, otherwise=None)

    def filled(self, ticks: list[Tick]) -> None:
        for listener in self._present():
            self._fence.call(listener.filled, ticks, otherwise=None)

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        for listener in self._present():
            self._fence.call(listener.rerouted, instruments, account, broker, otherwise=None)

    def __len__(self) -> int:
        return len(self._all)

    def _present(self) -> Iterator[PoolListener]:
        return (listener for listener in self._all if self._listens(listener))

    def _listens(self, listener: PoolListener) -> bool:
        return any(known is listener for known in self._all)
