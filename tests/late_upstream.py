"""A second upstream: a pool behind a line on which answers overtake each other and news takes its time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

from brokerpool import BrokerpoolError, Instrument, Mode, TokenBook, WebSocketPool
from brokerpool.callback_isolation import Fence
from brokerpool.event_journal import Journal
from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import Listeners, PoolListener
from brokerpool.feed.refusals import Subscribed
from brokerpool.feed.symbol_explanation import AccountStatus
from brokerpool.feed.upstream_interface import Answer, Inspector
from brokerpool.ticks import Tick

#: Seconds between which an answer is late, so that those asked for first are not answered first.
LATEST = 0.008
#: Seconds by which news is late.
NEWS = 0.003


class LateUpstream:
    """The pool is asked when the answer is due; until then it knows nothing of the want.

    Both is allowed to an upstream: to take what is wanted at once and say so later, or to take it later.
    """

    def __init__(self, pool: WebSocketPool, random: Random | None = None) -> None:
        self.pool = pool
        self._random = random or Random(1)
        self._listeners = Listeners(Fence("late upstream"))
        #: What the pool has told and the listeners have not heard.
        self.untold: deque[Callable[[], None]] = deque()
        self._telling: asyncio.TimerHandle | None = None
        #: False holds every answer back until it is given by hand.
        self.answers = True
        #: True has the pool asked at once, and only the answer late.
        self.takes_at_once = False
        #: What is to be done for the answers that are held back, in the order of the wants.
        self.held_back: list[Callable[[], None]] = []
        self._line = _Line(self._later, self._listeners)
        pool.listen(self._line)

    def want(self, owner: str, instruments: Sequence[Instrument], mode: Mode, priority: int = 0) -> Answer:
        loop = asyncio.get_running_loop()
        answer: Answer = loop.create_future()
        ask = partial(self.pool.subscribe, [*instruments], mode, owner=owner, priority=priority, partial=True)
        if self.takes_at_once:
            ask = partial(_same, ask())
        if self.answers:
            loop.call_later(self._random.uniform(0.0, LATEST), _answer, answer, ask)
        else:
            self.held_back.append(partial(_answer, answer, ask))
        return answer

    def release(self, owner: str, instruments: Sequence[Instrument], mode: Mode | None = None) -> object:
        return self.pool.release(owner, instruments, mode)

    def hold_open(self, on: bool) -> None:
        self.pool.hold_open(on)

    def listen(self, listener: PoolListener) -> None:
        self._listeners.add(listener)

    def unlisten(self, listener: PoolListener) -> None:
        self._listeners.remove(listener)

    async def close(self) -> None:
        self.pool.unlisten(self._line)
        self.untold.clear()
        if self._telling is not None:
            self._telling.cancel()
        await self.pool.close()

    def _later(self, tell: Callable[[], None]) -> None:
        self.untold.append(tell)
        if self._telling is None:
            self._telling = asyncio.get_running_loop().call_later(NEWS, self._tell)

    def _tell(self) -> None:
        self._telling = None
        while self.untold:
            self.untold.popleft()()

    # -- what is known here as well -----------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.pool.name

    @property
    def depth_levels(self) -> int:
        return self.pool.depth_levels

    @property
    def book(self) -> TokenBook:
        return self.pool.book

    @property
    def journal(self) -> Journal:
        return self.pool.journal

    @property
    def demand(self) -> Demand:
        return self.pool.demand

    @property
    def inspection(self) -> Inspector:
        return self.pool.inspection

    @property
    def connected(self) -> bool:
        return self.pool.connected

    @property
    def symbols_down(self) -> int:
        return self.pool.symbols_down

    @property
    def symbols_unserved(self) -> int:
        return self.pool.symbols_unserved

    def gap(self, instrument: Instrument) -> Gap | None:
        return self.pool.gap(instrument)

    def broker(self, instrument: Instrument) -> str:
        return self.pool.broker(instrument)

    def account(self, instrument: Instrument) -> str:
        return self.pool.account(instrument)

    def accounts(self) -> Sequence[AccountStatus]:
        return self.pool.accounts()

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        return self.pool.get_pool_stats()

    def rotate(self, name: str) -> int:
        return self.pool.rotate(name)

    def drain(self, name: str) -> int:
        return self.pool.drain(name)


def _same(subscribed: Subscribed) -> Subscribed:
    return subscribed


def _answer(answer: Answer, ask: Callable[[], Subscribed]) -> None:
    """Ask the pool, and tell what it says."""
    try:
        answer.set_result(ask())
    except BrokerpoolError as error:
        answer.set_exception(error)


class _Line(PoolListener):
    """Hands on what the pool tells, each thing as a call that is made later."""

    def __init__(self, later: Callable[[Callable[[], None]], None], to: PoolListener) -> None:
        self._later = later
        self._to = to

    def ticked(self, ticks: list[Tick]) -> None:
        self._later(partial(self._to.ticked, ticks))

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self._later(partial(self._to.symbols_changed, instruments, state))

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._later(partial(self._to.connection_changed, name, state, reason))

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self._later(partial(self._to.gaps_opened, gaps))

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self._later(partial(self._to.gaps_closed, gaps))

    def delisted(self, instruments: list[Instrument]) -> None:
        self._later(partial(self._to.delisted, instruments))

    def filled(self, ticks: list[Tick]) -> None:
        self._later(partial(self._to.filled, ticks))

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        self._later(partial(self._to.rerouted, instruments, account, broker))
