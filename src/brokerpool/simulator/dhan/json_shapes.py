"""The JSON of Dhan's HTTP API: quotes, candles, the profile, and both forms of its complaints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.history import IST, Candle

#: The name and code of an error by its status, where the broker documents one; any other is DH-910.
_ERRORS = {
    400: ("Input_Exception", "DH-905"),
    401: ("Invalid_Authentication", "DH-901"),
    403: ("Invalid_Access", "DH-902"),
    429: ("Rate_Limit", "DH-904"),
    500: ("Internal_Server_Error", "DH-908"),
    502: ("Network_Error", "DH-909"),
    503: ("Internal_Server_Error", "DH-908"),
    504: ("Network_Error", "DH-909"),
}
#: Codes of the second form (annexure, "data API error").
TOO_MANY_REQUESTS, NOT_SUBSCRIBED, INVALID_LOGIN = "805", "806", "808"
_TEXTS = {
    TOO_MANY_REQUESTS: "Too many requests. Further requests may result in the user being blocked.",
    NOT_SUBSCRIBED: "Data APIs not Subscribed",
    INVALID_LOGIN: "Authentication Failed - Client ID or Access Token invalid",
}
_NEVER = "01/01/1980 00:00:00"


def success(data: object) -> web.Response:
    """Return an answer of the quotes with its data."""
    return web.json_response({"data": data, "status": "success"})


def failure(status: int, message: str) -> web.Response:
    """Return an error in the first form."""
    kind, code = _ERRORS.get(status, ("Others", "DH-910"))
    return web.json_response({"errorType": kind, "errorCode": code, "errorMessage": message}, status=status)


def data_failure(status: int, code: str) -> web.Response:
    """Return an error in the second form, which the quotes have."""
    return web.json_response({"data": {code: _TEXTS[code]}, "status": "failed"}, status=status)


def ltp(quote: Quote) -> dict[str, Any]:
    """Return what `/marketfeed/ltp` tells of an instrument."""
    return {"last_price": quote.ltp / quote.unit}


def ohlc(quote: Quote) -> dict[str, Any]:
    """Return what `/marketfeed/ohlc` tells of an instrument; the close is that of the session before."""
    unit = quote.unit
    day = {
        "open": quote.open / unit,
        "close": quote.close / unit,
        "high": quote.high / unit,
        "low": quote.low / unit,
    }
    return {**ltp(quote), "ohlc": day}


def full(quote: Quote) -> dict[str, Any]:
    """Return what `/marketfeed/quote` tells of an instrument."""
    unit = quote.unit
    levels = [
        {"quantity": quantity, "orders": orders, "price": price / unit}
        for quantity, price, orders in zip(
            quote.depth[::3], quote.depth[1::3], quote.depth[2::3], strict=True
        )
    ]
    traded = quote.last_trade_time
    return {
        **ohlc(quote),
        "average_price": quote.average / unit,
        "buy_quantity": quote.buy_total,
        "depth": {"buy": levels[:LEVELS], "sell": levels[LEVELS:]},
        "last_quantity": quote.last_quantity,
        "last_trade_time": local(traded, "%d/%m/%Y %H:%M:%S") if traded else _NEVER,
        "lower_circuit_limit": quote.close * 0.8 / unit,
        "net_change": (quote.ltp - quote.close) / unit,
        "oi": quote.oi,
        "oi_day_high": quote.oi_high,
        "oi_day_low": quote.oi_low,
        "sell_quantity": quote.sell_total,
        "upper_circuit_limit": quote.close * 1.2 / unit,
        "volume": quote.volume,
    }


def candles(found: Sequence[Candle], unit: int, *, with_oi: bool) -> web.Response:
    """Return a list for each member of the candles; `unit` is how many units of a price make a rupee."""
    return web.json_response(
        {
            "open": [candle.open / unit for candle in found],
            "high": [candle.high / unit for candle in found],
            "low": [candle.low / unit for candle in found],
            "close": [candle.close / unit for candle in found],
            "volume": [candle.volume for candle in found],
            "timestamp": [int(candle.start.replace(tzinfo=IST).timestamp()) for candle in found],
            "open_interest": [candle.oi for candle in found] if with_oi else [],
        }
    )


def profile(client_id: str, ends: float) -> web.Response:
    """Return the account's holder, who is nobody, and until when the token lives."""
    return web.json_response(
        {
            "dhanClientId": client_id,
            "tokenValidity": local(ends, "%d/%m/%Y %H:%M"),
            "activeSegment": "Equity, Derivative, Currency, Commodity",
            "ddpi": "Active",
            "mtf": "Active",
            "dataPlan": "Active",
            "dataValidity": local(ends, "%Y-%m-%d %H:%M:%S.0"),
        }
    )


def local(epoch: float, form: str) -> str:
    """Return a time as Dhan tells it: in India's zone, without naming it."""
    return datetime.fromtimestamp(epoch, UTC).astimezone(IST).strftime(form)
