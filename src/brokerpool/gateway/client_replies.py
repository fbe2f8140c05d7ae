"""What clients are answered in the OpenAlgo client protocol; no I/O; `client_actions` has the requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from brokerpool.errors import ErrorCode
from brokerpool.gateway import client_actions
from brokerpool.gateway.client_actions import Entry
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_encode = msgspec.json.Encoder().encode


def _reply(members: dict[str, Any], request_id: object = client_actions.NO_ID) -> bytes:
    if request_id is not client_actions.NO_ID:
        members["request_id"] = request_id
    return _encode(members)


def authenticated(broker: str, user_id: str) -> bytes:
    """The answer to a right key; under 1 KiB, because one client reads it with a single small recv."""
    return _reply(
        {
            "type": "auth",
            "status": "success",
            "message": "Authentication successful",
            "broker": broker,
            "user_id": user_id,
            "supported_features": {"ltp": True, "quote": True, "depth": True},
        }
    )


def refused_key(message: str, code: ErrorCode = ErrorCode.AUTHENTICATION_ERROR) -> bytes:
    """The answer to a key that does not open: typed, so that SDKs show it.

    One client takes any frame with "ok" or "success" in it for a welcome, so the text has neither.
    """
    return _reply({"type": "auth", "status": "error", "code": code.name, "message": message})


def error(code: ErrorCode, message: str) -> bytes:
    """Any other error: without a type, because clients correlate errors by its absence."""
    return _reply({"status": "error", "code": code.name, "message": message})


def pong(ping: client_actions.Ping, server_ms: int) -> bytes:
    return _reply({"type": "pong", "status": "success", "server_timestamp": server_ms, **ping.echo})


def broker_info(broker: str, user_id: str, *, connected: bool) -> bytes:
    status = "connected" if connected else "disconnected"
    return _reply(
        {
            "type": "broker_info",
            "status": "success",
            "broker": broker,
            "adapter_status": status,
            "user_id": user_id,
        }
    )


def supported_brokers(brokers: Sequence[str]) -> bytes:
    return _reply(
        {"type": "supported_brokers", "status": "success", "brokers": list(brokers), "count": len(brokers)}
    )


def feed_status(broker: str, status: str, symbols_down: int, reason: str) -> bytes:
    """News of the broker's feed, which no request asked for; clients that do not know the type ignore it."""
    return _reply(
        {
            "type": "feed_status",
            "status": status,
            "broker": broker,
            "symbols_down": symbols_down,
            "message": reason,
        }
    )


def symbol_status(broker: str, status: str, instrument: Instrument, **members: object) -> bytes:
    """News of one symbol's feed: `stale` when its data has stopped, `gap` when it goes on, `delisted`."""
    return _reply(
        {
            "type": "feed_status",
            "status": status,
            "broker": broker,
            "symbol": instrument.symbol,
            "exchange": instrument.exchange,
            **members,
        }
    )


def order_news(broker: str, status: str, **members: object) -> bytes:
    """News of the order updates: `orders_stale`, `orders_gap` when they go on, `orders_dropped`."""
    return _reply({"type": "feed_status", "status": status, "broker": broker, **members})


def orders(request: client_actions.Orders) -> bytes:
    """The answer to a wish for order updates, or for no more of them."""
    kind = "subscribe_orders" if request.wanted else "unsubscribe_orders"
    text = "Order updates are sent as they come" if request.wanted else "No order updates are sent"
    return _reply({"type": kind, "status": "success", "message": text}, request.request_id)


def orders_refused(request: client_actions.Orders) -> bytes:
    """The answer to a wish for order updates with a key that may not: typed, for clients wait for that."""
    code = ErrorCode.SCOPE_MISSING
    message = 'This API key is without the scope "orders"'
    members = {"type": "subscribe_orders", "status": "error", "code": code.name, "message": message}
    return _reply(members, request.request_id)


# -- replies about many symbols, made a slice at a time ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one entry; `code` and `message` are set when it was refused.

    `depth` are the levels of a subscription that are others than those of ticks; `lacks` is why it has not as
    many as the client wanted.
    """

    entry: Entry
    code: ErrorCode | None = None
    message: str = ""
    depth: int | None = None
    lacks: tuple[ErrorCode, str] | None = None


class Outcomes(Protocol):
    """A reply with an item for each entry, in the order of the request."""

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Write down what became of the next entries."""
        ...

    def reply(self) -> bytes:
        """Return the whole, once all entries are in."""
        ...


class _Items:
    """A JSON array that grows by slices, each encoded when it comes."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.count = 0

    def add(self, items: list[dict[str, Any]]) -> None:
        if items:
            self._parts.append(_encode(items)[1:-1])
            self.count += len(items)

    def json(self) -> msgspec.Raw:
        return msgspec.Raw(b"[%b]" % b",".join(self._parts))


class Subscribed(Outcomes):
    """The answer to a subscribe."""

    def __init__(self, request: client_actions.Subscribe, depth: int, broker: str) -> None:
        # Strict parsers read the label where they sent a number (and the other way round) as an error.
        self._mode = request.mode.label if isinstance(request.spelled, str) else int(request.mode)
        self._request = request
        self._depth = depth
        self._broker = broker
        self._items = _Items()
        self._good = True

    def add(self, outcomes: Iterable[Outcome]) -> None:
        self._items.add([self._item(outcome) for outcome in outcomes])

    def reply(self) -> bytes:
        return _reply(
            {
                "type": "subscribe",
                "status": "success" if self._good else "partial",
                "subscriptions": self._items.json(),
                "message": "Subscription processing complete",
                "broker": self._broker,
            },
            self._request.request_id,
        )

    def _item(self, outcome: Outcome) -> dict[str, Any]:
        entry = outcome.entry
        item: dict[str, Any] = {"symbol": entry.symbol, "exchange": entry.exchange}
        if outcome.code is None:
            depth = self._depth if outcome.depth is None else outcome.depth
            item |= {"status": "success", "mode": self._mode, "depth": depth, "broker": self._broker}
            if outcome.lacks is not None:
                code, message = outcome.lacks
                item |= {"code": code.name, "message": message}
            return item
        self._good = False
        item |= {"status": "error", "code": outcome.code.name, "mode": self._mode}
        return item | {"message": outcome.message, "broker": self._broker}


class Unsubscribed(Outcomes):
    """The answer to an unsubscribe, and to unsubscribe_all."""

    def __init__(
        self, request: client_actions.Unsubscribe | client_actions.UnsubscribeAll, broker: str
    ) -> None:
        self._request = request
        self._broker = broker
        self._successful, self._failed = _Items(), _Items()

    def add(self, outcomes: Iterable[Outcome]) -> None:
        good, bad = [], []
        for outcome in outcomes:
            item = {"symbol": outcome.entry.symbol, "exchange": outcome.entry.exchange}
            if outcome.code is None:
                good.append(item | {"status": "success", "broker": self._broker})
            else:
                item |= {"status": "error", "code": outcome.code.name, "message": outcome.message}
                bad.append(item | {"broker": self._broker})
        self._successful.add(good)
        self._failed.add(bad)

    def reply(self) -> bytes:
        good, bad = self._successful.count, self._failed.count
        return _reply(
            {
                "type": "unsubscribe",
                "status": "success" if not bad else "partial" if good else "error",
                "message": f"{good} unsubscribed, {bad} refused",
                "successful": self._successful.json(),
                "failed": self._failed.json(),
                "broker": self._broker,
            },
            self._request.request_id,
        )


class SubscriptionList:
    """The answer to list_subscriptions: an item for each symbol and mode, as an unsubscribe takes them."""

    def __init__(self, request: client_actions.ListSubscriptions, broker: str) -> None:
        self._request = request
        self._broker = broker
        self._items = _Items()

    def add(self, held: Iterable[tuple[Instrument, Mode, int | None]]) -> None:
        """Write down what else the client holds, with its levels where those are more than ticks have."""
        self._items.add(
            [
                {"symbol": i.symbol, "exchange": i.exchange, "mode": int(mode)}
                | ({} if depth is None else {"depth": depth})
                for i, mode, depth in held
            ]
        )

    def reply(self) -> bytes:
        """Return the whole, once everything is in."""
        return _reply(
            {
                "type": "list_subscriptions",
                "status": "success",
                "subscriptions": self._items.json(),
                "count": self._items.count,
                "broker": self._broker,
            },
            self._request.request_id,
        )
