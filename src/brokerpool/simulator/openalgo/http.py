"""OpenAlgo's REST API: market data and orders for whoever sends the key, fifty calls a second.

The window slides over all calls of one address, with a right key or a wrong one; a call too many is not
counted. `depth` answers a wrong key with 404, as OpenAlgo does, every other call with 403.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, time
from typing import Any

import msgspec
from aiohttp import web

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.history import SESSION_MINUTES, History
from brokerpool.simulator.listed_instruments import Listing
from brokerpool.simulator.openalgo import json_shapes
from brokerpool.simulator.openalgo.instruments import expiry, instruments_csv, row
from brokerpool.simulator.openalgo.json_shapes import INTERVALS, RETRY_AFTER, failure, success
from brokerpool.simulator.openalgo.order_routes import OrderDesk
from brokerpool.simulator.request_rates import RequestRates
from brokerpool.simulator.traffic_ledger import Ledger

#: Of the windows for the calls of one address.
GROUP = "api"
#: More than this a search does not find.
MOST_FOUND = 500
#: As OpenAlgo has it where a broker tells none.
_FREEZE_QUANTITY = 1
_ROOT = "/api/v1/"

_Body = dict[str, Any]
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OpenAlgoApi:
    """Answers everything under `/api/v1/`; the last slash may be there or not."""

    def __init__(
        self,
        listings: Sequence[Listing],
        quotes: Mapping[int, Quote],
        *,
        history: History,
        orders: OrderDesk,
        rates: RequestRates,
        ledger: Ledger,
        accepts: Callable[[str], bool],
        broker: str,
    ) -> None:
        """`broker` is the one behind OpenAlgo."""
        self._listings = {(listing.exchange, listing.tradingsymbol): listing for listing in listings}
        self._numbers = {listing.token: number for number, listing in enumerate(listings, 1)}
        self._quotes = quotes
        self._history = history
        self._desk = orders
        self._rates = rates
        self._ledger = ledger
        self._accepts = accepts
        self._broker = broker

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add every endpoint."""
        posts: dict[str, Callable[[_Body], web.Response]] = {
            "quotes": self._quote,
            "multiquotes": self._multiquotes,
            "depth": self._depth,
            "intervals": lambda body: success(json_shapes.intervals()),
            "ping": lambda body: success({"message": "pong", "broker": self._broker}),
            "symbol": self._symbol,
            "search": self._search,
            "expiry": self._expiry,
            **self._desk.calls(),
        }
        handlers = {name: self._own(_at_once(carry_out)) for name, carry_out in posts.items()}
        handlers["depth"] = self._own(_at_once(self._depth), wrong_key=404)
        handlers["history"] = self._own(self._candles)
        for name, handler in handlers.items():
            for path in (_ROOT + name, f"{_ROOT}{name}/"):
                router.add_post(path, self._limited(handler))
        for path in (f"{_ROOT}instruments", f"{_ROOT}instruments/"):
            router.add_get(path, self._limited(self._instruments))

    # -- what every request goes through ------------------------------------------------------------------

    def _limited(self, handler: _Handler) -> _Handler:
        async def guarded(request: web.Request) -> web.StreamResponse:
            if not self._rates.admit(GROUP):
                self._ledger.too_fast[GROUP] += 1
                return failure(429, "Too many requests.", retry_after=RETRY_AFTER)
            return await handler(request)

        return guarded

    def _own(self, carry_out: Callable[[_Body], Awaitable[web.Response]], wrong_key: int = 403) -> _Handler:
        """Let only whoever sends the key through; the key goes no further."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                body = msgspec.json.decode(await request.read(), type=_Body)
            except (msgspec.MsgspecError, RecursionError):
                return failure(400, "The body is not a JSON object.")
            key = body.pop("apikey", None)
            if not isinstance(key, str) or not key:
                return failure(400, {"apikey": ["It has to be there."]})
            if not self._accepts(key):
                return failure(wrong_key, "This API key is not known.")
            try:
                return await carry_out(body)
            except LookupError as error:
                return failure(400, str(error.args[0]))
            except (ValueError, msgspec.ValidationError) as error:
                return failure(400, str(error))

        return guarded

    # -- market data --------------------------------------------------------------------------------------

    def _quote(self, body: _Body) -> web.Response:
        return success(json_shapes.quote(self._quotes[self._listed(body).token]))

    def _multiquotes(self, body: _Body) -> web.Response:
        named = msgspec.convert(body.get("symbols"), list[dict[str, Any]])
        if not named:
            raise ValueError("symbols: at least one has to be there")
        unknown, results = [], []
        for entry in named:
            names = {"symbol": _text(entry, "symbol"), "exchange": _text(entry, "exchange")}
            try:
                token = self._listed(entry).token
            except LookupError as error:
                unknown.append({**names, "error": str(error.args[0])})
            else:
                results.append({**names, "data": json_shapes.quote(self._quotes[token])})
        if not results:
            return failure(400, "None of the symbols is listed.", invalid_symbols=unknown)
        return success(results=unknown + results)

    def _depth(self, body: _Body) -> web.Response:
        return success(json_shapes.depth(self._quotes[self._listed(body).token]))

    async def _candles(self, body: _Body) -> web.Response:
        listing, interval = self._listed(body), _text(body, "interval")
        if interval not in INTERVALS:
            raise ValueError(f"interval: {interval!r} is none of {', '.join(INTERVALS)}")
        if body.get("source", "api") != "api":
            return failure(404, "Nothing is kept of this symbol.")
        begin = _day(body, "start_date")
        end = datetime.combine(_day(body, "end_date"), time.max)
        minutes = INTERVALS[interval]
        # Years of candles take a while.
        found = await asyncio.to_thread(self._history.candles, listing.token, minutes, begin, end)
        return success(json_shapes.candles(found, listing.unit, minutes == SESSION_MINUTES))

    # -- the list -----------------------------------------------------------------------------------------

    def _symbol(self, body: _Body) -> web.Response:
        try:
            listing = self._listed(body)
        except LookupError as error:
            return failure(404, str(error.args[0]))
        number = self._numbers[listing.token]
        return success({"id": number, **row(listing), "freeze_qty": _FREEZE_QUANTITY})

    def _search(self, body: _Body) -> web.Response:
        words, exchange = _text(body, "query").upper().split(), body.get("exchange")
        found = [
            {**row(listing), "freeze_qty": _FREEZE_QUANTITY}
            for listing in self._listings.values()
            if exchange in (None, "", listing.exchange)
            and all(word in f"{listing.tradingsymbol} {listing.name}" for word in words)
        ]
        return success(found[:MOST_FOUND], message=f"{len(found)} symbols match.")

    def _expiry(self, body: _Body) -> web.Response:
        name, exchange, kind = (_text(body, member) for member in ("symbol", "exchange", "instrumenttype"))
        if kind not in ("futures", "options"):
            raise ValueError(f"instrumenttype: {kind!r} is neither futures nor options")
        kinds = ("FUT",) if kind == "futures" else ("CE", "PE")
        days = {
            listing.expiry: expiry(listing)
            for listing in self._listings.values()
            if (listing.name, listing.exchange) == (name, exchange) and listing.kind in kinds
        }
        told = [day for _, day in sorted(days.items(), key=lambda found: f"{found[0]}")]
        return success(told, message=f"{len(told)} expiries.")

    async def _instruments(self, request: web.Request) -> web.Response:
        query = request.query
        if not self._accepts(query.get("apikey", "")):
            return failure(403, "This API key is not known.")
        exchange, form = query.get("exchange"), query.get("format", "json")
        rows = [listing for listing in self._listings.values() if exchange in (None, listing.exchange)]
        if form not in ("json", "csv"):
            return failure(400, f"format: {form!r} is neither json nor csv")
        if form == "csv":
            return web.Response(body=instruments_csv(rows), content_type="text/csv", charset="utf-8")
        return success([row(listing) for listing in rows])

    # -- inside -------------------------------------------------------------------------------------------

    def _listed(self, body: _Body) -> Listing:
        symbol, exchange = _text(body, "symbol"), _text(body, "exchange")
        listing = self._listings.get((exchange, symbol))
        if listing is None:
            raise LookupError(f"{exchange}:{symbol} is not listed")
        return listing


def _at_once(carry_out: Callable[[_Body], web.Response]) -> Callable[[_Body], Awaitable[web.Response]]:
    async def handler(body: _Body) -> web.Response:
        return carry_out(body)

    return handler


def _text(body: Mapping[str, Any], name: str) -> str:
    given = body.get(name)
    if not isinstance(given, str) or not given:
        raise ValueError(f"{name}: it has to be there, as a text")
    return given


def _day(body: _Body, name: str) -> datetime:
    try:
        return datetime.strptime(_text(body, name), "%Y-%m-%d")
    except ValueError:
        raise ValueError(f"{name}: {body.get(name)!r} is not YYYY-MM-DD") from None
