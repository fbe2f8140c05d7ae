"""The answers as OpenAlgo's clients read them: exact members, fixed types; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import ClassVar

import msgspec
from msgspec import UNSET, UnsetType

from brokerpool.brokers.rest import Candle
from brokerpool.http.broker_api import Quoted
from brokerpool.instruments import Details, Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick

#: Levels of the order book on each side; one that is empty has zeros.
LEVELS = 5

#: Prefix of `status` in every answer that is made piece by piece.
SUCCESS = b'{"status":"success",'

#: OpenAlgo tells the days of candles as midnight UTC of the day in India.
_IST_SECONDS = 19_800

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


class Quote(msgspec.Struct, gc=False):
    """Prices in rupees; `ask` and `bid` are the best of each side, 0 where there is none."""

    open: float
    high: float
    low: float
    ltp: float
    ask: float
    bid: float
    prev_close: float
    volume: int
    oi: int


class QuoteAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `quotes`."""

    data: Quote
    #: True when the feed's last tick answered instead of the broker.
    live: bool | UnsetType = UNSET


class QuoteResult(msgspec.Struct):
    """One symbol of `multiquotes`: `data`, or `error` with its `code`; names as they were sent."""

    symbol: str
    exchange: str
    data: Quote | UnsetType = UNSET
    live: bool | UnsetType = UNSET
    error: str | UnsetType = UNSET
    code: str | UnsetType = UNSET


class MultiQuotesAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `multiquotes`; symbols without data come first."""

    results: list[QuoteResult]


class Level(msgspec.Struct, gc=False):
    """One price of the order book."""

    price: float
    quantity: int


class Depth(msgspec.Struct):
    """A quote with the order book, the best level first."""

    open: float
    high: float
    low: float
    ltp: float
    ltq: int
    prev_close: float
    volume: int
    oi: int
    totalbuyqty: int
    totalsellqty: int
    asks: list[Level]
    bids: list[Level]


class DepthAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `depth`."""

    data: Depth
    live: bool | UnsetType = UNSET


class HistoryAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `history` and `ticker`: the oldest candle first."""

    data: list[Candle]


class Intervals(msgspec.Struct):
    """The candles that can be had, by their unit."""

    units: ClassVar[Mapping[str, str]] = {
        "seconds": "s",
        "minutes": "m",
        "hours": "h",
        "days": "D",
        "weeks": "W",
        "months": "M",
    }

    seconds: list[str]
    minutes: list[str]
    hours: list[str]
    days: list[str]
    weeks: list[str]
    months: list[str]


class IntervalsAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `intervals`."""

    data: Intervals


class Pong(msgspec.Struct):
    """A sign of life."""

    message: str
    broker: str


class PingAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `ping`."""

    data: Pong


class Row(msgspec.Struct, gc=False):
    """An instrument as `instruments` tells it."""

    symbol: str
    brsymbol: str
    name: str
    exchange: str
    brexchange: str
    token: str
    #: As 24-APR-25, empty for what does not expire.
    expiry: str
    strike: float
    lotsize: int
    instrumenttype: str
    tick_size: float


class Found(Row, gc=False):
    """An instrument as `search` tells it."""

    #: 1 where the broker's list tells none, as in OpenAlgo.
    freeze_qty: int = 1


class Symbol(Found, gc=False):
    """An instrument as `symbol` tells it."""

    #: The broker's token where that is a number: unlike OpenAlgo's row number it means something.
    id: int = 0


class SymbolAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `symbol`."""

    data: Symbol


class SearchAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `search`."""

    message: str
    data: list[Found]


class ExpiryAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `expiry`: days as 24-APR-25, the nearest first."""

    message: str
    data: list[str]


class InstrumentsAnswer(msgspec.Struct, tag_field="status", tag="success"):
    """Of `instruments`."""

    data: list[Row]


def quote(tick: DepthTick) -> Quote:
    """Return the members of a quote."""
    return Quote(
        tick.open,
        tick.high,
        tick.low,
        tick.ltp,
        _best(tick.sell),
        _best(tick.buy),
        tick.close,
        tick.volume,
        tick.oi,
    )


def depth(tick: DepthTick) -> Depth:
    """Return the members of a market depth; both sides have all levels, empty ones with zeros."""
    return Depth(
        tick.open,
        tick.high,
        tick.low,
        tick.ltp,
        tick.last_trade_quantity,
        tick.close,
        tick.volume,
        tick.oi,
        tick.total_buy_quantity,
        tick.total_sell_quantity,
        _levels(tick.sell),
        _levels(tick.buy),
    )


def live(quoted: Quoted) -> bool | UnsetType:
    """Return the member that tells a quote of the feed from one of the broker."""
    return True if quoted.live else UNSET


def dated(candle: Candle, interval: str) -> Candle:
    """Return the candle with the timestamp that OpenAlgo's clients expect, in epoch seconds.

    Candles of a day or longer carry midnight UTC of their day in India, for clients take the date from it as
    it is; all others carry the moment at which they begin.
    """
    if not daily(interval):
        return candle
    return msgspec.structs.replace(candle, timestamp=candle.timestamp + _IST_SECONDS)


def daily(interval: str) -> bool:
    """Tell whether a candle of the interval spans a day or more."""
    return interval[-1:] in ("D", "W", "M", "Q", "Y")


def grouped(intervals: Iterable[str]) -> Intervals:
    """Sort intervals into OpenAlgo's groups, the shortest first."""
    names = list(intervals)
    return Intervals(
        *(
            sorted((n for n in names if n.endswith(unit)), key=lambda name: int(name[:-1] or 1))
            for unit in Intervals.units.values()
        )
    )


def row(instrument: Instrument, token: Token | None, details: Details) -> Row:
    """Return the line of an instrument."""
    return Row(*_members(instrument, token, details))


def found(instrument: Instrument, token: Token | None, details: Details) -> Found:
    """Return what a search tells of an instrument."""
    return Found(*_members(instrument, token, details))


def symbol(instrument: Instrument, token: Token | None, details: Details) -> Symbol:
    """Return everything that is known of an instrument."""
    return Symbol(*_members(instrument, token, details), id=token if isinstance(token, int) else 0)


def expiry(day: str) -> str:
    """Return 2025-04-24 as 24-APR-25, and nothing for nothing."""
    if not day:
        return ""
    parsed = date.fromisoformat(day)
    return f"{parsed.day:02d}-{_MONTHS[parsed.month - 1]}-{parsed.year % 100:02d}"


def _members(
    instrument: Instrument, token: Token | None, details: Details
) -> tuple[str, str, str, str, str, str, str, float, int, str, float]:
    return (
        instrument.symbol,
        details.broker_symbol,
        details.name,
        instrument.exchange,
        details.broker_exchange,
        details.number or ("" if token is None else str(token)),
        expiry(details.expiry),
        details.strike,
        details.lot_size,
        details.kind,
        details.tick_size,
    )


def _best(levels: Sequence[DepthLevel]) -> float:
    return levels[0].price if levels else 0.0


def _levels(levels: Sequence[DepthLevel]) -> list[Level]:
    told = [Level(level.price, level.quantity) for level in levels[:LEVELS]]
    return told + [Level(0.0, 0)] * (LEVELS - len(told))
