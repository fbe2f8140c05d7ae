"""Everybody who listens to a pool, told as one: what one of them raises changes nothing for the others."""

from __future__ import annotations

from collections.abc import Iterator

from brokerpool.feed.gaps import Gap
from brokerpool.feed.states import SymbolState
from brokerpool.feed.stream import PoolListener
from brokerpool.fence import Fence, check_plain, name_of
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

_TOLD = (
    *("ticked", "symbols_changed", "connection_changed"),
    *("gaps_opened", "gaps_closed", "delisted", "filled"),
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

    def __len__(self) -> int:
        return len(self._all)

    def _present(self) -> Iterator[PoolListener]:
        return (listener for listener in self._all if self._listens(listener))

    def _listens(self, listener: PoolListener) -> bool:
        return any(known is listener for known in self._all)
