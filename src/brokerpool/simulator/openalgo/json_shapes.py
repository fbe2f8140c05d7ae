"""The JSON of OpenAlgo's REST API: envelopes, quotes, orders, books; without blanks, as some clients need."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.history import IST, SESSION_MINUTES, Candle
from brokerpool.simulator.openalgo.session import USER_ID
from brokerpool.simulator.orders import Order

#: What a client is told to wait when it asks too often, in seconds.
RETRY_AFTER = 60
#: A candle's interval -> its minutes.
INTERVALS = {"1m": 1, "3m": 3, "5m": 5, "10m": 10, "15m": 15, "30m": 30, "1h": 60, "D": SESSION_MINUTES}

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def answer(members: object, status: int = 200) -> web.Response:
    """Return the answer with these members."""
    return web.Response(body=msgspec.json.encode(members), status=status, content_type="application/json")


def success(data: object = msgspec.UNSET, **members: object) -> web.Response:
    """Return an answer with its data."""
    told = {} if data is msgspec.UNSET else {"data": data}
    return answer({"status": "success", **told, **members})


def failure(status: int, message: object, **members: object) -> web.Response:
    """Return an error: a text, or an object of what is wrong with each member."""
    return answer({"status": "error", "message": message, **members}, status)


def quote(told: Quote) -> dict[str, Any]:
    """Return what `quotes` tells of an instrument."""
    unit, depth = told.unit, told.depth
    return {
        "open": told.open / unit,
        "high": told.high / unit,
        "low": told.low / unit,
        "ltp": told.ltp / unit,
        "ask": depth[3 * LEVELS + 1] / unit,
        "bid": depth[1] / unit,
        "prev_close": told.close / unit,
        "volume": told.volume,
        "oi": told.oi,
    }


def depth(told: Quote) -> dict[str, Any]:
    """Return what `depth` tells of an instrument."""
    levels = [
        {"price": price / told.unit, "quantity": quantity}
        for quantity, price in zip(told.depth[::3], told.depth[1::3], strict=True)
    ]
    members = quote(told)
    del members["ask"], members["bid"]
    return {
        **members,
        "ltq": told.last_quantity,
        "totalbuyqty": told.buy_total,
        "totalsellqty": told.sell_total,
        "asks": levels[LEVELS:],
        "bids": levels[:LEVELS],
    }


def candles(found: Sequence[Candle], unit: int, daily: bool) -> list[dict[str, Any]]:
    """Return rows with times in epoch seconds; a day is told as midnight UTC of the day in India."""
    zone = UTC if daily else IST
    return [
        {
            "timestamp": int(candle.start.replace(tzinfo=zone).timestamp()),
            "open": candle.open / unit,
            "high": candle.high / unit,
            "low": candle.low / unit,
            "close": candle.close / unit,
            "volume": candle.volume,
            "oi": candle.oi,
        }
        for candle in found
    ]


def intervals() -> dict[str, list[str]]:
    """Return the intervals by their unit."""
    return {
        "seconds": [],
        "minutes": [name for name in INTERVALS if name.endswith("m")],
        "hours": [name for name in INTERVALS if name.endswith("h")],
        "days": [name for name in INTERVALS if name.endswith("D")],
        "weeks": [],
        "months": [],
    }


def order(state: Order) -> dict[str, Any]:
    """Return an order as the order book and `orderstatus` tell it."""
    request = state.request
    return {
        "action": request.transaction_type,
        "average_price": state.average_price,
        "exchange": request.exchange,
        "order_status": state.status.lower(),
        "orderid": state.order_id,
        "price": request.price,
        "pricetype": request.order_type,
        "product": request.product,
        "quantity": request.quantity,
        "symbol": request.tradingsymbol,
        "timestamp": local(state.at),
        "trigger_price": request.trigger_price,
    }


def order_statistics(orders: Iterable[Order]) -> dict[str, int]:
    """Return how many orders of each kind a book has."""
    states = [(order.request.transaction_type, order.status) for order in orders]
    return {
        "total_buy_orders": sum(side == "BUY" for side, _ in states),
        "total_sell_orders": sum(side == "SELL" for side, _ in states),
        "total_completed_orders": sum(status == "COMPLETE" for _, status in states),
        "total_open_orders": sum(status in ("OPEN", "TRIGGER PENDING") for _, status in states),
        "total_rejected_orders": sum(status == "REJECTED" for _, status in states),
    }


def trade(state: Order) -> dict[str, Any]:
    """Return what was traded of an order."""
    request = state.request
    return {
        "action": request.transaction_type,
        "average_price": state.average_price,
        "exchange": request.exchange,
        "orderid": state.order_id,
        "product": request.product,
        "quantity": state.filled,
        "symbol": request.tradingsymbol,
        "timestamp": local(state.at),
        "trade_value": round(state.average_price * state.filled, 2),
    }


def order_update(state: Order, broker: str) -> dict[str, Any]:
    """Return what subscribers of order updates are told of a state."""
    request = state.request
    return {
        "type": "order_update",
        "user_id": USER_ID,
        "mode": "live",
        "broker": broker,
        "orderid": state.order_id,
        "symbol": request.tradingsymbol,
        "exchange": request.exchange,
        "action": request.transaction_type,
        "quantity": request.quantity,
        "price": request.price,
        "trigger_price": request.trigger_price,
        "pricetype": request.order_type,
        "product": request.product,
        "order_status": state.status.lower(),
        "filled_quantity": state.filled,
        "pending_quantity": state.pending,
        "average_price": state.average_price,
        "rejection_reason": state.message or "",
    }


def local(epoch: float) -> str:
    """Return a time of India's, as 24-Nov-2026 09:15:00."""
    told = datetime.fromtimestamp(epoch, UTC).astimezone(IST)
    return f"{told.day:02d}-{_MONTHS[told.month - 1]}-{told:%Y %H:%M:%S}"
