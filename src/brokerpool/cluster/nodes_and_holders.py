"""Directory: who is in a cluster as far as its stores tell, and who holds which account."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import NamedTuple

from brokerpool.cluster.account_preference import AccountRoll, Roll
from brokerpool.cluster.bus import Bus, Entry, Subscription
from brokerpool.cluster.durations import Timing
from brokerpool.cluster.messages import Decoder, GatewaySign, LeaseValue, NodeSign
from brokerpool.cluster.presence import Presence
from brokerpool.cluster.subjects import GATEWAYS, LEASES, NODES, lease_key, wish_key
from brokerpool.errors import BrokerpoolError, ErrorCode

_node_sign, _gateway_sign, _lease = Decoder(NodeSign), Decoder(GatewaySign), Decoder(LeaseValue)


class Holder(NamedTuple):
    """One account that some node can hold, and who holds it."""

    account: str
    #: Empty while nobody does.
    node: str
    #: Grows with every holder.
    epoch: int
    #: Seconds since the last renewal was seen; None before the first.
    age: float | None
    #: Where an operator wants it, empty for anywhere.
    wish: str


class Directory:
    """Follows the stores from `start` to `close`; who gave no sign in the time to live is left out."""

    def __init__(
        self,
        bus: Bus,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = bus
        timing = timing or Timing()
        self._lease_seconds = timing.lease
        self._clock = clock
        self._nodes, self._gateways = Presence(timing.lease), Presence(timing.gateway_life)
        self._roll = AccountRoll()
        self._leases: dict[str, tuple[LeaseValue, float]] = {}
        self._wishes: dict[str, str] = {}
        self._came = asyncio.Event()
        self._watches: list[Subscription] = []

    def start(self) -> None:
        """Begin to follow."""
        bus = self._bus
        self._watches = [
            bus.store(NODES).watch("", self._node_changed),
            bus.store(GATEWAYS).watch("", self._gateway_changed),
            bus.store(LEASES).watch("", self._lease_changed),
        ]

    def close(self) -> None:
        """Follow no more; a second call does nothing."""
        for watch in self._watches:
            watch.close()
        self._watches = []

    async def accounts(self, seconds: float) -> Roll:
        """Return the accounts that any node can hold, once there is a node.

        Raises BrokerpoolError (FEED_UNREACHABLE) after so many seconds without any.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._came.wait()
                await asyncio.sleep(self._lease_seconds / 10)  # for what is kept of the others
        except TimeoutError:
            text = f"No feed node has shown itself within {seconds:g} s."
            raise BrokerpoolError(text, code=ErrorCode.FEED_UNREACHABLE) from None
        return self.roll()

    def roll(self) -> Roll:
        """Return the accounts that nodes have named, and which of them are gone."""
        return self._roll.read(self._clock())

    @property
    def nodes(self) -> dict[str, tuple[str, ...]]:
        """The feed nodes that live, with the accounts that each can hold."""
        living = self._nodes.living(self._clock())
        return {node: self._roll.nodes[node] for node in living if node in self._roll.nodes}

    @property
    def gateways(self) -> list[str]:
        """The gateways that live."""
        return [*self._gateways.living(self._clock())]

    def holders(self) -> list[Holder]:
        """Return each account with its holder."""
        now = self._clock()
        found = []
        for account in self.roll().accounts:
            value, seen_at = self._leases.get(lease_key(account), (None, now))
            age = now - seen_at if value is not None else None
            holds = value is not None and age is not None and age < self._lease_seconds
            node = value.node if value is not None and holds else ""
            epoch = value.epoch if value is not None else 0
            found.append(Holder(account, node, epoch, age, self._wishes.get(wish_key(account), "")))
        return found

    def _node_changed(self, entry: Entry) -> None:
        if entry.key.startswith("wish."):
            self._wishes[entry.key] = (entry.value or b"").decode(errors="replace")
            return
        sign = _node_sign(entry.value) if entry.value is not None else None
        if sign is None:
            return
        if sign.leaving:
            self._nodes.gone(sign.node)
            return
        self._nodes.sign(sign.node, sign.count, self._clock())
        self._roll.named(sign.node, sign.accounts, self._clock())
        self._came.set()

    def _gateway_changed(self, entry: Entry) -> None:
        sign = _gateway_sign(entry.value) if entry.value is not None else None
        if sign is not None:
            self._gateways.sign(sign.gateway, sign.count, self._clock())

    def _lease_changed(self, entry: Entry) -> None:
        value = _lease(entry.value) if entry.value is not None else None
        if value is None:
            self._leases.pop(entry.key, None)
        elif self._leases.get(entry.key, (None, 0.0))[0] != value:
            self._leases[entry.key] = value, self._clock()
