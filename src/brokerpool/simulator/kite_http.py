"""Kite's HTTP API, as much as a market-data pool needs: instruments and quotes."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from aiohttp import web

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.faults import Faults
from brokerpool.simulator.ledger import Ledger
from brokerpool.simulator.listings import Listing, divisor, instruments_csv

#: Instruments that one request may name (the broker's documentation).
MAX_QUOTES, MAX_OHLC, MAX_LTP = 500, 1000, 1000

_IST = timezone(timedelta(hours=5, minutes=30))
# A request that names 1,000 instruments has a far longer first line than aiohttp's 8 KiB.
_MAX_LINE_BYTES = 128 * 1024
_SHUTDOWN_SECONDS = 1.0

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Shape = Callable[[Quote], dict[str, Any]]


class HttpListener:
    """An aiohttp application on a port of its own."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, max_line_size=_MAX_LINE_BYTES
        )
        self.port = 0

    async def open(self, host: str, port: int) -> None:
        """Begin to listen; port 0 takes any free one. Raises OSError when the address is taken."""
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Stop listening; requests under way get a second to end."""
        await self._runner.cleanup()


class KiteApi:
    """Answers `/instruments` to everybody and `/quote` in three shapes to the account's owner."""

    def __init__(
        self,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        faults: Faults,
        ledger: Ledger,
        accepts: Callable[[str, str], bool],
    ) -> None:
        self._listings = listings
        self._by_key = {listing.key: quotes[listing.token] for listing in listings}
        self._faults = faults
        self._ledger = ledger
        self._accepts = accepts
        self._files: dict[str | None, bytes] = {}

    def app(self) -> web.Application:
        """Return the application with its routes."""
        app = web.Application(middlewares=[self._refusing])
        app.router.add_get("/instruments", self._instruments)
        app.router.add_get("/instruments/{exchange}", self._instruments)
        app.router.add_get("/quote", self._quoting(_full, MAX_QUOTES))
        app.router.add_get("/quote/ohlc", self._quoting(_ohlc, MAX_OHLC))
        app.router.add_get("/quote/ltp", self._quoting(_ltp, MAX_LTP))
        return app

    @web.middleware
    async def _refusing(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        self._ledger.http_requests[resource.canonical if resource else "unknown"] += 1
        if self._faults.latency_ms:
            await asyncio.sleep(self._faults.latency_ms / 1000.0)
        if self._faults.down:
            return _error(503, "NetworkException", "The simulated broker is down.")
        refuse = self._faults.http_refusal()
        if refuse is not None:
            answer = _error(refuse.status, "NetworkException", "Refused on command.")
            if refuse.retry_after is not None:
                answer.headers["Retry-After"] = str(refuse.retry_after)
            return answer
        return await handler(request)

    async def _instruments(self, request: web.Request) -> web.Response:
        exchange = request.match_info.get("exchange")
        if exchange not in self._files:
            rows = [row for row in self._listings if exchange is None or row.exchange == exchange]
            if not rows:
                return _error(400, "InputException", f"Invalid exchange: {exchange!r}.")
            self._files[exchange] = await asyncio.to_thread(_instrument_file, rows)
        # The broker sends this file compressed, whatever the client accepts.
        return web.Response(
            body=self._files[exchange],
            content_type="text/csv",
            charset="utf-8",
            headers={"Content-Encoding": "gzip"},
        )

    def _quoting(self, shape: _Shape, most: int) -> _Handler:
        async def quote(request: web.Request) -> web.StreamResponse:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            api_key, _, access_token = given.partition(":")
            if scheme != "token" or not self._accepts(api_key, access_token):
                return _error(403, "TokenException", "Incorrect `api_key` or `access_token`.")
            keys = request.query.getall("i", [])
            if not keys:
                return _error(400, "InputException", "No instruments given: use i=EXCHANGE:SYMBOL.")
            if len(keys) > most:
                return _error(400, "InputException", f"{len(keys)} instruments given, at most {most} taken.")
            found = {key: shape(self._by_key[key]) for key in keys if key in self._by_key}
            return web.json_response({"status": "success", "data": found})

        return quote


def _instrument_file(rows: Sequence[Listing]) -> bytes:
    # A fixed time in the header keeps the file the same for the same market.
    return gzip.compress(instruments_csv(rows), compresslevel=5, mtime=0)


def _error(status: int, kind: str, message: str) -> web.Response:
    return web.json_response({"status": "error", "message": message, "error_type": kind}, status=status)


def _ltp(quote: Quote) -> dict[str, Any]:
    return {"instrument_token": quote.token, "last_price": quote.ltp / divisor(quote.token)}


def _ohlc(quote: Quote) -> dict[str, Any]:
    unit = divisor(quote.token)
    return {
        **_ltp(quote),
        "ohlc": {
            "open": quote.open / unit,
            "high": quote.high / unit,
            "low": quote.low / unit,
            "close": quote.close / unit,
        },
    }


def _full(quote: Quote) -> dict[str, Any]:
    unit = divisor(quote.token)
    general = {
        **_ohlc(quote),
        "timestamp": _local(quote.exchange_time),
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
        "last_trade_time": _local(quote.last_trade_time),
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


def _local(epoch: int) -> str:
    """Kite's HTTP API tells times in India's zone without naming it."""
    return datetime.fromtimestamp(epoch, UTC).astimezone(_IST).strftime("%Y-%m-%d %H:%M:%S")
