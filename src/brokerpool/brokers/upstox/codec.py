"""Upstox's market data feed v3: requests as JSON in binary frames, ticks as protobuf; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from math import isfinite
from typing import Any, TypeAlias

import msgspec

from brokerpool.brokers.upstox.feed_rows import feed_rows
from brokerpool.brokers.upstox.messages import DecodeError, Entry, FeedResponse
from brokerpool.brokers.upstox.quote_rows import read_quote, start_of_row
from brokerpool.brokers.wire import LONGEST_TEXT, ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

#: Rows that are read in one turn of the event loop: full ones take a millisecond.
_MOST_IN_PART = 100
#: The bar of the day among those of a full feed; the other one is of the minute.
_DAY = "1d"

# There is no mode between the price alone and everything.
_MODE_NAMES = {Mode.LTP: "ltpc", Mode.QUOTE: "full", Mode.DEPTH: "full"}
_STATUSES = ("pre-open", "pre-open over", "open", "closed", "closing session", "closing session over")

#: One of protobuf's, whose classes are made at run time.
_Message: TypeAlias = Any
#: Those of a QuoteTick, in its order.
_QuoteFields: TypeAlias = tuple[
    Instrument, float, int, float, float, float, float, int, int, float, float, float, int, int
]

_parse, _parse_row = FeedResponse.FromString, Entry.FromString
_encode = msgspec.json.Encoder().encode

# What an update leaves out, by the part that it would stand in.
_OF_LTPC = ("ltp", "close", "change", "change_percent", "last_trade_quantity", "last_trade_time")
_OF_BARS = ("open", "high", "low")
_OF_BOOK = ("buy", "sell")
_OF_NUMBERS = ("volume", "avg_trade_price", "total_buy_quantity", "total_sell_quantity", "oi")


class UpstoxWire(Wire):
    """Reads and writes the messages of one socket; a token is an instrument key, as in NSE_EQ|INE002A01018.

    A full feed may leave parts out that are as they were; what was last told of each symbol stands for them.
    Where a quote is wanted, the book that comes with it is left unread, for it costs more than all the rest:
    the row is kept as it came until somebody asks for its book.
    """

    def __init__(self) -> None:
        self.skipped = dict.fromkeys(("unknown_token", "no_price", "unknown_feed", "malformed"), 0)
        self.signals: list[Signal] = []
        self._modes: dict[Token, str] = {}
        #: What was told of each symbol; bytes are a whole row whose book nobody has asked for yet.
        self._last: dict[Token, DepthTick | bytes] = {}
        #: What is wanted with its quote and no more, and the same by the beginning of its usual row.
        self._quotes: set[Token] = set()
        self._starts: dict[bytes, Token] = {}
        self._requests = 0

    # -- what is sent -------------------------------------------------------------------------------------

    def requests(self, batch: ControlBatch) -> list[bytes]:
        """Return the messages of a batch: what is given up, then what is added and what changes, by mode."""
        messages = []
        if batch.drop:
            messages.append(self._message("unsub", list(batch.drop)))
        for token in batch.drop:
            self._modes.pop(token, None)
            self._last.pop(token, None)
            self._note_mode(token, None)
        for method, wanted in (("sub", batch.add), ("change_mode", batch.remode)):
            for token, mode in wanted.items():
                self._note_mode(token, mode)
            named = [(_MODE_NAMES[mode], token) for token, mode in wanted.items()]
            changed = sorted((name, token) for name, token in named if self._modes.get(token) != name)
            for name, group in groupby(changed, key=lambda pair: pair[0]):
                tokens = [token for _, token in group]
                for token in tokens:
                    self._modes[token] = name
                    self._last.pop(token, None)  # the new mode begins with a whole feed
                messages.append(self._message(method, tokens, name))
        return messages

    def _note_mode(self, token: Token, mode: Mode | None) -> None:
        start = start_of_row(str(token))
        if mode is Mode.QUOTE:
            self._quotes.add(token)
            self._starts[start] = token
        else:
            self._quotes.discard(token)
            self._starts.pop(start, None)

    def _message(self, method: str, tokens: Sequence[Token], mode: str = "") -> bytes:
        self._requests += 1
        data = {"mode": mode, "instrumentKeys": tokens} if mode else {"instrumentKeys": tokens}
        return _encode({"guid": f"brokerpool-{self._requests}", "method": method, "data": data})

    # -- what comes ---------------------------------------------------------------------------------------

    def farewell(self, code: int, reason: str) -> Farewell:
        """Upstox says nothing when it ends a socket; what became of the token shows at the next dial."""
        return Farewell.LOST

    def parts(self, message: str | bytes) -> Iterable[str | bytes]:
        """Return a message of more than 100 rows as several."""
        if isinstance(message, str):
            return (message,)
        cut = feed_rows(message)
        if cut is None:
            try:
                whole = _parse(message)
            except DecodeError:
                return (message,)  # `binary` counts it
            if whole.HasField("market_info"):
                return (message,)  # which comes once, and without rows
            cut = whole.feeds, whole.current_ts
        rows, at = cut
        if len(rows) <= _MOST_IN_PART:
            return (message,)
        return (
            FeedResponse(feeds=rows[start : start + _MOST_IN_PART], current_ts=at).SerializeToString()
            for start in range(0, len(rows), _MOST_IN_PART)
        )

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one message, in order; the status of the market becomes a signal.

        A message that is no protobuf is counted once, a row that is none costs itself.
        """
        payload = bytes(payload)
        cut = feed_rows(payload)
        if cut is None:
            try:
                message = _parse(payload)
            except DecodeError:
                self.skipped["malformed"] += 1
                return []
            if message.HasField("market_info"):
                self.signals.append(_market_status(message.market_info))
            cut = message.feeds, message.current_ts
        rows, at = cut
        return self._ticks(rows, routes, at or received_ms)

    def _ticks(self, rows: Iterable[bytes], routes: Mapping[Token, Instrument], at: int) -> list[Tick]:
        starts, last = self._starts, self._last
        ticks: list[Tick] = []
        for raw in rows:
            try:
                if starts and len(raw) > 1:
                    start = raw[1] + 3  # bytes of `start_of_row`: the key with its tag and length, and a tag
                    token = starts.get(raw[:start])
                    instrument = None if token is None else routes.get(token)
                    if token is not None and instrument is not None:
                        quote = read_quote(raw, start, instrument, at)
                        if quote is not None:
                            last[token] = raw
                            ticks.append(quote)
                            continue
                tick = self._tick(raw, routes, at)
            except (DecodeError, ValueError, OverflowError):  # the others: of what is no number
                self.skipped["malformed"] += 1
            else:
                if tick is not None:
                    ticks.append(tick)
        return ticks

    def _tick(self, raw: bytes, routes: Mapping[Token, Instrument], at: int) -> Tick | None:
        row = _parse_row(raw)
        token, feed = row.key, row.feed
        instrument = routes.get(token)
        if instrument is None:
            self.skipped["unknown_token"] += 1
            return None
        if feed.HasField("ltpc"):
            ltp = feed.ltpc.ltp
            return Tick(instrument, ltp, at) if self._is_price(ltp) else None
        if not feed.HasField("full"):
            self.skipped["unknown_feed"] += 1
            return None
        full = feed.full
        if full.HasField("market"):
            market = full.market
            has = market.HasField
            if token in self._quotes and has("ltpc") and has("bars") and has("book"):
                quote = QuoteTick(*_market_quote(instrument, market, at))
                if not self._is_price(quote.ltp):
                    return None
                self._last[token] = raw
                return quote
            tick = _market_tick(instrument, market, at)
            absent = _absent(market, tick)
        else:
            tick = _index_tick(instrument, full.index, at)
            absent = _absent_of_index(full.index)
        if absent:
            last = self._last.get(token)
            if last is not None:
                if isinstance(last, bytes):
                    last = _market_tick(instrument, _parse_row(last).feed.full.market, at)
                tick = msgspec.structs.replace(tick, **{name: getattr(last, name) for name in absent})
        if not self._is_price(tick.ltp):
            return None
        self._last[token] = tick
        return tick

    def _is_price(self, ltp: float) -> bool:
        # 0 is what protobuf does not write: no trade has been told of yet.
        if ltp and isfinite(ltp):
            return True
        self.skipped["no_price"] += 1
        return False


def _market_quote(instrument: Instrument, market: _Message, at: int) -> _QuoteFields:
    ltpc, average = market.ltpc, market.atp
    ltp, close = ltpc.ltp, ltpc.cp
    open_, high, low = _day(market.bars)
    _check(average + open_ + high + low + close)
    return (
        instrument,
        ltp,
        at,
        open_,
        high,
        low,
        close,
        market.vtt,
        ltpc.ltq,
        average,
        round(ltp - close, 4) if close else 0.0,
        (ltp - close) * 100.0 / close if close else 0.0,
        int(market.tbq),
        int(market.tsq),
    )


def _market_tick(instrument: Instrument, market: _Message, at: int) -> DepthTick:
    prices = 0.0
    buy, sell = [], []
    for level in market.book.levels:
        bid, ask = level.bid_price, level.ask_price
        prices += bid + ask
        # Upstox tells no number of orders.
        buy.append(DepthLevel(bid, level.bid_quantity, 0))
        sell.append(DepthLevel(ask, level.ask_quantity, 0))
    _check(prices)
    quote = _market_quote(instrument, market, at)
    traded, oi = market.ltpc.ltt, int(market.oi)
    return DepthTick(*quote, last_trade_time=traded, oi=oi, buy=tuple(buy), sell=tuple(sell))


def _index_tick(instrument: Instrument, index: _Message, at: int) -> DepthTick:
    """Return the tick of an index, which has neither quantities nor a book."""
    ltp, close = index.ltpc.ltp, index.ltpc.cp
    open_, high, low = _day(index.bars)
    _check(open_ + high + low + close)
    return DepthTick(
        instrument,
        ltp,
        at,
        open_,
        high,
        low,
        close,
        change=round(ltp - close, 4) if close else 0.0,
        change_percent=(ltp - close) * 100.0 / close if close else 0.0,
        last_trade_time=index.ltpc.ltt,
    )


def _check(prices: float) -> None:
    """Raise ValueError for a sum of prices of which one is no number: JSON has no word for it."""
    if not isfinite(prices):
        raise ValueError("a price that is no number")


def _day(bars: _Message) -> tuple[float, float, float]:
    for bar in bars.bars:
        if bar.interval == _DAY:
            return bar.open, bar.high, bar.low
    return 0.0, 0.0, 0.0


def _absent(market: _Message, tick: DepthTick) -> Sequence[str]:
    """Return the fields of which a market's update says nothing.

    A number that is 0 is not written either: it is taken for unsaid only where the price is left out as well.
    """
    if market.HasField("ltpc"):
        absent: list[str] = []
    else:
        absent = [*_OF_LTPC, *(name for name in _OF_NUMBERS if not getattr(tick, name))]
    if not market.HasField("bars"):
        absent += _OF_BARS
    if not market.HasField("book"):
        absent += _OF_BOOK
    return absent


def _absent_of_index(index: _Message) -> Sequence[str]:
    absent = () if index.HasField("ltpc") else _OF_LTPC
    return absent if index.HasField("bars") else (*absent, *_OF_BARS)


def _market_status(info: _Message) -> Signal:
    statuses = ", ".join(
        f"{segment.key} {_STATUSES[segment.status] if 0 <= segment.status < len(_STATUSES) else '?'}"
        for segment in info.segments
    )
    return Signal(SignalKind.TOLD, statuses[:LONGEST_TEXT])
