"""A pool and a scripted broker in virtual time, with the usual checks at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from brokerpool import Mode, WebSocketPool
from brokerpool.brokers.limits import RateWindow
from brokerpool.brokers.login import Provider
from brokerpool.feed.states import SymbolState
from brokerpool.instruments import Token
from brokerpool.testing.scripted_broker import ScriptedBroker
from brokerpool.testing.scripted_feed import ScriptedFeed
from brokerpool.testing.virtual_loop import VirtualLoop

#: The figures that the pool keeps to with Kite.
KITE_WINDOWS: dict[str, Any] = {
    "batch_size": 200,
    "control_messages": (RateWindow(10, 0.5),),
    "account_messages": (RateWindow(20, 0.5),),
    "dials": (RateWindow(3, 1.0), RateWindow(30, 60.0)),
}


@dataclass(slots=True)
class Stage:
    """Who plays."""

    loop: VirtualLoop
    feed: ScriptedFeed
    broker: ScriptedBroker
    pool: WebSocketPool

    def demanded(self) -> dict[Token | None, list[Mode | None]]:
        """Return what the pool's owners want: token -> highest mode, once."""
        demand = self.pool.demand
        return {self.feed.book.token(i): [demand.mode(i)] for i in demand.instruments()}

    def all_live(self) -> bool:
        """Tell whether every wanted symbol is served and ticks."""
        return all(self.pool.state(i) is SymbolState.LIVE for i in self.pool.demand.instruments())

    async def until(self, condition: Callable[[], object], seconds: float) -> float:
        """Return how long it took until the condition held; fail when it does not in time."""
        begun = self.loop.time()
        while not condition():
            assert self.loop.time() - begun < seconds, f"not within {seconds:g} s"
            await asyncio.sleep(0.05)
        return self.loop.time() - begun

    def taken(self) -> int:
        """Return how many of the account's permits are taken: sockets that the pool dials, has, or closes."""
        return self.pool._account.budget.sockets


@asynccontextmanager
async def stage(
    seed: int = 1,
    *,
    symbols: int = 30,
    per_connection: int = 10,
    connections: int = 3,
    limits: dict[str, Any] | None = None,
    broker: dict[str, Any] | None = None,
    provider: Provider | None = None,
    greets: bool = False,
    **pool: Any,
) -> AsyncIterator[Stage]:
    """Give a stage; in the end pool and broker close, and nothing may be left or have been exceeded."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    random = Random(seed)
    feed = ScriptedFeed(
        symbols,
        provider,
        random=random,
        greets=greets,
        **{"symbols_per_connection": per_connection, "max_connections": connections, **(limits or {})},
    )
    tokens = range(1, symbols + 1)
    scripted = ScriptedBroker(
        random, feed.limits, tokens, feed.dialect, wall_clock=loop.wall_clock, **(broker or {})
    )
    subject = WebSocketPool(
        feed,
        max_symbols=per_connection,
        max_connections=connections,
        random=random,
        dial=scripted.dial,
        wall_clock=loop.wall_clock,
        **pool,
    )
    scene = Stage(loop, feed, scripted, subject)
    try:
        yield scene
    finally:
        await subject.close()
        await scripted.close()
    assert scene.taken() == 0, "a permit is taken by nobody"
    assert scripted.ledger.violations == []
