"""Angel's HTTP API: quotes and candles under its rates, its login, and the instrument list."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
from aiohttp import web

from brokerpool.simulator.angel import json_shapes
from brokerpool.simulator.angel.instruments import SEGMENTS, instruments_json, joined
from brokerpool.simulator.angel.json_shapes import complaint, success, too_fast
from brokerpool.simulator.angel.login import AngelLogin
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.history import SESSION_MINUTES, History
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.request_rates import RequestRates
from brokerpool.simulator.traffic_ledger import Ledger

#: Tokens of one quote call.
MAX_QUOTES = 50
#: Minutes of each candle, and the longest days of one call.
INTERVALS = {
    "ONE_MINUTE": (1, 30),
    "THREE_MINUTE": (3, 60),
    "FIVE_MINUTE": (5, 100),
    "TEN_MINUTE": (10, 100),
    "FIFTEEN_MINUTE": (15, 200),
    "THIRTY_MINUTE": (30, 200),
    "ONE_HOUR": (60, 400),
    "ONE_DAY": (SESSION_MINUTES, 2000),
}
_SHAPES = {"LTP": json_shapes.ltp, "OHLC": json_shapes.ohlc, "FULL": json_shapes.full}
# The code of a call that cannot be understood is not documented for each of its reasons.
_BAD_CALL = "AB2002"

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Quotes(msgspec.Struct):
    mode: str
    asked: dict[str, list[str]] = msgspec.field(name="exchangeTokens")


class _Candles(msgspec.Struct):
    exchange: str
    number: str = msgspec.field(name="symboltoken")
    interval: str
    begin: str = msgspec.field(name="fromdate")
    end: str = msgspec.field(name="todate")


class AngelApi:
    """The endpoints of one account; every error of its own has status 200, and too fast is a 403."""

    def __init__(
        self,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        *,
        history: History,
        rates: RequestRates,
        ledger: Ledger,
        refusal: Callable[[str, str], tuple[str, str] | None],
        login: AngelLogin,
        client_code: str,
    ) -> None:
        """`refusal` says what is wrong with key and access token of a call: a code and its words."""
        self._listings = {row.token: row for row in listings}
        self._quotes = quotes
        self._history = history
        self._rates = rates
        self._ledger = ledger
        self._refusal = refusal
        self._login = login
        self._client_code = client_code
        self._file: bytes | None = None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every endpoint."""
        own, secure, open_ = self._own, "/rest/secure/angelbroking", "/rest/auth/angelbroking"
        router.add_get("/OpenAPI_File/files/OpenAPIScripMaster.json", self._instruments)
        for path in ("/quote/", "/quote"):  # the documentation's, and that of the official client
            router.add_post(f"{secure}/market/v1{path}", own("quote", self._quote))
        router.add_post(f"{secure}/historical/v1/getCandleData", own("historical", self._candles))
        router.add_get(f"{secure}/user/v1/getProfile", own("profile", self._profile))
        router.add_post(f"{secure}/user/v1/logout", own("logout", self._login.log_out))
        router.add_post(f"{open_}/user/v1/loginByPassword", self._limited("login", self._login.log_in))
        router.add_post(f"{open_}/jwt/v1/generateTokens", self._limited("login", self._login.renew))
        router.add_get("/publisher-login", self._login.page)

    # -- what every request goes through ------------------------------------------------------------------

    def _own(self, group: str, handler: _Handler) -> _Handler:
        """Let only the account's owner through, and not too often."""
        limited = self._limited(group, handler)

        async def guarded(request: web.Request) -> web.StreamResponse:
            scheme, _, token = request.headers.get("Authorization", "").partition(" ")
            given = token if scheme == "Bearer" else ""
            refusal = self._refusal(request.headers.get("X-PrivateKey", ""), given)
            return await limited(request) if refusal is None else complaint(*refusal)

        return guarded

    def _limited(self, group: str, handler: _Handler) -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._rates.admit(group):
                self._ledger.too_fast[group] += 1
                return too_fast()
            return await handler(request)

        return guarded

    # -- endpoints ----------------------------------------------------------------------------------------

    async def _instruments(self, request: web.Request) -> web.Response:
        if self._file is None:
            self._file = await asyncio.to_thread(_packed, list(self._listings.values()))
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=self._file, content_type="application/json", headers=headers)

    async def _quote(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=_Quotes)
        except (msgspec.MsgspecError, RecursionError):
            return complaint(_BAD_CALL, "Invalid request")
        shape, count = _SHAPES.get(asked.mode), sum(map(len, asked.asked.values()))
        if shape is None:
            return complaint(_BAD_CALL, f"Invalid mode: use {', '.join(_SHAPES)}")
        if not 0 < count <= MAX_QUOTES:
            return complaint(_BAD_CALL, f"{count} tokens given, 1 to {MAX_QUOTES} taken")
        fetched: list[dict[str, Any]] = []
        unfetched: list[dict[str, str]] = []
        for exchange, numbers in asked.asked.items():
            for number in numbers:
                row = self._row(exchange, number)
                if row is not None:
                    fetched.append(shape(row, self._quotes[row.token]))
                else:
                    told = {"message": "Symbol not found", "errorCode": "AB4018"}
                    unfetched.append({"exchange": exchange, "symbolToken": number, **told})
        return success({"fetched": fetched, "unfetched": unfetched})

    async def _candles(self, request: web.Request) -> web.Response:
        try:
            asked = msgspec.json.decode(await request.read(), type=_Candles)
            row = self._row(asked.exchange, asked.number)
            if row is None:
                raise ValueError("Symbol not found")
            minutes, days = INTERVALS[asked.interval]
            begin, end = (datetime.strptime(text, "%Y-%m-%d %H:%M") for text in (asked.begin, asked.end))
            if (end - begin).days > days:
                raise ValueError(f"more than {days} days")
            # Years of candles take a while.
            found = await asyncio.to_thread(self._history.candles, row.token, minutes, begin, end)
        except (msgspec.MsgspecError, RecursionError, KeyError, ValueError) as error:
            return complaint(_BAD_CALL, f"Invalid request: {error}")
        return success(json_shapes.candles(found, self._quotes[row.token].unit))

    async def _profile(self, request: web.Request) -> web.Response:
        exchanges = sorted({row.exchange for row in self._listings.values()})
        return success(json_shapes.profile(self._client_code, exchanges))

    def _row(self, exchange: str, number: str) -> Listing | None:
        token = joined(SEGMENTS.get(exchange, 0), number)
        return None if token is None else self._listings.get(token)


def _packed(rows: Sequence[Listing]) -> bytes:
    # A fixed time in the header keeps the file the same for the same market.
    return gzip.compress(instruments_json(rows), compresslevel=5, mtime=0)
