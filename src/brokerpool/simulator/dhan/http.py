"""Dhan's HTTP API: quotes, candles, the profile, the renewal of a token and the list, at the published rates.

What the broker does not document is assumed: credentials are checked before rates, so a call without them
does not count; the quotes complain in the form `{"data": {code: text}, "status": "failed"}`, everything else
with `errorCode`; the list, on a host of its own, counts for nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
from aiohttp import web

from brokerpool.simulator.dhan import json_shapes
from brokerpool.simulator.dhan.instruments import SEGMENTS, instruments_csv
from brokerpool.simulator.dhan.json_shapes import data_failure, failure, success
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.history import SESSION_MINUTES, History
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.request_rates import RequestRates
from brokerpool.simulator.traffic_ledger import Ledger

#: Instruments that one request may name, and days of minutes (DhanHQ v2 documentation).
MAX_INSTRUMENTS, MAX_DAYS = 1000, 90
MINUTES = (1, 5, 15, 25, 60)
PREFIX = "/v2"
LIST_PATH = "/api-data/api-scrip-master.csv"

_Handler = Callable[[web.Request], Awaitable[web.Response]]
_Shape = Callable[[Quote], dict[str, Any]]
_Failure = Callable[[int, str], web.Response]


class _Candles(msgspec.Struct, rename="camel"):
    security_id: str
    exchange_segment: str
    instrument: str
    from_date: str
    to_date: str
    oi: bool = False
    interval: int | str = "1"


class DhanApi:
    """Answers the list to everybody, and everything else to the account's owner."""

    def __init__(
        self,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        *,
        client_id: str,
        history: History,
        rates: RequestRates,
        ledger: Ledger,
        accepts: Callable[[str, str], bool],
        subscribed: Callable[[], bool],
        token_ends: Callable[[], float],
        renew: Callable[[], str],
    ) -> None:
        """`subscribed` tells whether the account has the data APIs; `renew` makes the next access token."""
        self._listings = listings
        self._quotes = quotes
        self._client_id = client_id
        self._history = history
        self._rates = rates
        self._ledger = ledger
        self._accepts = accepts
        self._subscribed = subscribed
        self._token_ends = token_ends
        self._renew = renew
        self._list: bytes | None = None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every endpoint."""
        router.add_post(f"{PREFIX}/marketfeed/ltp", self._quoting(json_shapes.ltp))
        router.add_post(f"{PREFIX}/marketfeed/ohlc", self._quoting(json_shapes.ohlc))
        router.add_post(f"{PREFIX}/marketfeed/quote", self._quoting(json_shapes.full))
        router.add_post(f"{PREFIX}/charts/historical", self._own("data", self._days))
        router.add_post(f"{PREFIX}/charts/intraday", self._own("data", self._minutes))
        router.add_get(f"{PREFIX}/profile", self._own("other", self._profile))
        router.add_get(f"{PREFIX}/RenewToken", self._own("other", self._renewed))
        router.add_get(LIST_PATH, self._scrip_master)

    # -- what every request goes through ------------------------------------------------------------------

    def _own(self, group: str, handler: _Handler) -> _Handler:
        """Let only the account's owner through, and not too often."""

        async def guarded(request: web.Request) -> web.Response:
            if not self._accepts(_client(request), request.headers.get("access-token", "")):
                return failure(401, "Client ID or user generated access token is invalid or expired.")
            if group == "data" and not self._subscribed():
                return failure(403, "User has not subscribed to Data APIs.")
            if not self._admits(group):
                return failure(429, "Too many requests on server from single user.")
            return await handler(request)

        return guarded

    def _quoting(self, shape: _Shape) -> _Handler:
        async def quote(request: web.Request) -> web.Response:
            if not self._accepts(_client(request), request.headers.get("access-token", "")):
                return data_failure(401, json_shapes.INVALID_LOGIN)
            if not self._subscribed():
                return data_failure(403, json_shapes.NOT_SUBSCRIBED)
            if not self._admits("quote"):
                return data_failure(429, json_shapes.TOO_MANY_REQUESTS)
            try:
                body = msgspec.json.decode(await request.read(), type=dict[str, list[int] | str])
            except (msgspec.MsgspecError, RecursionError):
                return failure(400, "The body is no object of segments with their security ids.")
            asked = {name: ids for name, ids in body.items() if isinstance(ids, list)}
            count = sum(map(len, asked.values()))
            if not 0 < count <= MAX_INSTRUMENTS:
                return failure(400, f"{count} instruments given, 1 to {MAX_INSTRUMENTS} taken.")
            return success({name: self._told(name, ids, shape) for name, ids in asked.items()})

        return quote

    def _told(self, segment: str, ids: Sequence[int], shape: _Shape) -> dict[str, Any]:
        number = SEGMENTS.get(segment, 0xFF)
        quotes = ((security, self._quotes.get(security << 8 | number)) for security in ids)
        return {str(security): shape(quote) for security, quote in quotes if quote is not None}

    def _admits(self, group: str) -> bool:
        if not self._rates.admit(group):
            self._ledger.too_fast[group] += 1
            return False
        return True

    # -- endpoints ----------------------------------------------------------------------------------------

    async def _scrip_master(self, request: web.Request) -> web.Response:
        if self._list is None:
            self._list = await asyncio.to_thread(instruments_csv, self._listings)
        return web.Response(body=self._list, content_type="text/csv", charset="utf-8")

    async def _days(self, request: web.Request) -> web.Response:
        # The last day is not among those that are told.
        return await self._candles(request, lambda asked: SESSION_MINUTES, "%Y-%m-%d", timedelta(days=-1))

    async def _minutes(self, request: web.Request) -> web.Response:
        def minutes(asked: _Candles) -> int:
            if str(asked.interval) not in map(str, MINUTES):
                raise ValueError(f"Invalid interval: {asked.interval!r}; intervals: {MINUTES}")
            return int(asked.interval)

        return await self._candles(request, minutes, "%Y-%m-%d %H:%M:%S", timedelta())

    async def _candles(
        self, request: web.Request, minutes: Callable[[_Candles], int], form: str, more: timedelta
    ) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=_Candles)
            token = int(asked.security_id) << 8 | SEGMENTS.get(asked.exchange_segment, 0xFF)
            begin, end = _time(asked.from_date, form), _time(asked.to_date, form) + more
            span = minutes(asked)
            if span != SESSION_MINUTES and end - begin > timedelta(days=MAX_DAYS):
                raise ValueError(f"More than {MAX_DAYS} days.")
            # Years of candles take a while.
            found = await asyncio.to_thread(self._history.candles, token, span, begin, end)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            return failure(400, str(error))
        return json_shapes.candles(found, self._quotes[token].unit, with_oi=asked.oi)

    async def _profile(self, request: web.Request) -> web.Response:
        return json_shapes.profile(self._client_id, self._token_ends())

    async def _renewed(self, request: web.Request) -> web.Response:
        made = self._renew()
        ends = json_shapes.local(self._token_ends(), "%Y-%m-%dT%H:%M:%S")
        return web.json_response({"dhanClientId": self._client_id, "accessToken": made, "expiryTime": ends})


def _client(request: web.Request) -> str:
    """Return the client id, which two endpoints want under another name, and none of them must have."""
    return request.headers.get("client-id", request.headers.get("dhanClientId", ""))


def _time(given: str, form: str) -> datetime:
    for each in (form, "%Y-%m-%d"):
        try:
            return datetime.strptime(given, each)
        except ValueError:
            continue
    raise ValueError(f"Invalid date: {given!r}.")
