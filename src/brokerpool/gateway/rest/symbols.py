"""The instrument list: one, found by words, by underlying, or all of them."""

from __future__ import annotations

import csv
import io
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from msgspec.structs import astuple
from starlette.responses import Response, StreamingResponse

from brokerpool.gateway.rest import answers
from brokerpool.gateway.rest.answers import (
    ExpiryAnswer,
    InstrumentsAnswer,
    PingAnswer,
    Pong,
    Row,
    SearchAnswer,
    SymbolAnswer,
)
from brokerpool.gateway.rest.api_docs import answered
from brokerpool.gateway.rest.failures import FaultyRequestError
from brokerpool.gateway.rest.market_data_access import Market, unknown
from brokerpool.gateway.rest.request_models import (
    ApiKey,
    Exchange,
    ExpiryRequest,
    Keyed,
    SearchRequest,
    SymbolRequest,
)
from brokerpool.gateway.rest.stream import json_response, rows_response, sliced, text_lines

#: As many as OpenAlgo finds.
MOST_FOUND = 500


def symbols(market: Market) -> APIRouter:
    """Return the endpoints symbol, search, expiry, instruments and ping."""
    router = APIRouter()

    @router.post("/symbol", responses=answered(SymbolAnswer, HTTPStatus.NOT_FOUND))
    async def _symbol(body: SymbolRequest, request: Request) -> Response:
        """What the broker's list says of one symbol."""
        market.admit(request, body.apikey)
        book, instrument = market.book(), body.instrument
        token = book.token(instrument)
        if token is None:
            raise unknown(instrument, HTTPStatus.NOT_FOUND)
        return json_response(SymbolAnswer(answers.symbol(instrument, token, book.details(instrument))))

    @router.post("/search", responses=answered(SearchAnswer))
    async def _search(body: SearchRequest, request: Request) -> Response:
        """Up to 500 symbols that contain every word of the query, the nearest first."""
        market.admit(request, body.apikey)
        if not body.query.strip():
            raise FaultyRequestError(query="has no word")
        exchange = body.exchange.upper() if body.exchange else None
        found = await market.instrument_search.search(body.query, exchange, MOST_FOUND)
        book = market.book()
        slices = sliced(found)
        rows = [answers.found(i, book.token(i), book.details(i)) async for some in slices for i in some]
        message = f"Found {len(rows)} symbols" if rows else "No symbol matches"
        return json_response(SearchAnswer(message, rows))

    @router.post("/expiry", responses=answered(ExpiryAnswer))
    async def _expiry(body: ExpiryRequest, request: Request) -> Response:
        """The days on which futures or options of an underlying end, the nearest first."""
        market.admit(request, body.apikey)
        exchange = body.exchange.upper()
        days = await market.instrument_search.expiries(body.symbol, exchange, body.instrumenttype)
        message = f"{len(days)} expiry days of {body.symbol} {body.instrumenttype} in {exchange}"
        return json_response(ExpiryAnswer(message, [answers.expiry(day) for day in days]))

    @router.get("/instruments", responses=answered(InstrumentsAnswer, text="text/csv"))
    async def _instruments(
        request: Request,
        apikey: Annotated[ApiKey, Query()],
        exchange: Annotated[Exchange | None, Query()] = None,
        form: Annotated[Literal["json", "csv"], Query(alias="format")] = "json",
    ) -> Response:
        """The whole instrument list, or that of one exchange."""
        market.admit(request, apikey)
        book = market.book()
        wanted = exchange.upper() if exchange else None
        count, listed = await market.instrument_search.listed(wanted)
        rows = (answers.row(i, book.token(i), book.details(i)) for i in listed)
        if form == "json":
            return await rows_response(answers.SUCCESS + b'"data":', rows, count)
        return StreamingResponse(
            text_lines(",".join(Row.__struct_fields__) + "\r\n", rows, _csv_lines),
            media_type="text/csv",
            headers={"Content-Disposition": f"attachment; filename=instruments_{exchange or 'all'}.csv"},
        )

    @router.post("/ping", responses=answered(PingAnswer))
    async def _ping(body: Keyed, request: Request) -> Response:
        """A sign of life for whoever has the key."""
        market.admit(request, body.apikey)
        return json_response(PingAnswer(Pong("pong", market.broker)))

    return router


def _csv_lines(rows: list[Row]) -> str:
    lines = io.StringIO()
    csv.writer(lines).writerows(map(astuple, rows))
    return lines.getvalue()
