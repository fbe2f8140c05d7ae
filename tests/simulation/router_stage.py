"""Two accounts under one router in virtual time, for the tests of the router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import wraps
from random import Random
from typing import Any

from brokerpool import (
    Instrument,
    Router,
)
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.testing.virtual_loop import run
from brokerpool.ticks import Tick
from tests.simulation.accounts_stage import Accounts, account, over


def played(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Play a test in virtual time."""

    @wraps(test)
    def play() -> None:
        run(test)

    del play.__wrapped__  # it takes no fixtures
    return play


@asynccontextmanager
async def two(
    symbols: int = 12,
    places: tuple[int, int] = (8, 8),
    *,
    exchanges: dict[str, set[str]] | None = None,
    listed: tuple[Callable[[Instrument], bool], ...] = (lambda _: True, lambda _: True),
) -> AsyncIterator[Accounts]:
    """Run a router over "first" and "second", which have so many places each on one socket."""
    random = Random(7)
    accounts = [
        account(name, random, symbols, places=size, connections=1, listed=lists)
        for name, size, lists in zip(("first", "second"), places, listed, strict=True)
    ]
    async with over(accounts, exchanges=exchanges) as scene:
        yield scene


class Heard(PoolListener):
    """Writes down what is told."""

    def __init__(self, router: Router) -> None:
        self.ticks: list[Tick] = []
        self.opened: list[Gap] = []
        self.closed: list[Gap] = []
        self.rerouted_to: list[tuple[Instrument, str, str]] = []
        self.refusals: list[tuple[list[Instrument], str]] = []
        self.gone: list[Instrument] = []
        router.listen(self)

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += ticks

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.opened += gaps

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.closed += gaps

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        self.rerouted_to += [(i, account, broker) for i in instruments]

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        self.refusals.append((instruments, reason))

    def delisted(self, instruments: list[Instrument]) -> None:
        self.gone += instruments
