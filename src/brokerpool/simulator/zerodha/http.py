"""Kite's HTTP API: login, instruments, quotes, candles, orders and the profile, at the published rates.

What the broker does not document is assumed: credentials are checked before rates, so a call without
them does not count; placing, modifying and cancelling orders count together, and reading them as any
other call; the instrument list, which needs no login, counts for the account all the same.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from aiohttp import web

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.history import History
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.login_page import finished
from brokerpool.simulator.orders import Order, OrderBook
from brokerpool.simulator.request_rates import RequestRates
from brokerpool.simulator.traffic_ledger import Ledger
from brokerpool.simulator.zerodha import intervals, json_shapes
from brokerpool.simulator.zerodha.instruments import instruments_csv
from brokerpool.simulator.zerodha.json_shapes import failure, success
from brokerpool.simulator.zerodha.login import KiteLogin
from brokerpool.simulator.zerodha.order_routes import OrderDesk

#: Instruments that one request may name (the broker's documentation).
MAX_QUOTES, MAX_OHLC, MAX_LTP = 500, 1000, 1000

_FLAGS = {"0": False, "1": True}

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Shape = Callable[[Quote], dict[str, Any]]


class KiteApi:
    """Answers `/instruments` and the login to everybody, and everything else to the account's owner."""

    def __init__(
        self,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        *,
        history: History,
        orders: OrderBook,
        order_changed: Callable[[Order], None],
        rates: RequestRates,
        ledger: Ledger,
        accepts: Callable[[str, str], bool],
        login: KiteLogin,
    ) -> None:
        self._listings = listings
        self._quotes = quotes
        self._by_key = {listing.key: quotes[listing.token] for listing in listings}
        self._history = history
        self._checkout = OrderDesk(orders, listings, quotes, order_changed)
        self._rates = rates
        self._ledger = ledger
        self._accepts = accepts
        self._login = login
        self._files: dict[str | None, bytes] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every endpoint."""
        own, checkout = self._own, self._checkout
        router.add_get("/instruments", self._limited("other", self._instruments))
        router.add_get("/instruments/{exchange}", self._limited("other", self._instruments))
        router.add_get(
            "/instruments/historical/{token:[0-9]+}/{interval}", own("historical", self._historical)
        )
        router.add_get("/quote", own("quote", self._quoting(json_shapes.full, MAX_QUOTES)))
        router.add_get("/quote/ohlc", own("quote", self._quoting(json_shapes.ohlc, MAX_OHLC)))
        router.add_get("/quote/ltp", own("quote", self._quoting(json_shapes.ltp, MAX_LTP)))
        router.add_get("/orders", own("other", checkout.orders))
        router.add_get("/orders/{order_id}", own("other", checkout.order))
        router.add_post("/orders/{variety}", own("order", checkout.place))
        router.add_put("/orders/{variety}/{order_id}", own("order", checkout.modify))
        router.add_delete("/orders/{variety}/{order_id}", own("order", checkout.cancel))
        router.add_get("/user/profile", own("other", self._profile))
        router.add_get("/connect/login", self._login.page)
        router.add_post("/connect/login", self._login.log_in)
        router.add_get("/connect/finished", finished)
        router.add_post("/session/token", self._limited("other", self._login.exchange))
        router.add_delete("/session/token", self._limited("other", self._login.log_out))

    # -- what every request goes through ------------------------------------------------------------------

    def _own(self, group: str, handler: _Handler) -> _Handler:
        """Let only the account's owner through, and not too often."""
        limited = self._limited(group, handler)

        async def guarded(request: web.Request) -> web.StreamResponse:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            api_key, _, access_token = given.partition(":")
            if scheme != "token" or not self._accepts(api_key, access_token):
                return failure(403, "Incorrect `api_key` or `access_token`.")
            return await limited(request)

        return guarded

    def _limited(self, group: str, handler: _Handler) -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._rates.admit(group):
                self._ledger.too_fast[group] += 1
                return failure(429, "Too many requests")
            return await handler(request)

        return guarded

    # -- endpoints ----------------------------------------------------------------------------------------

    async def _instruments(self, request: web.Request) -> web.Response:
        exchange = request.match_info.get("exchange")
        if exchange not in self._files:
            rows = [row for row in self._listings if exchange is None or row.exchange == exchange]
            if not rows:
                return failure(400, f"Invalid exchange: {exchange!r}.")
            self._files[exchange] = await asyncio.to_thread(_instrument_file, rows)
        # The broker sends this file compressed, whatever the client accepts.
        return web.Response(
            body=self._files[exchange],
            content_type="text/csv",
            charset="utf-8",
            headers={"Content-Encoding": "gzip"},
        )

    async def _historical(self, request: web.Request) -> web.Response:
        query = request.query
        try:
            token = int(request.match_info["token"])
            begin, end = _time(query, "from"), _time(query, "to")
            with_oi = _flag(query, "oi")
            # Continuous data is that of a contract's predecessors; the simulator's contracts have none.
            _flag(query, "continuous")
            minutes = intervals.minutes(request.match_info["interval"], begin, end)
            # Years of candles take a while.
            found = await asyncio.to_thread(self._history.candles, token, minutes, begin, end)
        except ValueError as error:
            return failure(400, str(error))
        return success(json_shapes.candles(found, self._quotes[token].unit, with_oi))

    async def _profile(self, request: web.Request) -> web.Response:
        return success(json_shapes.profile(sorted({listing.exchange for listing in self._listings})))

    def _quoting(self, shape: _Shape, most: int) -> _Handler:
        async def quote(request: web.Request) -> web.Response:
            keys = request.query.getall("i", [])
            if not keys:
                return failure(400, "No instruments given: use i=EXCHANGE:SYMBOL.")
            if len(keys) > most:
                return failure(400, f"{len(keys)} instruments given, at most {most} taken.")
            return success({key: shape(self._by_key[key]) for key in keys if key in self._by_key})

        return quote


def _instrument_file(rows: Sequence[Listing]) -> bytes:
    # A fixed time in the header keeps the file the same for the same market.
    return gzip.compress(instruments_csv(rows), compresslevel=5, mtime=0)


def _time(query: Mapping[str, str], name: str) -> datetime:
    given = query.get(name, "")
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"):
        try:
            return datetime.strptime(given, form)
        except ValueError:
            continue
    raise ValueError(f"invalid {name}: {given!r} is not yyyy-mm-dd hh:mm:ss")


def _flag(query: Mapping[str, str], name: str) -> bool:
    given = query.get(name, "0")
    if given not in _FLAGS:
        raise ValueError(f"invalid {name}: {given!r} is neither 0 nor 1")
    return _FLAGS[given]
