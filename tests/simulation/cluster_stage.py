"""Processes of a cluster in one virtual loop: each can be stopped, killed, cut off, and has its own clock."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, TypeVar

from brokerpool import Instrument, WebSocketPool
from brokerpool.brokers.login import Credentials
from brokerpool.cluster.demand_state import hashed
from brokerpool.cluster.feed_node import FeedNode
from brokerpool.cluster.remote_upstream import RemoteUpstream
from brokerpool.feed.sending_permission import Permission
from brokerpool.testing.scripted_broker import ScriptedBroker
from brokerpool.testing.scripted_feed import ScriptedFeed
from brokerpool.testing.scripted_network import Pipe, ScriptedLink
from brokerpool.testing.scripted_socket import Socket
from brokerpool.testing.virtual_loop import VirtualLoop
from brokerpool.testing.wire_dialect import Heard, Message
from brokerpool.transport import Link, LinkHandler
from tests.virtual_bus import VirtualBus, VirtualServer

ACCOUNT = "acc"
SHARDS = 2
#: How far a process' clock may run ahead or behind, as a share of the time.
SKEW = 0.02

T = TypeVar("T")
_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class Processes:
    """Holds back what processes that are stopped would do, until they go on."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        loop.before_step = self._hold_back
        self._held: dict[Process, list[asyncio.Handle]] = {}

    def stop(self, process: Process) -> None:
        """Have it do nothing more, as SIGSTOP does."""
        self._held.setdefault(process, [])

    def go_on(self, process: Process) -> None:
        """Have it do all that it could not, in the order in which it became due."""
        for handle in self._held.pop(process, ()):
            handle._cancelled = False
            self._loop._ready.append(handle)

    def stopped(self, process: Process) -> bool:
        """Tell whether it does nothing."""
        return process in self._held

    def _hold_back(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(_process)  # type: ignore[attr-defined]
        if process is not None and (held := self._held.get(process)) is not None:
            held.append(handle)
            handle._cancelled = True  # for this turn: it is put back as it is


class Process:
    """One process: what is made and begun in it is its own, and stands still while it is stopped."""

    def __init__(self, name: str, server: VirtualServer, random: Random) -> None:
        self.name = name
        self._context = contextvars.copy_context()
        self._context.run(_process.set, self)
        self.bus = self.run(lambda: VirtualBus(server, name))
        loop = asyncio.get_running_loop()
        rate, ahead = 1 + random.uniform(-SKEW, SKEW), random.uniform(0, 1e6)
        self.clock: Callable[[], float] = lambda: loop.time() * rate + ahead

    def run(self, act: Callable[[], T]) -> T:
        """Do something in this process."""
        return self._context.run(act)

    def begin(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin a task in this process."""
        return self._context.run(asyncio.get_running_loop().create_task, work)


class _ProcessPipe(Pipe):
    """A pipe whose far end is in a process, or in none."""

    def __init__(self, random: Random, latency: float, context: contextvars.Context) -> None:
        super().__init__(random, latency)
        self._context = context

    def _arm(self) -> None:
        if self._timer is None and self._under_way and not self.held:
            self._timer = self._loop.call_at(self._under_way[0][0], self._arrive, context=self._context)


class WitnessedBroker(ScriptedBroker):
    """A broker that knows in which epoch each dial and message was made: an earlier one may not follow."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.epoch = 0
        self.makers: dict[int, Process | None] = {}
        self._own = contextvars.copy_context()

    def heard_in(self, epoch: int, what: str) -> None:
        """Note that something came from the holder of this epoch."""
        if epoch < self.epoch:
            self.ledger.violate(self.now(), f"{what} of epoch {epoch} after one of {self.epoch}")
        self.epoch = max(self.epoch, epoch)

    def dial_in(self, epoch: Callable[[], int]) -> Callable[..., Coroutine[Any, Any, Link]]:
        """Return the dial of a pool that was opened in an epoch."""

        async def dial(url: str, handler: LinkHandler, **rest: Any) -> Link:
            self.heard_in(epoch(), "a dial")
            token = _epoch.set(epoch())
            try:
                return await self.dial(url, handler, **rest)
            finally:
                _epoch.reset(token)

        return dial

    def kill_sockets_of(self, process: Process) -> None:
        """End the connections of a process that is no more."""
        for socket in [s for s in self.sockets if self.makers.get(s.number) is process]:
            socket.kill()

    def _pipes(self, latency: float) -> tuple[Pipe, Pipe]:
        here = contextvars.copy_context()
        return _ProcessPipe(self._random, latency, self._own), _ProcessPipe(self._random, latency, here)

    def _accept(self, link: ScriptedLink, token: str) -> Socket:
        socket = super()._accept(link, token)
        self.makers[socket.number] = _process.get()
        epoch, sent = _epoch.get(), socket.sent

        def witnessed(message: Message) -> Heard:
            self.heard_in(epoch, "a message")
            return sent(message)

        socket.sent = witnessed  # type: ignore[method-assign]
        return socket


_epoch: contextvars.ContextVar[int] = contextvars.ContextVar("epoch", default=0)


@dataclass(slots=True)
class Account:
    """One account: its limits, its broker, and its feeds in all nodes that ever opened it."""

    name: str
    limits: dict[str, Any]
    symbols: int
    broker: WitnessedBroker
    feeds: list[ScriptedFeed] = field(default_factory=list)
    #: What the operator has given last; none before the first new one.
    given: Credentials | None = None

    def feed(self) -> ScriptedFeed:
        """Return what a node opens of it, with the login that the operator has given last, held or not."""
        feed = scripted(self.symbols, self.limits)
        if self.given is not None:
            feed.login.renew(self.given)
        self.feeds.append(feed)
        return feed

    def die(self) -> None:
        """Let its token be refused from now on, and end its sockets: the pool parks."""
        self.broker.expire(f"{self.broker.token}+", politely=True)

    def log_in(self) -> None:
        """Bring the token that is valid now to whoever holds the account, and will."""
        self.given = Credentials(self.broker.token)
        for feed in self.feeds:
            feed.login.renew(self.given)


def scripted(symbols: int, limits: Mapping[str, Any]) -> ScriptedFeed:
    """Return the feed of an account with these limits."""
    return ScriptedFeed(symbols, random=Random(1), **limits)


def scripted_account(
    name: str,
    random: Random,
    symbols: int,
    limits: dict[str, Any],
    market: Account | None = None,
    **broker: Any,
) -> Account:
    """Make an account; its broker has the trades of another one's where that is given as the market."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    feed = scripted(symbols, limits)
    tokens = range(1, symbols + 1)
    made = WitnessedBroker(random, feed.limits, tokens, feed.dialect, wall_clock=loop.wall_clock, **broker)
    if market is not None:
        made._every, made._phase = market.broker._every, market.broker._phase
    return Account(name, limits, symbols, made)


class NodeProcess(Process):
    """A feed node and its pools."""

    def __init__(self, name: str, server: VirtualServer, random: Random, accounts: Sequence[Account]) -> None:
        super().__init__(name, server, random)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        wall_clock = loop.wall_clock

        def opened(account: Account, permission: Permission) -> WebSocketPool:
            epoch = self.node._keepers[account.name].lease.epoch
            feed = account.feed()
            return WebSocketPool(
                feed,
                name=account.name,
                max_symbols=feed.limits.symbols_per_connection,
                max_connections=feed.limits.max_connections,
                linger=1.0,
                grace=0.5,
                dial=account.broker.dial_in(lambda: epoch),
                permission=permission,
                random=Random(f"{name} {epoch}"),
                wall_clock=wall_clock,
            )

        self.node = self.run(
            lambda: FeedNode(
                self.bus,
                {account.name: partial(opened, account) for account in accounts},
                node=name,
                shards=SHARDS,
                wall_clock=wall_clock,
                monotonic=self.clock,
            )
        )
        self.run(self.node.start)

    def holds(self, account: str) -> bool:
        """Tell whether anything may leave for the account's broker now, by its own clock."""
        return self.node._keepers[account].holds()


class GatewayProcess(Process):
    """A gateway's end of the cluster."""

    def __init__(
        self, name: str, server: VirtualServer, random: Random, accounts: Sequence[str] = (ACCOUNT,)
    ) -> None:
        super().__init__(name, server, random)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        clock = loop.wall_clock
        self.upstream = self.run(
            lambda: RemoteUpstream(self.bus, accounts, gateway=name, shards=SHARDS, wall_clock=clock)
        )

    def wanted(self) -> set[Instrument]:
        """Return what is wanted here, wants under way included."""
        return set(self.upstream._accounts.table.ways)

    def epoch(self, instrument: Instrument) -> int:
        """Return the epoch of the holder whose ticks of an instrument pass."""
        account = self.upstream._accounts.placement.feeding(instrument).account
        return account._shards[hashed(instrument, SHARDS)].view.epoch
