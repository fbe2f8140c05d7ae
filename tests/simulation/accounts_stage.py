"""Several accounts at scripted brokers of their own, and a router over them, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

from brokerpool import Instrument, WebSocketPool
from brokerpool.brokers.capacity import ModeRule
from brokerpool.brokers.login import Credentials
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.router import Router
from brokerpool.feed.router_accounts import Route
from brokerpool.instruments import TokenBook
from brokerpool.testing.scripted_broker import ScriptedBroker
from brokerpool.testing.scripted_feed import ScriptedDialect, ScriptedFeed, ScriptedWire
from brokerpool.testing.virtual_loop import VirtualLoop, until
from brokerpool.testing.wire_dialect import Quote


class _Late(ScriptedDialect):
    """A broker that is behind."""

    def __init__(self, lag_ms: int) -> None:
        super().__init__()
        self._lag_ms = lag_ms

    def ticks(self, quotes: Sequence[Quote], at_ms: int) -> list[bytes]:
        return super().ticks(quotes, at_ms - self._lag_ms)


class _Wire(ScriptedWire):
    """The exchange's time is the volume: it rises with each trade, and is the same at another broker."""

    def volume(self, number: int, at_ms: int) -> int:
        return at_ms


class _Feed(ScriptedFeed):
    def wire(self) -> ScriptedWire:
        return _Wire(beats=self.limits.heartbeat_seconds > 0)


@dataclass(slots=True)
class Account:
    """One account: what a router knows of it, and its broker."""

    name: str
    feed: ScriptedFeed
    broker: ScriptedBroker
    pool: WebSocketPool

    def die(self) -> None:
        """Let its token be refused from now on, and end its sockets: the pool parks."""
        self.broker.expire(f"{self.broker.token}+", politely=True)

    def log_in(self) -> None:
        """Bring the token that is valid now."""
        self.feed.login.renew(Credentials(self.broker.token))

    def served(self) -> set[Instrument]:
        """Return what its broker serves."""
        return {i for token in self.broker.served() if (i := self.feed.book.instrument(token)) is not None}


@dataclass(slots=True)
class Accounts:
    """Who plays."""

    loop: VirtualLoop
    accounts: list[Account]
    router: Router

    def __getitem__(self, number: int) -> Account:
        return self.accounts[number]

    @property
    def instruments(self) -> list[Instrument]:
        """What the first account lists."""
        return self.accounts[0].feed.instruments

    def live(self, instruments: Sequence[Instrument] | None = None) -> bool:
        """Tell whether all of these, or all that are wanted, tick and are in no gap."""
        some = self.router.demand.instruments() if instruments is None else instruments
        return all(self.router.state(i) is SymbolState.LIVE and self.router.gap(i) is None for i in some)

    def at(self, number: int) -> set[Instrument]:
        """Return what is wanted and served by this account at present."""
        name = self.accounts[number].name
        return {i for i in self.router.demand.instruments() if self.router.account(i) == name}

    async def until(self, condition: Callable[[], object], seconds: float, what: str = "") -> float:
        """Return how long it took until the condition held; raises AssertionError when it is too long."""
        return await until(condition, seconds, what)


def account(
    name: str,
    random: Random,
    symbols: int,
    *,
    places: int = 10,
    connections: int = 2,
    listed: Callable[[Instrument], bool] = lambda _: True,
    lag_ms: int = 0,
    modes: ModeRule | None = None,
    broker: dict[str, Any] | None = None,
    **pool: Any,
) -> Account:
    """Make an account, with tokens of its own; its exchange's times are `lag_ms` behind those of others."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    limits: dict[str, Any] = {"symbols_per_connection": places, "max_connections": connections}
    limits["modes"] = modes
    feed = _Feed(symbols, random=random, **limits)
    feed.name = f"broker-{name}"
    first = 1000 * (1 + sum(name.encode()))
    feed.book = TokenBook((i, first + n) for n, i in enumerate(feed.instruments) if listed(i))
    tokens = [token for i in feed.book if (token := feed.book.token(i)) is not None]
    market = {"wall_clock": loop.wall_clock, **(broker or {})}
    scripted = ScriptedBroker(random, feed.limits, tokens, partial(_Late, lag_ms), **market)
    made = WebSocketPool(
        feed,
        name=name,
        max_symbols=places,
        max_connections=connections,
        random=random,
        dial=scripted.dial,
        wall_clock=loop.wall_clock,
        **{"grace": 3.0, **pool},
    )
    return Account(name, feed, scripted, made)


@asynccontextmanager
async def over(
    accounts: list[Account], *, grace: float = 3.0, exchanges: dict[str, set[str]] | None = None
) -> AsyncIterator[Accounts]:
    """Give a router over the accounts; in the end all closes: nothing may be left or have been exceeded."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    rules = exchanges or {}
    routes = [Route(a.name, a.pool, frozenset(rules.get(a.name, ()))) for a in accounts]
    router = Router(routes, grace=grace, wall_clock=loop.wall_clock)
    try:
        yield Accounts(loop, accounts, router)
    finally:
        await router.close()
        for each in accounts:
            await each.broker.close()
    for each in accounts:
        assert each.pool._account.budget.sockets == 0, f"{each.name}: a permit is taken by nobody"
        assert not each.broker.ledger.violations, "; ".join(each.broker.ledger.violations[:3])
