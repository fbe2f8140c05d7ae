"""A pool on a scripted broker in virtual time, with the usual checks at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any, Generic, TypeVar

from brokerpool.brokers.account import Account
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.pool import WebSocketPool
from brokerpool.instruments import Token
from brokerpool.testing.scripted_broker import ScriptedBroker
from brokerpool.testing.virtual_loop import VirtualLoop, until
from brokerpool.testing.wire_dialect import Dialect, served_mode
from brokerpool.ticks import Mode

AccountT = TypeVar("AccountT", bound=Account)


@dataclass(slots=True)
class Stage(Generic[AccountT]):
    """Who plays: the loop, an adapter's account, the broker, and the pool between them."""

    loop: VirtualLoop
    feed: AccountT
    broker: ScriptedBroker
    pool: WebSocketPool

    def demanded(self) -> dict[Token | None, list[Mode | None]]:
        """Return what the pool's owners want: token -> highest mode, once."""
        demand = self.pool.demand
        return {self.feed.book.token(i): [demand.mode(i)] for i in demand.instruments()}

    def due(self) -> dict[Token | None, list[Mode]]:
        """Return what the broker ought to serve for that: token -> the mode that it has for it, once."""
        dialect = self.broker.dialect()
        return {t: [served_mode(dialect, mode) for mode in m if mode] for t, m in self.demanded().items()}

    def all_live(self) -> bool:
        """Tell whether every wanted symbol is served and ticks."""
        return all(self.pool.state(i) is SymbolState.LIVE for i in self.pool.demand.instruments())

    async def until(self, condition: Callable[[], object], seconds: float, what: str = "") -> float:
        """Return how long it took until the condition held; raises AssertionError when it is too long."""
        return await until(condition, seconds, what)

    def taken(self) -> int:
        """Return how many of the account's permits are taken: sockets that the pool dials, has, or closes."""
        return self.pool._account.budget.sockets


@asynccontextmanager
async def stage(
    feed: AccountT,
    dialect: Callable[[], Dialect],
    *,
    random: Random,
    max_symbols: int,
    max_connections: int,
    broker: Mapping[str, Any] | None = None,
    **pool: Any,  # noqa: ANN401  (each of the pool's own type)
) -> AsyncIterator[Stage[AccountT]]:
    """Give a stage, in a coroutine that `run` plays; `broker` and `pool` are further arguments of these two.

    In the end pool and broker close; raises AssertionError when a socket or a permit is left, and for each
    limit that was exceeded.
    """
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError("a stage stands in virtual time: play it with brokerpool.testing.run")
    tokens = [token for i in feed.book if (token := feed.book.token(i)) is not None]
    given = {"token": feed.login.credentials.access_token, **(broker or {})}
    scripted = ScriptedBroker(random, feed.limits, tokens, dialect, wall_clock=loop.wall_clock, **given)
    subject = WebSocketPool(
        feed,
        max_symbols=max_symbols,
        max_connections=max_connections,
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
    assert scripted.ledger.violations == [], "; ".join(scripted.ledger.violations[:3])
