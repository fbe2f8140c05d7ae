"""Order updates to the clients that asked for them and may see them: in order, bounded, with holes told."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

import msgspec

from brokerpool.feed.lifecycle_states import ConnectionState
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway import client_replies
from brokerpool.gateway.subscriber_groups import Outlet
from brokerpool.transport.frames import server_frame

logger = logging.getLogger("brokerpool.gateway")

#: An update is shorter by far; what is longer is no update.
LONGEST_UPDATE = 16 * 1024
#: Orders of which a client that does not read gets the newest update when it does.
MOST_WAITING = 500

_LIVE, _ENDED = ConnectionState.LIVE.value, (ConnectionState.CLOSED.value, ConnectionState.IDLE.value)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Subscription:
    """One client's: what waits for it while it does not read, the newest of each order, and what was lost."""

    __slots__ = ("dropped", "paused", "waiting")

    def __init__(self) -> None:
        self.paused = False
        #: By order, in the order of their last updates.
        self.waiting: dict[object, bytes] = {}
        self.dropped = 0


class OrderUpdates(PoolListener):
    """Passes on what the broker says of orders, as it says it: copies too, and nothing that it does not say.

    A client that does not read gets, once it does, how many updates were dropped and the newest of each
    order. While anybody is subscribed the upstream holds a connection open. While no connection to the
    broker is live, or one was lost and is not back, updates may be missed: clients are told when that begins,
    and with both edges when it is over.
    """

    def __init__(self, upstream: Upstream, wall_clock: Callable[[], float] = time.time) -> None:
        self._upstream = upstream
        self._wall_clock = wall_clock
        self._subscriptions: dict[Outlet, _Subscription] = {}
        self._live: set[str] = set()
        #: Connections that were lost and are not back.
        self._lost: set[str] = set()
        #: Epoch milliseconds since which updates may have been missed, and why; None while none are.
        self._since: int | None = self._now()
        self._reason = "no connection to the broker is open yet"
        self._unnamed = itertools.count()
        self._delivered = self._dropped = self._unreadable = 0

    # -- clients ------------------------------------------------------------------------------------------

    def subscribe(self, outlet: Outlet) -> None:
        """Send updates from now on; a second time changes nothing. A hole that is open is told at once."""
        if outlet not in self._subscriptions:
            self._upstream.hold_open(True)
            self._subscriptions[outlet] = _Subscription()
            if self._since is not None:
                outlet.send_frames(self._stale(self._since))

    def unsubscribe(self, outlet: Outlet) -> None:
        """Send no more; who never subscribed is ignored."""
        if self._subscriptions.pop(outlet, None) is not None and not self._subscriptions:
            self._upstream.hold_open(False)

    def pause(self, outlet: Outlet) -> None:
        """Write nothing more to a client whose buffer is full."""
        if (subscription := self._subscriptions.get(outlet)) is not None:
            subscription.paused = True

    def resume(self, outlet: Outlet) -> None:
        """Write what waits to a client that reads again, and before it how much was dropped."""
        subscription = self._subscriptions.get(outlet)
        if subscription is None or not subscription.paused:
            return
        subscription.paused = False
        frames = [*subscription.waiting.values()]
        self._delivered += len(frames)
        if subscription.dropped:
            text = client_replies.order_news(
                self._upstream.name,
                "orders_dropped",
                dropped=subscription.dropped,
                message="the client did not read; the newest update of each order follows",
            )
            frames.insert(0, server_frame(text))
        subscription.waiting.clear()
        subscription.dropped = 0
        outlet.send_frames(b"".join(frames))

    def stats(self) -> dict[str, int]:
        """Return what was delivered since the start, and how it stands now."""
        return {
            "update_clients": len(self._subscriptions),
            "updates_delivered": self._delivered,
            "updates_dropped": self._dropped,
            "updates_unreadable": self._unreadable,
        }

    def close(self) -> None:
        """Tell nothing any more."""
        self._upstream.unlisten(self)

    # -- PoolListener -------------------------------------------------------------------------------------

    def order_updated(self, update: str | bytes) -> None:
        read = _read(update)
        if read is None:
            self._unreadable += 1
            if self._unreadable == 1:
                logger.warning("an order update is no JSON object, or too long; such ones are not passed on")
            return
        text, order = read
        frame = server_frame(text)
        self._delivered += self._send(frame, order)

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        if state == _LIVE:
            self._live.add(name)
            self._lost.discard(name)
        elif name in self._live:
            self._live.discard(name)
            if state not in _ENDED:
                self._lost.add(name)
            self._reason = f"{name} is {state}: {reason}" if reason else f"{name} is {state}"
        elif state in _ENDED:
            self._lost.discard(name)  # it is never dialled again
        self._judge()

    # -- inside -------------------------------------------------------------------------------------------

    def _judge(self) -> None:
        missing = bool(self._lost) or not self._live
        if missing and self._since is None:
            self._since = self._now()
            self._send(self._stale(self._since))
        elif not missing and self._since is not None:
            text = client_replies.order_news(
                self._upstream.name,
                "orders_gap",
                **{"from": self._since, "to": self._now(), "message": self._reason},
            )
            self._since = None
            self._send(server_frame(text))

    def _stale(self, since: int) -> bytes:
        members = {"from": since, "message": self._reason}
        return server_frame(client_replies.order_news(self._upstream.name, "orders_stale", **members))

    def _send(self, frame: bytes, order: bytes | None = None) -> int:
        """Write a frame to all who read, keep it for the others, and return how many had it."""
        had = 0
        for outlet, subscription in self._subscriptions.items():
            if subscription.paused:
                self._keep(subscription, order, frame)
            else:
                outlet.send_frames(frame)
                had += 1
        return had

    def _keep(self, subscription: _Subscription, order: bytes | None, frame: bytes) -> None:
        key: object = order if order is not None else next(self._unnamed)
        waiting = subscription.waiting
        replaced = waiting.pop(key, None)
        waiting[key] = frame
        if replaced is None and len(waiting) > MOST_WAITING:
            replaced = waiting.pop(next(iter(waiting)))
        if replaced is not None:
            subscription.dropped += 1
            self._dropped += 1

    def _now(self) -> int:
        return int(self._wall_clock() * 1000)


def _read(update: str | bytes) -> tuple[bytes, bytes | None] | None:
    """Return an update as it is to be sent, with its order's id where it has one; None for what is none."""
    text = update.encode("utf-8", "replace") if isinstance(update, str) else update
    if len(text) > LONGEST_UPDATE:
        return None
    try:
        members: dict[str, Any] = _members.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    kind, status = (bytes(members.get(name, b"")) for name in ("type", "status"))
    if kind == b'"feed_status"' and status.startswith(b'"orders_'):
        return text, None  # what a gateway further up says of its own updates
    if kind != b'"order_update"':
        text = msgspec.json.encode({**members, "type": "order_update"})
    return text, bytes(members["orderid"]) if "orderid" in members else None
