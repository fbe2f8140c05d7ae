"""Acme's prices, which look the same on its feed and in its HTTP API, as ticks; pure."""

from __future__ import annotations

import msgspec

from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, QuoteTick, Tick


class Day(msgspec.Struct):
    """The day's prices, the close that of the day before."""

    open: float
    high: float
    low: float
    close: float
    volume: int


class Level(msgspec.Struct, array_like=True):
    """One level of the book."""

    price: float
    quantity: int
    orders: int


class Book(msgspec.Struct):
    """Bids and offers, the best first."""

    buy: list[Level]
    sell: list[Level]


class Price(msgspec.Struct):
    """What Acme tells of one instrument: the last price, and as much more as was asked for."""

    id: str
    last: float
    #: Epoch milliseconds.
    at: int
    day: Day | None = None
    book: Book | None = None


def tick(instrument: Instrument, price: Price) -> Tick:
    """Return the price as the tick that has the fields which came, and no others."""
    if price.book is not None:
        return depth_tick(instrument, price)
    if price.day is None:
        return Tick(instrument, price.last, price.at)
    return QuoteTick(instrument, price.last, price.at, **msgspec.structs.asdict(price.day))


def depth_tick(instrument: Instrument, price: Price) -> DepthTick:
    """Return the price with its book."""
    day, book = price.day or Day(0.0, 0.0, 0.0, 0.0, 0), price.book or Book([], [])
    return DepthTick(
        instrument,
        price.last,
        price.at,
        **msgspec.structs.asdict(day),
        buy=_levels(book.buy),
        sell=_levels(book.sell),
    )


def _levels(levels: list[Level]) -> tuple[DepthLevel, ...]:
    return tuple(DepthLevel(level.price, level.quantity, level.orders) for level in levels)
