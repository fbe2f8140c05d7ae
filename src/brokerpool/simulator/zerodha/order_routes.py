"""Kite's order endpoints over the account's book of orders."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from typing import TypeVar

import msgspec
from aiohttp import web

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.orders import Order, OrderBook, OrderChange, OrderError, OrderRequest
from brokerpool.simulator.zerodha import json_shapes
from brokerpool.simulator.zerodha.json_shapes import VARIETIES, failure, success

_Form = TypeVar("_Form", OrderRequest, OrderChange)
_Endpoint = Callable[["OrderDesk", web.Request], Awaitable[web.Response]]


def _telling_errors(endpoint: _Endpoint) -> _Endpoint:
    @wraps(endpoint)
    async def told(checkout: OrderDesk, request: web.Request) -> web.Response:
        try:
            return await endpoint(checkout, request)
        except LookupError as error:
            return failure(404, str(error.args[0]), "OrderException")
        except (ValueError, msgspec.ValidationError) as error:
            return failure(400, str(error))
        except OrderError as error:
            return failure(400, str(error), "OrderException")

    return told


class OrderDesk:
    """Takes, changes, cancels and shows orders; nothing is awaited between understanding and doing."""

    def __init__(
        self,
        book: OrderBook,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        changed: Callable[[Order], None],
    ) -> None:
        """`changed` is told each order that was made, changed or cancelled, as it stands then."""
        self._changed = changed
        self._book = book
        self._listings = {listing.key: listing for listing in listings}
        self._quotes = quotes

    @_telling_errors
    async def orders(self, request: web.Request) -> web.Response:
        """Answer with every order as it stands."""
        return success([json_shapes.order(order) for order in self._book.latest()])

    @_telling_errors
    async def order(self, request: web.Request) -> web.Response:
        """Answer with every state of one order."""
        states = self._book.states(request.match_info["order_id"])
        return success([json_shapes.order(state) for state in states])

    @_telling_errors
    async def place(self, request: web.Request) -> web.Response:
        """Make one order."""
        wanted = await _form(request, OrderRequest)
        listing, last_price = self._listing(wanted)
        variety = request.match_info["variety"]
        if variety not in VARIETIES:
            raise ValueError(f"invalid variety: {variety!r}; varieties: {', '.join(VARIETIES)}")
        order = self._book.place(variety, wanted, listing, last_price)
        self._changed(order)
        return success({"order_id": order.order_id})

    @_telling_errors
    async def modify(self, request: web.Request) -> web.Response:
        """Change one order."""
        change = await _form(request, OrderChange)
        variety, order_id = request.match_info["variety"], request.match_info["order_id"]
        listing, last_price = self._listing(self._book.states(order_id)[-1].request)
        self._changed(self._book.modify(variety, order_id, change, listing, last_price))
        return success({"order_id": order_id})

    @_telling_errors
    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel one order."""
        order_id = request.match_info["order_id"]
        self._changed(self._book.cancel(request.match_info["variety"], order_id))
        return success({"order_id": order_id})

    def _listing(self, wanted: OrderRequest) -> tuple[Listing, float]:
        listing = self._listings.get(f"{wanted.exchange}:{wanted.tradingsymbol}")
        if listing is None:
            raise ValueError(f"Invalid tradingsymbol: {wanted.exchange}:{wanted.tradingsymbol}")
        return listing, self._quotes[listing.token].ltp / listing.unit


async def _form(request: web.Request, kind: type[_Form]) -> _Form:
    try:
        fields = await request.post()
    except LookupError as error:
        raise ValueError(f"the form cannot be read: {error}") from None
    # Every value of a form is text: "10" is a quantity here.
    return msgspec.convert(dict(fields), kind, strict=False)
