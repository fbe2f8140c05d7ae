"""The one normalised tick that every broker's packets become, with the same field types for all of them."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, ClassVar

from brokerpool.instruments import Instrument
from brokerpool.json_structs import Record


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


class DepthLevel(Record, frozen=True, gc=False):
    """One level of the order book."""

    #: In rupees.
    price: float
    #: Units at this price, of all orders together.
    quantity: int
    #: How many orders that are.
    orders: int


class Tick(Record, frozen=True, gc=False):
    """What a broker said about one instrument at one moment; more of it in QuoteTick and DepthTick.

    Prices are in rupees, quantities in units (shares or contracts' units, not lots), times in epoch
    milliseconds (UTC). A class has the fields that its mode carries and no others, so that nothing is ever
    made up; what a broker leaves out inside a mode is 0 or empty.
    """

    mode: ClassVar[Mode] = Mode.LTP

    #: Its text, as in "NSE:INFY", is `str(tick.instrument)`.
    instrument: Instrument
    #: The last traded price, in rupees.
    ltp: float
    #: Epoch milliseconds: the exchange's time where the packet carries it, else the moment of its arrival.
    timestamp: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as JSON knows them, in a new dict that is the caller's own.

        `exchange`, `symbol` and `mode` (LTP, Quote or Depth) stand first, then the fields by their names and
        in their units; `buy` and `sell` are lists of `price`, `quantity` and `orders`.
        """
        fields = super().to_dict()
        return {**fields.pop("instrument"), "mode": self.mode.label, **fields}


class QuoteTick(Tick, frozen=True, gc=False):
    """A tick with the day's prices, in rupees, and quantities, in units."""

    mode: ClassVar[Mode] = Mode.QUOTE

    #: The day's first price, in rupees, as are the next three.
    open: float = 0.0
    high: float = 0.0
    low: float = 0.0
    #: The previous session's close.
    close: float = 0.0
    #: Units traded today.
    volume: int = 0
    #: Units of the last trade.
    last_trade_quantity: int = 0
    #: The day's average by volume, in rupees.
    avg_trade_price: float = 0.0
    #: From the previous close, in rupees.
    change: float = 0.0
    #: The same in percent: 1.5 is 1.5 %.
    change_percent: float = 0.0
    #: Units that are wanted, and units on offer, in the whole order book.
    total_buy_quantity: int = 0
    total_sell_quantity: int = 0


class DepthTick(QuoteTick, frozen=True, gc=False):
    """A tick with everything: the order book, best level first, and the open interest."""

    mode: ClassVar[Mode] = Mode.DEPTH

    #: Epoch milliseconds.
    last_trade_time: int = 0
    #: Open interest, in units, with the day's highest and lowest.
    oi: int = 0
    oi_day_high: int = 0
    oi_day_low: int = 0
    #: Bids, the highest price first.
    buy: tuple[DepthLevel, ...] = ()
    #: Offers, the lowest price first.
    sell: tuple[DepthLevel, ...] = ()
