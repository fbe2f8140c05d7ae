"""Candles: as JSON for programs, and as text lines for AmiQuote."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from brokerpool.brokers.rest import Candle
from brokerpool.errors import CallFailedError, ErrorCode
from brokerpool.gateway.rest import answers
from brokerpool.gateway.rest.answers import HistoryAnswer, IntervalsAnswer
from brokerpool.gateway.rest.api_docs import answered
from brokerpool.gateway.rest.failures import FaultyRequestError, RequestRefusedError
from brokerpool.gateway.rest.market_data_access import Market
from brokerpool.gateway.rest.request_models import ApiKey, Day, HistoryRequest, Interval, Keyed
from brokerpool.gateway.rest.stream import json_response, rows_response, text_lines
from brokerpool.instruments import Instrument

IST = timezone(timedelta(hours=5, minutes=30))

#: The broker's calls that one request may cost: 1,200 days of minutes, a lifetime of days.
MOST_CALLS = 20
#: The time that they may take together; the SDK gives up after 120.
MOST_SECONDS = 60.0
#: No Indian exchange has candles of earlier days.
FIRST_DAY = date(1990, 1, 1)

#: `ticker` goes back this far from its end, as OpenAlgo's does.
TICKER_DAYS, TICKER_DAILY_DAYS = 30, 3650

_Today = Callable[[], date]


def today() -> date:
    """Return the present day in India."""
    return datetime.now(UTC).astimezone(IST).date()


def history(market: Market, today: _Today = today) -> APIRouter:
    """Return the endpoints history, intervals and ticker."""
    router = APIRouter()

    @router.post("/history", responses=answered(HistoryAnswer, HTTPStatus.NOT_FOUND))
    async def _history(body: HistoryRequest, request: Request) -> Response:
        """Candles of the days from start_date to end_date, both included; epoch seconds."""
        market.admit(request, body.apikey)
        if body.source == "db":
            raise RequestRefusedError(
                HTTPStatus.NOT_FOUND,
                f"There are no candles of {body.instrument} here.",
                code=ErrorCode.LOCAL_HISTORY_NOT_KEPT,
            )
        instrument = market.listed(body.instrument)
        found = await _candles(market, instrument, body.interval, body.start_date, body.end_date, today())
        return await _as_json(found, body.interval)

    @router.post("/intervals", responses=answered(IntervalsAnswer))
    async def _intervals(body: Keyed, request: Request) -> Response:
        """The lengths of candles that the broker has."""
        market.admit(request, body.apikey)
        return json_response(IntervalsAnswer(answers.grouped(market.api.intervals)))

    @router.get("/ticker/{name}", responses=answered(HistoryAnswer, text="text/plain"))
    async def _ticker(
        request: Request,
        name: str,
        apikey: Annotated[ApiKey, Query()],
        interval: Annotated[Interval, Query()] = "D",
        start: Annotated[Day | None, Query(alias="from")] = None,
        end: Annotated[Day | None, Query(alias="to")] = None,
        form: Annotated[Literal["json", "txt"], Query(alias="format")] = "json",
    ) -> Response:
        """Candles of EXCHANGE:SYMBOL, at most 30 days of short ones and 10 years of daily ones."""
        market.admit(request, apikey)
        try:
            instrument = Instrument.parse(name)
        except ValueError as error:
            raise FaultyRequestError(name=f"{error}.") from None
        market.listed(instrument)
        last = today() if end is None else end
        first = earliest(last, interval) if start is None else max(start, earliest(last, interval))
        found = await _candles(market, instrument, interval, first, last, today())
        if form == "json":
            return await _as_json(found, interval)
        candles = itertools.chain.from_iterable(found)
        line = _liner(instrument, interval)
        lines = text_lines("", candles, lambda some: "".join(map(line, some)))
        return StreamingResponse(lines, media_type="text/plain")

    return router


def earliest(last: date, interval: str) -> date:
    """Return the first day of the longest window of `ticker` that ends on a day."""
    days = TICKER_DAILY_DAYS if answers.daily(interval) else TICKER_DAYS
    return date.fromordinal(max(last.toordinal() - days, FIRST_DAY.toordinal()))


def windows(first: date, last: date, days: int) -> list[tuple[datetime, datetime]]:
    """Return the parts of a stretch of days, each no longer than one call to the broker may span."""
    parts = []
    while first <= last:
        end = min(last, first + timedelta(days=days - 1))
        parts.append((_midnight(first), _midnight(end) + timedelta(days=1, seconds=-1)))
        first = end + timedelta(days=1)
    return parts


async def _candles(
    market: Market, instrument: Instrument, interval: str, first: date, last: date, today: date
) -> list[list[Candle]]:
    """Return the candles of each call, the oldest first."""
    if last < first:
        raise FaultyRequestError(end_date=f"{last} is before the first day, {first}")
    days = market.api.intervals.get(interval)
    if days is None:
        known = ", ".join(market.api.intervals)
        raise RequestRefusedError(
            HTTPStatus.BAD_REQUEST,
            f"{market.broker} has no candles of {interval!r}, but of {known}.",
            code=ErrorCode.INTERVAL_NOT_SUPPORTED,
        )
    first, last = max(first, FIRST_DAY), min(last, today)
    parts = windows(first, last, days)
    if len(parts) > MOST_CALLS:
        raise FaultyRequestError(
            start_date=f"{(last - first).days + 1} days of {interval} are more than"
            f" the {MOST_CALLS * days} that one request may ask for"
        )
    try:
        async with asyncio.timeout(MOST_SECONDS):
            # One call a part: what the pool reads at once is as little as the broker allows.
            return [await market.api.history(instrument, interval, *part) for part in parts]
    except TimeoutError:
        raise CallFailedError(
            f"{len(parts)} calls for candles of {instrument} took longer than {MOST_SECONDS:g} s.",
            code=ErrorCode.CALL_TIMED_OUT,
            sent=True,
        ) from None


async def _as_json(found: list[list[Candle]], interval: str) -> Response:
    candles = (answers.dated(candle, interval) for part in found for candle in part)
    return await rows_response(answers.SUCCESS + b'"data":', candles, sum(map(len, found)))


def _liner(instrument: Instrument, interval: str) -> Callable[[Candle], str]:
    form = "%Y-%m-%d" if answers.daily(interval) else "%Y-%m-%d,%H:%M:%S"

    def line(candle: Candle) -> str:
        at = datetime.fromtimestamp(candle.timestamp, IST).strftime(form)
        prices = f"{candle.open},{candle.high},{candle.low},{candle.close}"
        return f"{instrument},{at},{prices},{candle.volume}\n"

    return line


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), IST)
