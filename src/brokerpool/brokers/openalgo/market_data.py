"""Market data of OpenAlgo's many brokers, whose members and types vary, as ticks; pure.

A frame whose members have the types of the protocol is read in one step, numbers in texts and whole ones with
a point included. Any other is mended member by member: levels without their orders, times in words. What is
missing stays 0 or empty, and so does a quantity that is no whole number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

#: A larger number is no quantity, and would not leave in JSON again.
_MOST = 2**53
#: Above all prices, and below what is no number.
_HUGE = 1e300
#: Epoch seconds, milliseconds and microseconds, told apart by their magnitude: from 1973 to the year 5138.
_FIRST_SECOND, _FIRST_MS, _FIRST_US, _END = 10**8, 10**11, 10**14, 10**17

_Price = Annotated[float, Meta(ge=-_HUGE, le=_HUGE)] | None
_Quantity = Annotated[int, Meta(ge=-_MOST, le=_MOST)] | None
_Moment = int | float | None

#: What makes a frame unreadable in one step.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)

_MODES = {mode.label.lower(): mode for mode in Mode} | {str(int(mode)): mode for mode in Mode}


class Book(msgspec.Struct, gc=False):
    """The order book, best level first."""

    buy: tuple[DepthLevel, ...] = ()
    sell: tuple[DepthLevel, ...] = ()


class Data(msgspec.Struct, gc=False):
    """All members that a tick is made of, under every name that one of the brokers has for them."""

    # In the usual order of the wire, in which reading is quickest.
    ltp: _Price = None
    open: _Price = None
    high: _Price = None
    low: _Price = None
    #: That of the session before.
    close: _Price = None
    volume: _Quantity = None
    last_trade_quantity: _Quantity = None
    avg_trade_price: _Price = None
    change: _Price = None
    change_percent: _Price = None
    oi: _Quantity = None
    total_buy_quantity: _Quantity = None
    total_sell_quantity: _Quantity = None
    timestamp: _Moment = None
    depth: Book | None = None
    exchange_timestamp: _Moment = None
    ltt: _Moment = None
    last_quantity: _Quantity = None
    ltq: _Quantity = None
    average_price: _Price = None
    prev_close: _Price = None
    price_change: _Price = None
    open_interest: _Quantity = None
    total_buy_qty: _Quantity = None
    total_sell_qty: _Quantity = None


class Frame(msgspec.Struct, tag_field="type", tag="market_data", gc=False):
    """One frame of market data."""

    symbol: str
    exchange: str
    data: Data
    #: The mode of our own subscription, which is not always that of the data; 3 where it is not told.
    mode: int = 3
    #: A brokerpool's last value of a symbol whose feed has stopped.
    stale: bool = False
    #: A brokerpool's last value, or one from another source than its feed: no tick of this moment.
    snapshot: bool = False


_decode = msgspec.json.Decoder(Frame, strict=False).decode


def read(message: str | bytes) -> Frame:
    """Return the frame of a message with the types of the protocol; raises `UNREADABLE` for any other."""
    frame = _decode(message)
    book = frame.data.depth
    if book is not None:
        for level in book.buy + book.sell:
            if not (
                -_MOST <= level.quantity <= _MOST
                and -_MOST <= level.orders <= _MOST
                and -_HUGE <= level.price <= _HUGE
            ):
                raise ValueError("a level with a number beyond all quantities or prices")
    return frame


def mended(said: Mapping[str, Any]) -> Frame | None:
    """Return the frame of a message with other types; None when it names no symbol or has no data."""
    given = said.get("data")
    if not isinstance(given, dict):
        return None
    symbol, exchange = (said.get(name) or given.get(name) for name in ("symbol", "exchange"))
    if not isinstance(symbol, str) or not isinstance(exchange, str):
        return None
    members = {name: read(given[name]) for name, read in _MENDED.items() if name in given}
    mode = _MODES.get(str(said.get("mode")).lower(), Mode.DEPTH)
    marks = (said.get(mark) is True for mark in ("stale", "snapshot"))
    return Frame(symbol, exchange, Data(**members), mode, *marks)


def tick(frame: Frame, instrument: Instrument, received_ms: int) -> Tick | None:
    """Return the tick that a frame carries, at most in the frame's mode; None for one without a price."""
    data = frame.data
    ltp = data.ltp
    if ltp is None:
        return None
    at = data.exchange_timestamp or data.timestamp
    if type(at) is not int or not _FIRST_MS <= at < _FIRST_US:
        at = epoch_ms(at, received_ms)
    # Both classes are spelled out: what they share, put together in a tuple first, would take longer.
    mode, book = frame.mode, data.depth
    if mode == 1:
        return Tick(instrument, ltp, at)
    if book is None or mode == 2:
        if (
            data.open is None
            and data.close is None
            and data.high is None
            and data.low is None
            and data.volume is None
            and data.prev_close is None
        ):
            return Tick(instrument, ltp, at)
        return QuoteTick(
            instrument,
            ltp,
            at,
            data.open or 0.0,
            data.high or 0.0,
            data.low or 0.0,
            data.close or data.prev_close or 0.0,
            data.volume or 0,
            data.last_trade_quantity or data.last_quantity or data.ltq or 0,
            data.avg_trade_price or data.average_price or 0.0,
            data.change or data.price_change or 0.0,
            data.change_percent or 0.0,
            data.total_buy_quantity or data.total_buy_qty or 0,
            data.total_sell_quantity or data.total_sell_qty or 0,
        )
    return DepthTick(
        instrument,
        ltp,
        at,
        data.open or 0.0,
        data.high or 0.0,
        data.low or 0.0,
        data.close or data.prev_close or 0.0,
        data.volume or 0,
        data.last_trade_quantity or data.last_quantity or data.ltq or 0,
        data.avg_trade_price or data.average_price or 0.0,
        data.change or data.price_change or 0.0,
        data.change_percent or 0.0,
        data.total_buy_quantity or data.total_buy_qty or 0,
        data.total_sell_quantity or data.total_sell_qty or 0,
        epoch_ms(data.ltt, 0),
        data.oi or data.open_interest or 0,
        0,
        0,
        book.buy,
        book.sell,
    )


def epoch_ms(at: float | None, otherwise: int) -> int:
    """Return a moment in epoch milliseconds, told in seconds, milliseconds or microseconds."""
    if at is None or not _FIRST_SECOND <= at < _END:
        return otherwise
    if at < _FIRST_MS:
        return int(at * 1000)
    return int(at) if at < _FIRST_US else int(at) // 1000


# -- members of other types -------------------------------------------------------------------------------


def _price(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        price = float(value)
    except (ValueError, OverflowError):
        return None
    return price if math.isfinite(price) else None


def _quantity(value: object) -> int | None:
    number = value if type(value) is int else _price(value)
    if number is None or abs(number) > _MOST:
        return None
    return int(number) if number == int(number) else None


def _moment(value: object) -> int | float | None:
    if type(value) is int:
        return value
    number = _price(value)
    if number is None and isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
            return int(at.timestamp() * 1000) if at.tzinfo is not None else None
        except (ValueError, OverflowError):
            return None
    return number


def _book(value: object) -> Book | None:
    if not isinstance(value, dict):
        return None
    return Book(_levels(value.get("buy")), _levels(value.get("sell")))


def _levels(value: object) -> tuple[DepthLevel, ...]:
    if not isinstance(value, list):
        return ()
    return tuple(
        DepthLevel(price, _quantity(level.get("quantity")) or 0, _quantity(level.get("orders")) or 0)
        for level in value
        if isinstance(level, dict) and (price := _price(level.get("price"))) is not None
    )


_READERS: Mapping[str, Callable[[object], Any]] = {
    "_Price": _price,
    "_Quantity": _quantity,
    "_Moment": _moment,
    "Book | None": _book,
}
_MENDED = {name: _READERS[kind] for name, kind in Data.__annotations__.items()}
