"""The one normalised tick that every broker's packets become, with the same field types for all of them."""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar

import msgspec

from brokerpool.instruments import Instrument


class Mode(IntEnum):
    """How much of an instrument is wanted; a higher mode contains the lower ones."""

    LTP = 1
    QUOTE = 2
    DEPTH = 3

    @property
    def label(self) -> str:
        """The spelling of OpenAlgo's clients: LTP, Quote or Depth."""
        return _LABELS[self]


_LABELS = {Mode.LTP: "LTP", Mode.QUOTE: "Quote", Mode.DEPTH: "Depth"}


class DepthLevel(msgspec.Struct, frozen=True, gc=False):
    """One level of the order book: price in rupees, total quantity, number of orders."""

    price: float
    quantity: int
    orders: int


class Tick(msgspec.Struct, frozen=True, gc=False):
    """What a broker said about one instrument at one moment; more of it in QuoteTick and DepthTick.

    Prices are in rupees, quantities in units, times in epoch milliseconds (UTC). A class has the fields
    that its mode carries and no others, so that nothing is ever made up; what a broker leaves out inside
    a mode is 0 or empty.
    """

    mode: ClassVar[Mode] = Mode.LTP

    instrument: Instrument
    ltp: float
    #: The exchange's time where the packet carries it, else the moment the packet was received.
    timestamp: int


class QuoteTick(Tick, frozen=True, gc=False):
    """A tick with the day's prices and quantities."""

    mode: ClassVar[Mode] = Mode.QUOTE

    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    #: The previous session's close.
    close: float = 0.0
    volume: int = 0
    last_trade_quantity: int = 0
    avg_trade_price: float = 0.0
    #: From the previous close, in rupees and in percent.
    change: float = 0.0
    change_percent: float = 0.0
    total_buy_quantity: int = 0
    total_sell_quantity: int = 0


class DepthTick(QuoteTick, frozen=True, gc=False):
    """A tick with everything: the order book, best level first, and the open interest."""

    mode: ClassVar[Mode] = Mode.DEPTH

    last_trade_time: int = 0
    oi: int = 0
    oi_day_high: int = 0
    oi_day_low: int = 0
    buy: tuple[DepthLevel, ...] = ()
    sell: tuple[DepthLevel, ...] = ()
