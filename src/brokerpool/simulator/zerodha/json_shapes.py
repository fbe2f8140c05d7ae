"""The JSON of Kite's HTTP API: envelopes, quotes, candles and orders, as the broker documents them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.history import IST, Candle
from brokerpool.simulator.orders import Order

#: The name of an error by its status, where the broker documents one; any other is a GeneralException.
_ERROR_TYPES = {
    400: "InputException",
    403: "TokenException",
    429: "NetworkException",
    502: "NetworkException",
    503: "NetworkException",
    504: "NetworkException",
}

#: The account's holder, who is nobody.
USER_ID = "SIM001"

#: The kinds of orders; all of them are treated alike.
VARIETIES = ("regular", "amo", "co", "iceberg", "auction")


def success(data: object) -> web.Response:
    """Return an answer with its data."""
    return web.json_response({"status": "success", "data": data})


def failure(status: int, message: str, error_type: str | None = None) -> web.Response:
    """Return an error; without a name it has the one that is documented for its status."""
    kind = error_type or _ERROR_TYPES.get(status, "GeneralException")
    return web.json_response({"status": "error", "message": message, "error_type": kind}, status=status)


def ltp(quote: Quote) -> dict[str, Any]:
    """Return what `/quote/ltp` tells of an instrument."""
    return {"instrument_token": quote.token, "last_price": quote.ltp / quote.unit}


def ohlc(quote: Quote) -> dict[str, Any]:
    """Return what `/quote/ohlc` tells of an instrument."""
    unit = quote.unit
    return {
        **ltp(quote),
        "ohlc": {
            "open": quote.open / unit,
            "high": quote.high / unit,
            "low": quote.low / unit,
            "close": quote.close / unit,
        },
    }


def full(quote: Quote) -> dict[str, Any]:
    """Return what `/quote` tells of an instrument; an index has neither quantities nor a book."""
    unit = quote.unit
    general = {
        **ohlc(quote),
        "timestamp": local(quote.exchange_time),
        "net_change": (quote.ltp - quote.close) / unit,
    }
    if quote.is_index:
        return general
    levels = [
        {"quantity": quantity, "price": price / unit, "orders": orders}
        for quantity, price, orders in zip(
            quote.depth[::3], quote.depth[1::3], quote.depth[2::3], strict=True
        )
    ]
    return {
        **general,
        "last_trade_time": local(quote.last_trade_time),
        "last_quantity": quote.last_quantity,
        "average_price": quote.average / unit,
        "volume": quote.volume,
        "buy_quantity": quote.buy_total,
        "sell_quantity": quote.sell_total,
        "oi": quote.oi,
        "oi_day_high": quote.oi_high,
        "oi_day_low": quote.oi_low,
        "depth": {"buy": levels[:LEVELS], "sell": levels[LEVELS:]},
    }


def candles(found: Sequence[Candle], unit: int, with_oi: bool) -> dict[str, Any]:
    """Return rows of time, open, high, low, close, volume and, when asked for, open interest.

    `unit` is how many units of a price make a rupee.
    """
    return {
        "candles": [
            [
                f"{candle.start:%Y-%m-%dT%H:%M:%S}+0530",
                candle.open / unit,
                candle.high / unit,
                candle.low / unit,
                candle.close / unit,
                candle.volume,
                *((candle.oi,) if with_oi else ()),
            ]
            for candle in found
        ]
    }


def order(state: Order) -> dict[str, Any]:
    """Return one state of an order."""
    request = state.request
    at_exchange = state.status not in ("PUT ORDER REQ RECEIVED", "REJECTED")
    return {
        "placed_by": USER_ID,
        "order_id": state.order_id,
        "exchange_order_id": f"1{state.order_id}" if at_exchange else None,
        "parent_order_id": None,
        "status": state.status,
        "status_message": state.message,
        "order_timestamp": local(state.at),
        "exchange_timestamp": local(state.at) if at_exchange else None,
        "variety": state.variety,
        "exchange": request.exchange,
        "tradingsymbol": request.tradingsymbol,
        "instrument_token": state.token,
        "order_type": request.order_type,
        "transaction_type": request.transaction_type,
        "validity": request.validity,
        "product": request.product,
        "quantity": request.quantity,
        "disclosed_quantity": request.disclosed_quantity,
        "price": request.price,
        "trigger_price": request.trigger_price,
        "average_price": state.average_price,
        "filled_quantity": state.filled,
        "pending_quantity": state.pending,
        "cancelled_quantity": state.cancelled,
        "market_protection": 0,
        "meta": {},
        "tag": request.tag,
    }


def profile(exchanges: Sequence[str]) -> dict[str, Any]:
    """Return the account's holder."""
    return {
        "user_id": USER_ID,
        "user_type": "individual",
        "email": "nobody@localhost",
        "user_name": "Simulated Account",
        "user_shortname": "Simulated",
        "broker": "ZERODHA",
        "exchanges": list(exchanges),
        "products": ["CNC", "NRML", "MIS", "MTF", "CO"],
        "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
        "order_varieties": list(VARIETIES),
        "avatar_url": None,
        "meta": {"demat_consent": "physical"},
    }


def local(epoch: float) -> str:
    """Kite's HTTP API tells times in India's zone without naming it."""
    return datetime.fromtimestamp(epoch, UTC).astimezone(IST).strftime("%Y-%m-%d %H:%M:%S")
