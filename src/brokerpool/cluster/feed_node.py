"""FeedNode: holds accounts by lease, merges what gateways want of them, and tells what their brokers send."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, TypeAlias

from brokerpool.cluster import subjects as names
from brokerpool.cluster.assignment import assigned
from brokerpool.cluster.bus import Bus, BusError, Entry, Subscription
from brokerpool.cluster.durations import SHARDS, Timing
from brokerpool.cluster.held_account import HeldAccount, Surroundings
from brokerpool.cluster.lease_keeper import LeaseKeeper
from brokerpool.cluster.lease_rules import Lease
from brokerpool.cluster.messages import FORMAT, Decoder, DemandSlice, GatewaySign, NodeSign, encode
from brokerpool.cluster.presence import Presence
from brokerpool.cluster.subjects import SUBJECTS, Subjects
from brokerpool.feed.sending_permission import Permission
from brokerpool.feed.upstream_interface import Upstream

logger = logging.getLogger("brokerpool.cluster")

#: Makes the upstream of an account: a pool, or a router, that asks the permission before anything leaves.
#: Called on the loop, and must return quickly.
Opened: TypeAlias = Callable[[Permission], Upstream]

#: An account that nobody else took in time is kept for so long, whoever is to have it.
_KEPT_SECONDS = 30.0
#: Between two looks at all accounts.
_LOOK_SECONDS = 0.1
#: What a successor whose sockets are live waits for the first tick of each symbol; many have none for long.
_SETTLE_SECONDS = 1.0
_slice, _node_sign, _gateway_sign = Decoder(DemandSlice), Decoder(NodeSign), Decoder(GatewaySign)


class FeedNode:
    """One of several processes that can hold the accounts; at no moment do two of them hold the same one.

    Everything happens on one event loop. `start` returns at once; accounts are taken when their leases are
    free. `close` hands every account over, as far as others can take them, within `Timing.hand_over` and a
    few seconds; cancelled, it lets go of everything at once.
    """

    def __init__(
        self,
        bus: Bus,
        accounts: Mapping[str, Opened],
        *,
        node: str,
        timing: Timing | None = None,
        subjects: Subjects = SUBJECTS,
        shards: int = SHARDS,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """`node` must be the name of this process alone, also of one that was here before it.

        `accounts` are those for which it has credentials, by the names that they have all over the cluster.
        `monotonic` is the loop's clock by default, and must go on while the process is stopped.
        """
        self.node = node
        #: What it holds now, by account; to be read only.
        self.held: dict[str, HeldAccount] = {}
        self._loop = asyncio.get_running_loop()
        self._opened = dict(accounts)
        self._timing = timing = timing or Timing()
        self._clock = monotonic or self._loop.time
        self._around = Surroundings(bus, node, subjects, timing, shards, wall_clock)
        leases = bus.store(names.LEASES)
        self._keepers = {
            account: LeaseKeeper(account, Lease(node, timing), leases, self, timing, self._clock, wall_clock)
            for account in accounts
        }
        self._nodes, self._gateways = Presence(timing.lease), Presence(timing.gateway_life)
        self._able: dict[str, frozenset[str]] = {}
        self._wishes: dict[str, str] = {}
        #: Signs of gateways: whether each hears orders.
        self._signs: dict[str, GatewaySign] = {}
        self._slices: dict[str, tuple[str, DemandSlice]] = {}
        self._subscriptions: list[Subscription] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._moves: dict[str, asyncio.Task[None]] = {}
        #: Accounts that nobody else took in time, and until when they are not given away again.
        self._kept_until: dict[str, float] = {}
        self._count = 0
        self._leaving = False
        self._away_since: float | None = None

    # -- beginning and end --------------------------------------------------------------------------------

    def start(self) -> None:
        """Take part from now on."""
        bus, nodes = self._around.bus, self._around.bus.store(names.NODES)
        self._subscriptions = [
            nodes.watch("node.", self._node_changed),
            nodes.watch("wish.", self._wish_changed),
            bus.store(names.GATEWAYS).watch("", self._gateway_changed),
            *(
                bus.store(names.DEMAND).watch(names.demand_prefix(account), partial(self._wanted, account))
                for account in self._opened
            ),
            bus.on_connection(self._connection_changed),
        ]
        for keeper in self._keepers.values():
            keeper.start()
        self._begin(self._give_signs(), "signs of life")
        self._begin(self._look(), "look")

    async def close(self) -> None:
        """Hand over what is held, close every socket and leave."""
        self._leaving = True
        try:
            with contextlib.suppress(BusError, TimeoutError):
                async with asyncio.timeout(self._timing.hand_over + self._timing.lease):
                    await self._sign()
                    if moves := [self._move(account) for account in self.held]:
                        await asyncio.wait(moves)
        finally:
            await self._end()

    async def _end(self) -> None:
        for subscription in self._subscriptions:
            subscription.close()
        for keeper in self._keepers.values():
            keeper.end()  # and what is held still is lost with it
        for task in list(self._tasks):
            if task.get_name() != _CLOSING:
                task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    # -- leases -------------------------------------------------------------------------------------------

    def taken(self, account: str) -> None:
        """Open the account: it is this node's now."""
        keeper = self._keepers[account]
        lease, since = keeper.lease, self._clock()
        permission = Permission(
            keeper.holds,
            keeper.dialled,
            lease.taken.dialled,
            lease.taken.untold_seconds,
            lease.taken.quiet_seconds,
            partial(self._left_open, account, since),
        )
        held = HeldAccount(account, lease.epoch, self._opened[account](permission), self._around)
        self.held[account] = held
        logger.info("account %s is held here from now on, epoch %d", account, lease.epoch)
        for of, slice_ in self._slices.values():
            if of == account:
                held.demand.wanted(slice_, lives=self._gateways.lives(slice_.gateway, self._heard_until))
        for gateway in self._gateways.living(self._heard_until):
            held.hears_orders(gateway, on=self._signs[gateway].hears_orders)
        if lease.taken.left_open:
            held.silent = True
            self._begin(self._relieve(held, keeper), "hand-over")
        held.look()

    def lost(self, account: str, reason: str) -> None:
        """Close every socket of the account: it is not this node's any more."""
        held = self.held.pop(account, None)
        if held is not None:
            logger.warning("account %s is let go of: %s", account, reason)
            self._begin(held.close(), _CLOSING)

    def _left_open(self, account: str, since: float) -> int:
        lease = self._keepers[account].lease
        if lease.left_open and self._clock() - since > self._timing.hand_over + self._timing.lease:
            lease.left_open = 0  # whoever handed it over has closed them by now, or does not live
        return lease.left_open

    async def _relieve(self, held: HeldAccount, keeper: LeaseKeeper) -> None:
        """Tell the predecessor to close its sockets once the broker has been asked for all that is wanted."""
        until = self._clock() + self._timing.hand_over
        while not held.live() and self._clock() < until and keeper.holds():  # noqa: ASYNC110  (it tells nobody)
            await asyncio.sleep(_LOOK_SECONDS)
        until = min(until, self._clock() + _SETTLE_SECONDS)
        while not held.settled() and self._clock() < until and keeper.holds():  # noqa: ASYNC110  (as above)
            await asyncio.sleep(_LOOK_SECONDS)
        held.silent = False
        subject = self._around.subjects.hand_over(held.account)
        while keeper.lease.left_open and keeper.holds():
            with contextlib.suppress(BusError):
                await self._around.bus.request(subject, b"", self._timing.request)
                keeper.lease.left_open = 0
                return
            await asyncio.sleep(_LOOK_SECONDS)

    # -- passing on ---------------------------------------------------------------------------------------

    async def _pass_on(self, account: str) -> None:
        """Let another node have the account, or free it where none is there."""
        held, keeper = self.held[account], self._keepers[account]
        successor = self._assigned().get(account)
        sockets = held.sockets()
        most = sum(status.max_connections for status in held.upstream.accounts())
        keeper.freeze()
        keeper.wanted = False  # lest it be taken back in the moment after
        if successor in (None, self.node) or not sockets or 2 * sockets > most:
            try:
                await self._close_held(account)
                await keeper.give_up()
            finally:
                keeper.thaw()  # also where the store did not answer: what stays frozen is never taken again
            return
        asked = asyncio.Event()
        handed = False
        done = asyncio.Event()

        async def relieved(subject: str, payload: bytes) -> bytes:
            asked.set()
            await done.wait()
            return b""

        serving = self._around.bus.serve(self._around.subjects.hand_over(account), relieved)
        try:
            if await keeper.hand_over(successor, sockets):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._timing.hand_over):
                        await asked.wait()
                        handed = True
        finally:
            await self._close_held(account, relieved=handed)
            keeper.thaw()
            done.set()
            await asyncio.sleep(0)  # for the answer to leave
            serving.close()

    async def _close_held(self, account: str, *, relieved: bool = False) -> None:
        held = self.held.pop(account, None)
        if held is not None:
            await held.close(relieved=relieved)

    def _move(self, account: str) -> asyncio.Task[None]:
        """Have another node take the account over, where that is not under way."""

        async def moved() -> None:
            try:
                with contextlib.suppress(BusError):
                    await self._pass_on(account)
            finally:
                del self._moves[account]

        if account not in self._moves:
            self._moves[account] = self._begin(moved(), "move")
        return self._moves[account]

    # -- what others say ----------------------------------------------------------------------------------

    def _node_changed(self, entry: Entry) -> None:
        sign = _node_sign(entry.value) if entry.value is not None else None
        if sign is None:
            return  # one that left has said so with its last sign
        if sign.leaving:
            self._nodes.gone(sign.node)
            self._able.pop(sign.node, None)
        elif self._nodes.sign(sign.node, sign.count, self._clock()):
            self._able[sign.node] = frozenset(sign.accounts)

    def _wish_changed(self, entry: Entry) -> None:
        account = next((a for a in self._opened if names.wish_key(a) == entry.key), None)
        if account is None:
            return
        if entry.value:
            self._wishes[account] = entry.value.decode(errors="replace")
        else:
            self._wishes.pop(account, None)

    def _gateway_changed(self, entry: Entry) -> None:
        sign = _gateway_sign(entry.value) if entry.value is not None else None
        if sign is None:
            gone = next((g for g in self._signs if names.gateway_key(g) == entry.key), None)
            if entry.value is None and gone is not None:
                self._gateway_left(gone)
            return
        now = self._clock()
        known = self._gateways.lives(sign.gateway, self._heard_until)
        self._gateways.sign(sign.gateway, sign.count, now)
        self._signs[sign.gateway] = sign
        for held in self.held.values():
            if not known:
                held.demand.joined(sign.gateway)
            held.hears_orders(sign.gateway, on=sign.hears_orders)

    def _gateway_left(self, gateway: str) -> None:
        self._gateways.gone(gateway)
        self._signs.pop(gateway, None)
        for held in self.held.values():
            held.left(gateway)

    def _wanted(self, account: str, entry: Entry) -> None:
        held = self.held.get(account)
        if entry.value is None:
            known = self._slices.pop(entry.key, None)
            if known is not None and held is not None:
                held.demand.forgot(known[1].gateway, known[1].number)
            return
        slice_ = _slice(entry.value)
        if slice_ is None:
            return
        known = self._slices.get(entry.key)
        if known is None or known[1].version <= slice_.version:
            self._slices[entry.key] = account, slice_
            if held is not None:
                held.demand.wanted(slice_, lives=self._gateways.lives(slice_.gateway, self._heard_until))

    def _connection_changed(self, connected: bool) -> None:
        now = self._clock()
        if not connected:
            self._away_since = now
        elif self._away_since is not None:
            # Nobody could be heard meanwhile, which says nothing about them.
            away, self._away_since = now - self._away_since, None
            self._nodes.forgive(away, now)
            self._gateways.forgive(away, now)
            for keeper in self._keepers.values():
                keeper.nudge()

    @property
    def _heard_until(self) -> float:
        """Until when others could be heard: now, or the moment at which the bus went away."""
        return self._clock() if self._away_since is None else self._away_since

    # -- the regular look ---------------------------------------------------------------------------------

    async def _give_signs(self) -> None:
        while True:
            with contextlib.suppress(BusError):
                await self._sign()
            await asyncio.sleep(self._timing.renewal)

    async def _sign(self) -> None:
        self._count += 1
        sign = NodeSign(FORMAT, self.node, self._count, tuple(self._opened), self._leaving)
        await self._around.bus.store(names.NODES).put(names.node_key(self.node), encode(sign))

    async def _look(self) -> None:
        looked_at = self._clock()
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            now = self._clock()
            stalled, looked_at = now - looked_at - _LOOK_SECONDS, now
            if stalled > self._timing.renewal:
                self._nodes.forgive(stalled, now)
                self._gateways.forgive(stalled, now)
            if self._away_since is None:
                for gateway in self._gateways.dead(now):
                    self._gateway_left(gateway)
            for held in list(self.held.values()):
                held.look()
            if not self._leaving:
                self._assign()

    def _assign(self) -> None:
        nodes = self._assigned()
        for account, keeper in self._keepers.items():
            if account in self._moves:
                keeper.wanted = False
                continue
            if keeper.lease.overdue(self._clock()):
                # Whoever is to have it gives signs of life and does not take it, as where nothing reaches it.
                self._kept_until[account] = self._clock() + _KEPT_SECONDS
            kept = self._clock() < self._kept_until.get(account, 0.0)
            keeper.wanted = kept or nodes.get(account) == self.node
            if account in self.held and not keeper.wanted:
                self._move(account)

    def _assigned(self) -> dict[str, str]:
        living = self._nodes.living(self._heard_until)
        # What the store tells of this node itself may be older than that it leaves.
        able = {node: self._able[node] for node in living if node in self._able and node != self.node}
        if not self._leaving:
            able[self.node] = frozenset(self._opened)
        values = ((account, keeper.lease.value) for account, keeper in self._keepers.items())
        holders = {account: value.node for account, value in values if value is not None}
        return assigned(able, holders, self._wishes)

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def __repr__(self) -> str:
        return f"<FeedNode {self.node} holds {', '.join(sorted(self.held)) or 'nothing'}>"


_CLOSING = "brokerpool closing account"
