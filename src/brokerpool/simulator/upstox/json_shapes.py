"""The JSON of Upstox's HTTP API: envelopes, quotes and candles, as the broker documents them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.history import IST, Candle

#: The code of an error by its status, where the broker documents one; any other is a general one.
_CODES = {401: "UDAPI100050", 429: "UDAPI10005", 500: "UDAPI100500", 503: "UDAPI100500"}
_GENERAL = "UDAPI10000"

#: The account's holder, who is nobody.
HOLDER = {
    "email": "nobody@localhost",
    "exchanges": ["NSE", "NFO", "CDS"],
    "products": ["D", "CO", "I"],
    "broker": "UPSTOX",
    "user_id": "SIM001",
    "user_name": "Simulated Account",
    "order_types": ["MARKET", "LIMIT", "SL", "SL-M"],
    "user_type": "individual",
    "poa": False,
    "is_active": True,
}


def success(data: object) -> web.Response:
    """Return an answer with its data."""
    return web.json_response({"status": "success", "data": data})


def failure(status: int, message: str, code: str | None = None) -> web.Response:
    """Return an error; without a code it has the one that is documented for its status."""
    told = code or _CODES.get(status, _GENERAL)
    error = {
        "errorCode": told,
        "message": message,
        "propertyPath": None,
        "invalidValue": None,
        "error_code": told,
        "property_path": None,
        "invalid_value": None,
    }
    return web.json_response({"status": "error", "errors": [error]}, status=status)


def ltp(quote: Quote, key: str) -> dict[str, Any]:
    """Return what the last price's endpoint tells of an instrument."""
    unit = quote.unit
    return {
        "last_price": quote.ltp / unit,
        "instrument_token": key,
        "ltq": quote.last_quantity,
        "volume": quote.volume,
        "cp": quote.close / unit,
    }


def ohlc(quote: Quote, key: str) -> dict[str, Any]:
    """Return what the endpoint of the day's prices tells of an instrument, for the interval 1d."""
    unit = quote.unit
    midnight = _midnight(quote.exchange_time)
    live = {
        "open": quote.open / unit,
        "high": quote.high / unit,
        "low": quote.low / unit,
        "close": quote.ltp / unit,
        "volume": quote.volume,
        "ts": midnight,
    }
    # Of the session before, the exchange keeps the close alone.
    close = quote.close / unit
    before = {"open": close, "high": close, "low": close, "close": close, "volume": 0, "ts": midnight}
    return {
        "last_price": quote.ltp / unit,
        "instrument_token": key,
        "prev_ohlc": before,
        "live_ohlc": live,
    }


def full(quote: Quote, key: str) -> dict[str, Any]:
    """Return what the endpoint of full quotes tells; its close is the last price, as the broker has it."""
    unit = quote.unit
    levels = [
        {"quantity": quantity, "price": price / unit, "orders": orders}
        for quantity, price, orders in zip(
            quote.depth[::3], quote.depth[1::3], quote.depth[2::3], strict=True
        )
    ]
    return {
        "ohlc": {
            "open": quote.open / unit,
            "high": quote.high / unit,
            "low": quote.low / unit,
            "close": quote.ltp / unit,
        },
        "depth": {"buy": levels[:LEVELS], "sell": levels[LEVELS:]},
        "timestamp": datetime.fromtimestamp(quote.exchange_time, UTC).astimezone(IST).isoformat(),
        "instrument_token": key,
        "last_price": quote.ltp / unit,
        "volume": None if quote.is_index else quote.volume,
        "average_price": None if quote.is_index else quote.average / unit,
        "oi": float(quote.oi),
        "net_change": quote.ltp / unit - quote.close / unit,
        "total_buy_quantity": float(quote.buy_total),
        "total_sell_quantity": float(quote.sell_total),
        "lower_circuit_limit": 0.0,
        "upper_circuit_limit": 0.0,
        "last_trade_time": str((quote.last_trade_time or quote.exchange_time) * 1000),
        "oi_day_high": float(quote.oi_high),
        "oi_day_low": float(quote.oi_low),
    }


def candles(found: Sequence[Candle], unit: int) -> dict[str, Any]:
    """Return rows of time, open, high, low, close, volume and open interest, the newest first."""
    return {
        "candles": [
            [
                candle.start.replace(tzinfo=IST).isoformat(),
                candle.open / unit,
                candle.high / unit,
                candle.low / unit,
                candle.close / unit,
                candle.volume,
                candle.oi,
            ]
            for candle in reversed(found)
        ]
    }


def _midnight(epoch: float) -> int:
    day = datetime.fromtimestamp(epoch, IST).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(day.timestamp() * 1000)
