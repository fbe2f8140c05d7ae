"""Quotes: one, many, and with the order book; a fresh tick of the feed answers for the broker."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable
from http import HTTPStatus
from typing import TypeAlias

from fastapi import APIRouter, Request
from starlette.responses import Response

from brokerpool.errors import ErrorCode
from brokerpool.gateway.rest import answers
from brokerpool.gateway.rest.answers import DepthAnswer, MultiQuotesAnswer, QuoteAnswer, QuoteResult
from brokerpool.gateway.rest.api_docs import answered
from brokerpool.gateway.rest.failures import InvalidSymbol, RequestRefusedError
from brokerpool.gateway.rest.market_data_access import Market
from brokerpool.gateway.rest.request_models import MultiQuotesRequest, Pair, SymbolRequest
from brokerpool.gateway.rest.stream import json_response, rows_response, sliced
from brokerpool.http.broker_api import Quoted
from brokerpool.instruments import Instrument

#: A symbol as it was sent, and what it means.
_Asked: TypeAlias = tuple[Pair, Instrument]

#: Symbols that are handed to the pool in one turn of the loop: about a millisecond.
_TOGETHER = 500

_NOT_LISTED = "The broker does not list it."
_NOT_QUOTED = "The broker has no quote of it."


def quotes(market: Market) -> APIRouter:
    """Return the endpoints quotes, multiquotes and depth."""
    router = APIRouter()

    @router.post("/quotes", responses=answered(QuoteAnswer))
    async def _quotes(body: SymbolRequest, request: Request) -> Response:
        """Prices, volume and open interest of one symbol."""
        market.admit(request, body.apikey)
        instrument = market.listed(body.instrument)
        quoted = _known((await market.api.quotes([instrument])).get(instrument), instrument)
        return json_response(QuoteAnswer(answers.quote(quoted.tick), answers.live(quoted)))

    @router.post("/multiquotes", responses=answered(MultiQuotesAnswer))
    async def _multiquotes(body: MultiQuotesRequest, request: Request) -> Response:
        """Quotes of several symbols in as few calls to the broker as possible."""
        market.admit(request, body.apikey)
        book = market.book()
        listed: list[_Asked] = []
        strangers: list[Pair] = []
        async for piece in sliced(body.symbols):
            for pair in piece:
                instrument = pair.instrument
                if book.token(instrument) is None:
                    strangers.append(pair)
                else:
                    listed.append((pair, instrument))
        if not listed:
            raise RequestRefusedError(
                HTTPStatus.BAD_REQUEST,
                f"The broker lists none of the {len(strangers)} symbols.",
                code=ErrorCode.SYMBOL_NOT_FOUND,
                invalid_symbols=[InvalidSymbol(p.symbol, p.exchange, _NOT_LISTED) for p in strangers],
            )
        found = await _many(market, dict.fromkeys(instrument for _, instrument in listed))
        results = [_without(pair, _NOT_LISTED) for pair in strangers]
        results += [_without(pair, _NOT_QUOTED) for pair, instrument in listed if instrument not in found]
        with_data = (_result(pair, found[i]) for pair, i in listed if i in found)
        head = answers.SUCCESS + b'"results":'
        return await rows_response(head, itertools.chain(results, with_data), len(body.symbols))

    @router.post("/depth", responses=answered(DepthAnswer))
    async def _depth(body: SymbolRequest, request: Request) -> Response:
        """A quote with the five best levels of each side of the order book."""
        market.admit(request, body.apikey)
        instrument = market.listed(body.instrument)
        quoted = _known(await market.api.depth(instrument), instrument)
        return json_response(DepthAnswer(answers.depth(quoted.tick), answers.live(quoted)))

    return router


def _known(quoted: Quoted | None, instrument: Instrument) -> Quoted:
    if quoted is None:
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST,
            f"The broker lists {instrument} and has no quote of it.",
            code=ErrorCode.SYMBOL_NOT_FOUND,
        )
    return quoted


async def _many(market: Market, instruments: Iterable[Instrument]) -> dict[Instrument, Quoted]:
    """Return the quotes that there are; asked for in slices, which the pool puts together again."""
    calls: list[asyncio.Task[dict[Instrument, Quoted]]] = []
    found: dict[Instrument, Quoted] = {}
    try:
        async for piece in sliced(instruments, _TOGETHER):
            # Not a comprehension: what was begun must be known when this is cancelled.
            calls.append(asyncio.create_task(market.api.quotes(piece)))  # noqa: PERF401
        for call in calls:
            found |= await call
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
    return found


def _result(pair: Pair, quoted: Quoted) -> QuoteResult:
    return QuoteResult(pair.symbol, pair.exchange, answers.quote(quoted.tick), answers.live(quoted))


def _without(pair: Pair, error: str) -> QuoteResult:
    return QuoteResult(pair.symbol, pair.exchange, error=error, code=ErrorCode.SYMBOL_NOT_FOUND.name)
