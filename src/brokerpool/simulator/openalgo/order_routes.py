"""OpenAlgo's order calls over the account's book of orders: each that is accepted is there once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.openalgo import json_shapes
from brokerpool.simulator.openalgo.json_shapes import failure, success
from brokerpool.simulator.orders import Order, OrderBook, OrderChange, OrderError, OrderRequest

_VARIETY = "regular"
_WORKING = ("OPEN", "TRIGGER PENDING")
#: The account's money on its first day, in rupees.
_CASH = 1_000_000.0

_Price = Annotated[float, Meta(ge=0, le=1e9)]
_Body = Mapping[str, Any]
_Answered = Callable[[_Body], web.Response]


class _Order(msgspec.Struct, kw_only=True):
    """What an order call sends; the members that are not here are kept and not looked at."""

    strategy: str = ""
    symbol: str
    exchange: str
    action: Literal["BUY", "SELL"]
    quantity: int
    pricetype: Literal["MARKET", "LIMIT", "SL", "SL-M"] = "MARKET"
    product: Literal["CNC", "NRML", "MIS"] = "MIS"
    price: _Price = 0.0
    trigger_price: _Price = 0.0
    disclosed_quantity: Annotated[int, Meta(ge=0)] = 0
    #: Beside the strategy, where a client has one: what its orders are counted by.
    tag: str = ""


class _SmartOrder(_Order, kw_only=True):
    position_size: int


class _Change(_Order, kw_only=True):
    orderid: str


class _One(msgspec.Struct):
    orderid: str


class _Basket(msgspec.Struct):
    strategy: str
    orders: list[dict[str, Any]]


_Form = TypeVar("_Form", _Order, _SmartOrder, _Change, _One, _Basket)


class OrderDesk:
    """Takes, changes, cancels and shows orders; nothing is awaited between understanding and doing."""

    def __init__(self, book: OrderBook, listings: Sequence[Listing], quotes: Mapping[int, Quote]) -> None:
        self._book = book
        self._listings = {(row.exchange, row.tradingsymbol): row for row in listings}
        self._quotes = quotes

    def calls(self) -> dict[str, _Answered]:
        """Return what answers each call, by its name in the path; it gets the body without the key."""
        answered: dict[str, _Answered] = {
            "placeorder": self._place,
            "placesmartorder": self._place_smart,
            "basketorder": self._place_basket,
            "modifyorder": self._modify,
            "cancelorder": self._cancel,
            "cancelallorder": self._cancel_all,
            "orderstatus": self._status,
            "orderbook": self._orders,
            "tradebook": self._trades,
            "positionbook": self._positions,
            "holdings": self._holdings,
            "funds": self._funds,
        }
        return {name: _telling_errors(carry_out) for name, carry_out in answered.items()}

    # -- placed, changed, cancelled -----------------------------------------------------------------------

    def _place(self, body: _Body) -> web.Response:
        return success(orderid=self._placed(_form(body, _Order), body).order_id)

    def _place_smart(self, body: _Body) -> web.Response:
        """Place what is missing to the position that is wanted."""
        wanted = _form(body, _SmartOrder)
        key = wanted.exchange, wanted.symbol, wanted.product
        missing = wanted.position_size - self._net().get(key, (0, 0.0))[0]
        if not missing:
            return success(message="The position is as wanted.")
        wanted.action, wanted.quantity = ("BUY" if missing > 0 else "SELL"), abs(missing)
        return success(orderid=self._placed(wanted, body).order_id)

    def _place_basket(self, body: _Body) -> web.Response:
        basket = _form(body, _Basket)
        # All of them are understood before the first is placed.
        orders = [
            (_form({"strategy": basket.strategy, **each}, _Order), {"strategy": basket.strategy, **each})
            for each in basket.orders
        ]
        results = []
        for order, sent in orders:
            try:
                result = {"orderid": self._placed(order, sent).order_id, "status": "success"}
            except (ValueError, LookupError, OrderError) as error:
                result = {"status": "error", "message": str(error.args[0])}
            results.append({"symbol": order.symbol, **result})
        return success(results=results)

    def _placed(self, order: _Order, sent: _Body) -> Order:
        listing, last_price = self._market(order.exchange, order.symbol)
        if order.quantity < 1:
            raise ValueError(f"a quantity of {order.quantity} is no order")
        request = OrderRequest(
            exchange=order.exchange,
            tradingsymbol=order.symbol,
            transaction_type=order.action,
            quantity=order.quantity,
            product=order.product,
            order_type=order.pricetype,
            price=order.price,
            trigger_price=order.trigger_price,
            disclosed_quantity=order.disclosed_quantity,
            tag=order.tag or order.strategy or None,
        )
        return self._book.place(_VARIETY, request, listing, last_price, sent=sent)

    def _modify(self, body: _Body) -> web.Response:
        wanted = _form(body, _Change)
        request = self._book.states(wanted.orderid)[-1].request
        if (wanted.exchange, wanted.symbol) != (request.exchange, request.tradingsymbol):
            raise ValueError(f"{wanted.orderid} is an order for {request.exchange}:{request.tradingsymbol}")
        change = OrderChange(
            quantity=wanted.quantity,
            price=wanted.price,
            order_type=wanted.pricetype,
            trigger_price=wanted.trigger_price,
            disclosed_quantity=wanted.disclosed_quantity,
        )
        market = self._market(request.exchange, request.tradingsymbol)
        self._book.modify(_VARIETY, wanted.orderid, change, *market)
        return success(orderid=wanted.orderid)

    def _cancel(self, body: _Body) -> web.Response:
        order_id = _form(body, _One).orderid
        self._book.cancel(_VARIETY, order_id)
        return success(orderid=order_id)

    def _cancel_all(self, body: _Body) -> web.Response:
        working = [order.order_id for order in self._book.latest() if order.status in _WORKING]
        for order_id in working:
            self._book.cancel(_VARIETY, order_id)
        message = f"{len(working)} orders were cancelled."
        return success(message=message, canceled_orders=working, failed_cancellations=[])

    # -- shown --------------------------------------------------------------------------------------------

    def _status(self, body: _Body) -> web.Response:
        return success(json_shapes.order(self._book.states(_form(body, _One).orderid)[-1]))

    def _orders(self, body: _Body) -> web.Response:
        orders = self._book.latest()
        told = [json_shapes.order(order) for order in orders]
        return success({"orders": told, "statistics": json_shapes.order_statistics(orders)})

    def _trades(self, body: _Body) -> web.Response:
        return success([json_shapes.trade(order) for order in self._book.latest() if order.filled])

    def _positions(self, body: _Body) -> web.Response:
        return success(
            [
                {
                    "symbol": symbol,
                    "exchange": exchange,
                    "product": product,
                    "quantity": quantity,
                    "average_price": f"{price:.2f}",
                }
                for (exchange, symbol, product), (quantity, price) in self._net().items()
            ]
        )

    def _holdings(self, body: _Body) -> web.Response:
        """Nothing is held over night: the account is as old as the simulator."""
        names = ("totalholdingvalue", "totalinvvalue", "totalpnlpercentage", "totalprofitandloss")
        return success({"holdings": [], "statistics": dict.fromkeys(names, 0.0)})

    def _funds(self, body: _Body) -> web.Response:
        used = sum(abs(quantity) * price for quantity, price in self._net().values())
        amounts = {
            "availablecash": _CASH - used,
            "collateral": 0.0,
            "m2mrealized": 0.0,
            "m2munrealized": 0.0,
            "utiliseddebits": used,
        }
        return success({name: f"{amount:.2f}" for name, amount in amounts.items()})

    # -- inside -------------------------------------------------------------------------------------------

    def _net(self) -> dict[tuple[str, str, str], tuple[int, float]]:
        """Return quantity and average price of each position: exchange, symbol, product."""
        found: dict[tuple[str, str, str], tuple[int, float]] = {}
        for order in self._book.latest():
            if not order.filled:
                continue
            request = order.request
            key = request.exchange, request.tradingsymbol, request.product
            quantity, price = found.get(key, (0, 0.0))
            traded = order.filled if request.transaction_type == "BUY" else -order.filled
            if quantity * traded >= 0:  # it grows: what it cost is averaged
                price = (abs(quantity) * price + abs(traded) * order.average_price) / abs(quantity + traded)
            elif abs(traded) > abs(quantity):  # it turns round
                price = order.average_price
            found[key] = quantity + traded, price
        return found

    def _market(self, exchange: str, symbol: str) -> tuple[Listing, float]:
        listing = self._listings.get((exchange, symbol))
        if listing is None:
            raise ValueError(f"{exchange}:{symbol} is not listed")
        return listing, self._quotes[listing.token].ltp / listing.unit


def _telling_errors(carry_out: _Answered) -> _Answered:
    def told(body: _Body) -> web.Response:
        try:
            return carry_out(body)
        except LookupError as error:
            return failure(404, str(error.args[0]))
        except (ValueError, msgspec.ValidationError, OrderError) as error:
            return failure(400, str(error))

    return told


def _form(body: _Body, kind: type[_Form]) -> _Form:
    # The SDKs send numbers as text.
    return msgspec.convert(body, kind, strict=False)
