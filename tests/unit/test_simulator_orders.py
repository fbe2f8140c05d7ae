"""The simulated book of orders: one order for each that is placed, and its states as they came."""

from __future__ import annotations

import itertools
from datetime import date
from typing import Any

import msgspec
import pytest

from brokerpool.simulator.listed_instruments import Listing, listings
from brokerpool.simulator.orders import (
    MOST_MODIFICATIONS,
    Order,
    OrderBook,
    OrderChange,
    OrderError,
    OrderRequest,
)
from brokerpool.simulator.zerodha import instruments

ROWS = {row.key: row for row in listings(100, date(2026, 11, 24), instruments)}
INFY = ROWS["NSE:INFY"]
FUTURE = ROWS["NFO:NIFTY26NOVFUT"]
LAST = 1573.70


class Desk:
    """A book whose clock moves a second with each reading."""

    def __init__(self, most: int = 1_000) -> None:
        ticks = itertools.count(1_795_501_830)
        self.book = OrderBook(lambda: float(next(ticks)), most=most)

    def place(self, listing: Listing = INFY, variety: str = "regular", **fields: Any) -> Order:
        form = {
            "exchange": listing.exchange,
            "tradingsymbol": listing.tradingsymbol,
            "transaction_type": "BUY",
            "quantity": "1",
            "product": "MIS",
            "order_type": "LIMIT",
            "price": "1500",
            **fields,
        }
        return self.book.place(variety, msgspec.convert(form, OrderRequest, strict=False), listing, LAST)

    def modify(self, order: Order, **change: Any) -> Order:
        return self.book.modify("regular", order.order_id, OrderChange(**change), INFY, LAST)


def test_each_placing_makes_one_order_with_an_id_of_its_own_and_its_day() -> None:
    checkout = Desk()
    orders = [checkout.place(tag=tag) for tag in ("a", "b", "a", None)]
    assert [order.order_id for order in orders] == [f"26112400000000{n}" for n in range(1, 5)]
    assert checkout.book.latest() == orders
    assert checkout.book.report() == {
        "orders": 4,
        "by_status": {"OPEN": 4},
        "by_tag": {"a": 2, "b": 1},
        "untagged": 1,
    }


@pytest.mark.parametrize(
    ("fields", "status", "filled", "cancelled", "pending"),
    [
        ({"order_type": "MARKET"}, "COMPLETE", 7, 0, 0),
        ({"price": "1573.65"}, "OPEN", 0, 0, 7),
        ({"price": "1573.70"}, "COMPLETE", 7, 0, 0),
        ({"price": "1573.75", "transaction_type": "SELL"}, "OPEN", 0, 0, 7),
        ({"price": "1573.65", "transaction_type": "SELL"}, "COMPLETE", 7, 0, 0),
        ({"price": "1573.65", "validity": "IOC"}, "CANCELLED", 0, 7, 0),
        ({"order_type": "SL", "trigger_price": "1600"}, "TRIGGER PENDING", 0, 0, 7),
        ({"order_type": "SL-M", "trigger_price": "1600", "price": "0"}, "TRIGGER PENDING", 0, 0, 7),
    ],
)
def test_an_order_trades_at_once_or_rests(
    fields: dict[str, Any], status: str, filled: int, cancelled: int, pending: int
) -> None:
    order = Desk().place(quantity="7", **fields)
    assert (order.status, order.filled, order.cancelled, order.pending) == (
        status,
        filled,
        cancelled,
        pending,
    )
    assert order.average_price == (LAST if filled else 0.0)


def test_what_the_exchange_does_not_take_is_rejected_with_a_reason_and_is_an_order_all_the_same() -> None:
    checkout = Desk()
    assert checkout.place(FUTURE, quantity=str(FUTURE.lot)).status == "OPEN"
    odd = checkout.place(FUTURE, quantity=str(FUTURE.lot + 1))
    index = checkout.place(ROWS["NSE:NIFTY 50"])
    assert (odd.status, odd.message) == ("REJECTED", "quantity 76 is not a multiple of the lot of 75")
    assert (index.status, index.message) == ("REJECTED", "NSE:NIFTY 50 is an index and cannot be traded")
    assert len(checkout.book.latest()) == 3


def test_an_order_is_modified_and_cancelled_while_it_works_and_keeps_its_states() -> None:
    checkout = Desk()
    order = checkout.place(quantity="7", tag="t1")
    changed = checkout.modify(order, quantity=9, price=1510.0)
    assert (changed.status, changed.pending, changed.request.price) == ("OPEN", 9, 1510.0)
    done = checkout.book.cancel("regular", order.order_id)
    assert (done.status, done.cancelled, done.pending, done.request.tag) == ("CANCELLED", 9, 0, "t1")
    states = checkout.book.states(order.order_id)
    assert [state.status for state in states] == ["PUT ORDER REQ RECEIVED", "OPEN", "OPEN", "CANCELLED"]
    assert [state.request.quantity for state in states] == [7, 7, 9, 9], "what was is not rewritten"
    assert [state.at for state in states] == sorted(state.at for state in states)
    with pytest.raises(OrderError, match="is CANCELLED and cannot be modified"):
        checkout.modify(order, quantity=1)
    with pytest.raises(OrderError, match="is CANCELLED and cannot be cancelled"):
        checkout.book.cancel("regular", order.order_id)
    assert len(checkout.book.latest()) == 1


def test_a_price_that_is_modified_to_reach_the_market_trades() -> None:
    checkout = Desk()
    order = checkout.place()
    assert checkout.modify(order, price=1580.0).status == "COMPLETE"
    assert checkout.modify(checkout.place(), order_type="MARKET").average_price == LAST


def test_an_order_that_does_not_exist_is_not_found() -> None:
    checkout = Desk()
    order = checkout.place()
    for looking in (
        lambda: checkout.book.states("1"),
        lambda: checkout.book.cancel("regular", "1"),
        lambda: checkout.book.cancel("amo", order.order_id),
    ):
        with pytest.raises(LookupError, match="Couldn't find that `order_id`"):
            looking()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"quantity": "0"}, "quantity"),
        ({"quantity": "1.5"}, "quantity"),
        ({"transaction_type": "HOLD"}, "transaction_type"),
        ({"price": "nan"}, "price"),
        ({"price": "-1"}, "price"),
        ({"price": "0"}, "a LIMIT order needs a price"),
        ({"order_type": "SL"}, "needs a trigger_price"),
        ({"tag": "x" * 21}, "tag"),
        ({"tag": "not-alphanumeric"}, "tag"),
    ],
)
def test_a_bad_request_makes_no_order(fields: dict[str, Any], reason: str) -> None:
    checkout = Desk()
    with pytest.raises((ValueError, msgspec.ValidationError), match=reason):
        checkout.place(**fields)
    assert checkout.book.latest() == []


def test_the_book_and_the_states_of_an_order_are_bounded() -> None:
    checkout = Desk(most=3)
    orders = [checkout.place() for _ in range(3)]
    with pytest.raises(OrderError, match="3 orders exist"):
        checkout.place()
    for quantity in range(MOST_MODIFICATIONS):
        checkout.modify(orders[0], quantity=quantity + 2)
    with pytest.raises(OrderError, match=f"modified {MOST_MODIFICATIONS} times"):
        checkout.modify(orders[0], quantity=1)
    assert checkout.book.cancel("regular", orders[0].order_id).status == "CANCELLED"
    assert len(checkout.book.latest()) == 3
