"""Upstox's HTTP API: login, the feed's address, instruments, quotes and candles, at the published rates.

What the broker does not document is assumed: credentials are checked before rates, so a call without them
does not count; the redirect to the feed counts with the calls for its address; candles, for which the
official client sends no token, are told to everybody; the instrument list, which is on another host, does not
count.
"""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any

from aiohttp import web

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.history import IST, SESSION_MINUTES, History
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.request_rates import RequestRates
from brokerpool.simulator.traffic_ledger import Ledger
from brokerpool.simulator.upstox import json_shapes
from brokerpool.simulator.upstox.dial_codes import Addresses
from brokerpool.simulator.upstox.fault_switches import UpstoxFaults
from brokerpool.simulator.upstox.instruments import instruments_json, key, segment
from brokerpool.simulator.upstox.json_shapes import failure, success
from brokerpool.simulator.upstox.login import UpstoxLogin

#: Instruments that one request may name (the broker's documentation).
MOST_KEYS = 500

_FEED = "/v3/feed/market-data-feed"
_CANDLES = "/v3/historical-candle"
_OK = 200

#: Unit -> the numbers that it takes, the minutes of one, and the longest days of a call for so many minutes.
_UNITS = {"minutes": (300, 1), "hours": (5, 60), "days": (1, SESSION_MINUTES)}
_MONTH, _QUARTER, _DECADE = 31, 92, 3_653
_FINE_MINUTES = 15

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_Shape = Callable[[Quote, str], dict[str, Any]]


class UpstoxApi:
    """Answers login, list and candles to everybody, and everything else to the account's owner."""

    def __init__(
        self,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        *,
        history: History,
        rates: RequestRates,
        ledger: Ledger,
        faults: UpstoxFaults,
        accepts: Callable[[str], bool],
        addresses: Addresses,
        login: UpstoxLogin,
        clock: Callable[[], float],
    ) -> None:
        self._listings = listings
        self._by_key = {
            key(row): (f"{segment(row)}:{row.tradingsymbol}", quotes[row.token]) for row in listings
        }
        self._history = history
        self._rates = rates
        self._ledger = ledger
        self._faults = faults
        self._accepts = accepts
        self._addresses = addresses
        self._login = login
        self._clock = clock
        self._file = b""

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every endpoint."""
        own = self._own
        router.add_get(f"{_FEED}/authorize", own("address", self._address))
        router.add_get(_FEED, own("address", self._redirect))
        router.add_get("/v2/market-quote/quotes", own("quote", self._quoting(json_shapes.full)))
        router.add_get("/v3/market-quote/ltp", own("ltp", self._quoting(json_shapes.ltp)))
        router.add_get("/v3/market-quote/ohlc", own("ohlc", self._ohlc))
        router.add_get(
            f"{_CANDLES}/intraday/{{key}}/{{unit}}/{{number}}", self._limited("historical", self._today)
        )
        router.add_get(
            f"{_CANDLES}/{{key}}/{{unit}}/{{number}}/{{to}}/{{begin}}",
            self._limited("historical", self._past),
        )
        router.add_get("/v2/user/profile", own("other", self._profile))
        router.add_delete("/v2/logout", own("other", self._login.log_out))
        router.add_get("/market-quote/instruments/exchange/complete.json.gz", self._instruments)
        self._login.add_routes(router)

    # -- what every request goes through ------------------------------------------------------------------

    def _own(self, group: str, handler: _Handler) -> _Handler:
        """Let only the account's owner through, and not too often."""
        limited = self._limited(group, handler)

        async def guarded(request: web.Request) -> web.StreamResponse:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            if scheme != "Bearer" or not self._accepts(token):
                return failure(401, "Invalid token used to access API.")
            return await limited(request)

        return guarded

    def _limited(self, group: str, handler: _Handler) -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if self._rates.admit(group):
                return await handler(request)
            self._ledger.too_fast[group] += 1
            answer = failure(429, "Too many requests sent.")
            if self._faults.too_fast_as_success:
                answer.set_status(_OK)
            return answer

        return guarded

    # -- endpoints ----------------------------------------------------------------------------------------

    async def _address(self, request: web.Request) -> web.Response:
        address = self._addresses.give()
        return success({"authorizedRedirectUri": address, "authorized_redirect_uri": address})

    async def _redirect(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": self._addresses.give()}, body=b"")

    async def _instruments(self, request: web.Request) -> web.Response:
        if not self._file:
            # A fixed time in the header keeps the file the same for the same market.
            packed = await asyncio.to_thread(instruments_json, self._listings)
            self._file = await asyncio.to_thread(gzip.compress, packed, 5, mtime=0)
        return web.Response(body=self._file, content_type="application/octet-stream")

    async def _profile(self, request: web.Request) -> web.Response:
        return success(json_shapes.HOLDER)

    def _quoting(self, shape: _Shape) -> _Handler:
        async def quote(request: web.Request) -> web.Response:
            # The official client still uses the older name of the parameter for full quotes.
            given = request.query.get("instrument_key") or request.query.get("symbol", "")
            keys = [name for name in given.split(",") if name]
            if not keys:
                return failure(400, "One of either symbol or instrument_key must be given.", "UDAPI1087")
            if len(keys) > MOST_KEYS:
                return failure(400, f"{len(keys)} instrument keys, at most {MOST_KEYS}.", "UDAPI100042")
            found = {name: self._by_key[name] for name in keys if name in self._by_key}
            return success({symbol: shape(quote, name) for name, (symbol, quote) in found.items()})

        return quote

    async def _ohlc(self, request: web.Request) -> web.StreamResponse:
        if request.query.get("interval") != "1d":
            return failure(400, "The simulator has the interval 1d only.", "UDAPI1027")
        return await self._quoting(json_shapes.ohlc)(request)

    async def _past(self, request: web.Request) -> web.Response:
        try:
            begin, end = (datetime.strptime(request.match_info[name], "%Y-%m-%d") for name in ("begin", "to"))
        except ValueError:
            return failure(400, "A date is not yyyy-mm-dd.", "UDAPI1015")
        yesterday = self._now().date() - timedelta(days=1)
        last = min(datetime.combine(end, time.max), datetime.combine(yesterday, time.max))
        return await self._candles(request, begin, last, (end - begin).days)

    async def _today(self, request: web.Request) -> web.Response:
        now = self._now()
        return await self._candles(request, datetime.combine(now, time()), now, 0)

    async def _candles(self, request: web.Request, begin: datetime, end: datetime, days: int) -> web.Response:
        _, quote = self._by_key.get(request.match_info["key"], (None, None))
        if quote is None:
            return failure(400, "Invalid instrument key.", "UDAPI100011")
        most, minutes = _UNITS.get(request.match_info["unit"], (0, 0))
        told = request.match_info["number"]
        number = int(told) if told.isascii() and told.isdigit() and len(told) < 4 else 0
        if not 1 <= number <= most:
            return failure(400, "Invalid unit or interval.", "UDAPI1147")
        if days < 0 or days > _longest(number * minutes):
            return failure(400, "Invalid date range.", "UDAPI1148")
        if begin > end:
            return success(json_shapes.candles([], quote.unit))
        # Years of candles take a while.
        found = await asyncio.to_thread(self._history.candles, quote.token, number * minutes, begin, end)
        return success(json_shapes.candles(found, quote.unit))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC).astimezone(IST).replace(tzinfo=None)


def _longest(minutes: int) -> int:
    """Return the most days of one call for candles of so many minutes."""
    if minutes == SESSION_MINUTES:
        return _DECADE
    return _MONTH if minutes <= _FINE_MINUTES else _QUARTER
