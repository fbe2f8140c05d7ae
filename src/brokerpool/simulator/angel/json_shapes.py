"""The JSON of Angel's HTTP API: envelopes, quotes and candles, as the broker documents them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from brokerpool.simulator.angel.instruments import parts, symbol
from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.history import IST, Candle
from brokerpool.simulator.listed_instruments import Listing

#: What a 403 says when calls come too fast, in plain text.
TOO_FAST = "Access denied because of exceeding access rate"
#: By status of a dial that is refused, what the header says.
_REASONS = "x-error-message"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def success(data: object) -> web.Response:
    """Return an answer with its data."""
    return web.json_response({"status": True, "message": "SUCCESS", "errorcode": "", "data": data})


def complaint(code: str, message: str) -> web.Response:
    """Return an error of Angel's own, which has status 200."""
    return web.json_response({"status": False, "message": message, "errorcode": code, "data": None})


def failure(status: int, message: str) -> web.Response:
    """Return an error of the broker's edge: with a status, and named in a header."""
    return web.json_response(
        {"status": False, "message": message, "errorcode": "AB1004", "data": None},
        status=status,
        headers={_REASONS: message},
    )


def too_fast() -> web.Response:
    """Return the answer to a call over the rates."""
    return web.Response(status=403, text=TOO_FAST)


def ltp(row: Listing, quote: Quote) -> dict[str, Any]:
    """Return what mode LTP tells of an instrument."""
    return {
        "exchange": row.exchange,
        "tradingSymbol": symbol(row),
        "symbolToken": parts(row.token)[1],
        "ltp": quote.ltp / quote.unit,
    }


def ohlc(row: Listing, quote: Quote) -> dict[str, Any]:
    """Return what mode OHLC tells of an instrument."""
    unit = quote.unit
    return {
        **ltp(row, quote),
        "open": quote.open / unit,
        "high": quote.high / unit,
        "low": quote.low / unit,
        "close": quote.close / unit,
    }


def full(row: Listing, quote: Quote) -> dict[str, Any]:
    """Return what mode FULL tells of an instrument; an index has neither quantities nor a book."""
    unit = quote.unit
    levels = [
        {"price": price / unit, "quantity": quantity, "orders": orders}
        for quantity, price, orders in zip(
            quote.depth[::3], quote.depth[1::3], quote.depth[2::3], strict=True
        )
    ]
    return {
        **ohlc(row, quote),
        "lastTradeQty": quote.last_quantity,
        "exchFeedTime": local(quote.exchange_time),
        "exchTradeTime": local(quote.last_trade_time),
        "netChange": round((quote.ltp - quote.close) / unit, 2),
        "percentChange": round(100.0 * (quote.ltp - quote.close) / quote.close, 2) if quote.close else 0.0,
        "avgPrice": quote.average / unit,
        "tradeVolume": quote.volume,
        "opnInterest": quote.oi,
        "lowerCircuit": 0,
        "upperCircuit": 0,
        "totBuyQuan": quote.buy_total,
        "totSellQuan": quote.sell_total,
        "52WeekLow": 0,
        "52WeekHigh": 0,
        "depth": {"buy": levels[:LEVELS], "sell": levels[LEVELS:]},
    }


def candles(found: Sequence[Candle], unit: int) -> list[list[Any]] | None:
    """Return rows of time, open, high, low, close and volume; null for none."""
    return [
        [
            f"{candle.start:%Y-%m-%dT%H:%M:%S}+05:30",
            candle.open / unit,
            candle.high / unit,
            candle.low / unit,
            candle.close / unit,
            candle.volume,
        ]
        for candle in found
    ] or None


def profile(client_code: str, exchanges: Sequence[str]) -> dict[str, Any]:
    """Return the account's holder."""
    return {
        "clientcode": client_code,
        "name": "Simulated Account",
        "email": "nobody@localhost",
        "mobileno": "",
        "exchanges": list(exchanges),
        "products": ["DELIVERY", "INTRADAY", "CARRYFORWARD", "MARGIN"],
        "lastlogintime": "",
        "broker": "",
    }


def local(epoch: int) -> str:
    """Return a time as 21-Jun-2023 10:46:10, India's zone not named; empty for none."""
    if not epoch:
        return ""
    at = datetime.fromtimestamp(epoch, UTC).astimezone(IST)
    return f"{at.day:02d}-{_MONTHS[at.month - 1]}-{at:%Y %H:%M:%S}"
