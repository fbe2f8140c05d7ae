"""The orders of the simulated account: each that is placed is there once, with every state it had; pure.

Assumed: what can trade at the last price when it is placed or modified does so at once and whole, at that
price. What cannot rests, and the market does not come back to it; with validity IOC it is cancelled.
Every variety is treated as a regular order. Orders stay until the simulator ends.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from brokerpool.simulator.history import IST
from brokerpool.simulator.listed_instruments import Listing

#: Ten days of the most orders that the broker takes in one; the next is refused.
MOST_ORDERS = 50_000
#: Keeps the states of an order bounded.
MOST_MODIFICATIONS = 25

_WORKING = ("OPEN", "TRIGGER PENDING")

_Amount = Annotated[int, Meta(ge=1)]
_Price = Annotated[float, Meta(ge=0)]


class OrderRequest(msgspec.Struct, kw_only=True):
    """The fields of a new order that matter here; the others that the broker knows are not looked at."""

    exchange: str
    tradingsymbol: str
    transaction_type: Literal["BUY", "SELL"]
    quantity: _Amount
    product: Literal["CNC", "NRML", "MIS", "MTF", "CO"]
    order_type: Literal["MARKET", "LIMIT", "SL", "SL-M"]
    price: _Price = 0.0
    trigger_price: _Price = 0.0
    disclosed_quantity: Annotated[int, Meta(ge=0)] = 0
    validity: Literal["DAY", "IOC", "TTL"] = "DAY"
    tag: Annotated[str, Meta(max_length=20, pattern="^[A-Za-z0-9]*$")] | None = None


class OrderChange(msgspec.Struct, kw_only=True):
    """The fields of an order that may be changed; what is left out stays."""

    quantity: _Amount | None = None
    price: _Price | None = None
    order_type: Literal["MARKET", "LIMIT", "SL", "SL-M"] | None = None
    trigger_price: _Price | None = None
    disclosed_quantity: Annotated[int, Meta(ge=0)] | None = None
    validity: Literal["DAY", "IOC", "TTL"] | None = None


class OrderError(Exception):
    """The order system says no: the book is full, or the order's state does not allow it."""


@dataclass(frozen=True, slots=True)
class Order:
    """One state of an order; prices in rupees, times in epoch seconds."""

    order_id: str
    variety: str
    token: int
    request: OrderRequest
    status: str
    at: float
    message: str | None = None
    average_price: float = 0.0
    filled: int = 0
    cancelled: int = 0
    #: What the client sent for it, as far as that was kept: more than the request understands.
    sent: Mapping[str, object] | None = None

    @property
    def pending(self) -> int:
        """The quantity that may still trade."""
        return self.request.quantity - self.filled - self.cancelled if self.status in _WORKING else 0


class OrderBook:
    """Every order with its states, the eldest first; ids are unique and grow."""

    def __init__(self, clock: Callable[[], float], *, most: int = MOST_ORDERS) -> None:
        self._clock = clock
        #: Told of every state that an order comes to.
        self.changed: Callable[[Order], None] = lambda order: None
        self._most = most
        self._numbers = itertools.count(1)
        self._orders: dict[str, list[Order]] = {}

    def place(
        self,
        variety: str,
        request: OrderRequest,
        listing: Listing,
        last_price: float,
        sent: Mapping[str, object] | None = None,
    ) -> Order:
        """Make exactly one order and return it as it stands then, which may be rejected.

        `sent` is what the client said, kept for `accepted`. Raises ValueError for a missing price,
        OrderError when the book is full.
        """
        _check_prices(request)
        if len(self._orders) >= self._most:
            raise OrderError(f"{self._most} orders exist, and the simulator keeps no more; restart it")
        now = self._clock()
        day = datetime.fromtimestamp(now, UTC).astimezone(IST)
        order_id = f"{day:%y%m%d}{next(self._numbers):09d}"
        received = Order(order_id, variety, listing.token, request, "PUT ORDER REQ RECEIVED", now, sent=sent)
        self._orders[order_id] = [received]
        return self._append(_settled(received, listing, last_price, now))

    def modify(
        self, variety: str, order_id: str, change: OrderChange, listing: Listing, last_price: float
    ) -> Order:
        """Change an order that still works.

        Raises LookupError when there is no such order, ValueError for a price that is missing, OrderError
        for an order that is done or was modified too often.
        """
        order = self._working(variety, order_id, "modified")
        if len(self._orders[order_id]) > MOST_MODIFICATIONS + 1:
            raise OrderError(f"{order_id} was modified {MOST_MODIFICATIONS} times, which is the most")
        given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
        request = msgspec.structs.replace(order.request, **given)
        _check_prices(request)
        now = self._clock()
        return self._append(_settled(replace(order, request=request), listing, last_price, now))

    def cancel(self, variety: str, order_id: str) -> Order:
        """Cancel an order that still works. Raises as `modify` does."""
        order = self._working(variety, order_id, "cancelled")
        return self._append(
            replace(order, status="CANCELLED", cancelled=order.pending, at=self._clock(), message=None)
        )

    def accepted(self) -> list[dict[str, Any]]:
        """Return every order that was placed, in time: its id, when, its tag, and what its client sent."""
        return [
            {
                "order_id": order_id,
                "at": first.at,
                "tag": first.request.tag,
                "sent": dict(first.sent) if first.sent is not None else msgspec.to_builtins(first.request),
            }
            for order_id, (first, *_) in self._orders.items()
        ]

    def latest(self) -> list[Order]:
        """Return each order as it stands."""
        return [states[-1] for states in self._orders.values()]

    def states(self, order_id: str) -> list[Order]:
        """Return every state of an order, in time. Raises LookupError when there is no such order."""
        states = self._orders.get(order_id)
        if states is None:
            raise LookupError(f"Couldn't find that `order_id`: {order_id}")
        return states

    def report(self) -> dict[str, Any]:
        """Return how many orders there are, in all, by status, and by tag (those without one apart)."""
        orders = self.latest()
        tags = Counter(order.request.tag for order in orders if order.request.tag)
        return {
            "orders": len(orders),
            "by_status": dict(Counter(order.status for order in orders)),
            "by_tag": dict(tags),
            "untagged": len(orders) - tags.total(),
        }

    def _working(self, variety: str, order_id: str, verb: str) -> Order:
        order = self.states(order_id)[-1]
        if order.variety != variety:
            raise LookupError(f"Couldn't find that `order_id`: {order_id} is not of variety {variety!r}")
        if order.status not in _WORKING:
            raise OrderError(f"{order_id} is {order.status} and cannot be {verb}")
        return order

    def _append(self, order: Order) -> Order:
        self._orders[order.order_id].append(order)
        self.changed(order)
        return order


def _check_prices(request: OrderRequest) -> None:
    if request.order_type in ("LIMIT", "SL") and not request.price:
        raise ValueError(f"a {request.order_type} order needs a price")
    if request.order_type in ("SL", "SL-M") and not request.trigger_price:
        raise ValueError(f"a {request.order_type} order needs a trigger_price")


def _settled(order: Order, listing: Listing, last_price: float, now: float) -> Order:
    """Return what becomes of an order that has reached the exchange."""
    request = order.request
    order = replace(order, at=now, message=None)
    if listing.kind == "INDEX":
        return replace(order, status="REJECTED", message=f"{listing.key} is an index and cannot be traded")
    if request.quantity % listing.lot:
        message = f"quantity {request.quantity} is not a multiple of the lot of {listing.lot}"
        return replace(order, status="REJECTED", message=message)
    if request.order_type in ("SL", "SL-M"):
        return replace(order, status="TRIGGER PENDING")
    buying = request.transaction_type == "BUY"
    reaches = request.price >= last_price if buying else request.price <= last_price
    if request.order_type == "MARKET" or reaches:
        return replace(order, status="COMPLETE", average_price=last_price, filled=request.quantity)
    if request.validity == "IOC":
        return replace(order, status="CANCELLED", cancelled=request.quantity)
    return replace(order, status="OPEN")
