"""Dhan's wire format (DhanHQ v2, live market feed): little-endian packets behind a header of eight bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter, length_hint
from typing import Any, TypeAlias

from brokerpool.brokers.dhan.prices import RUPEES, learn
from brokerpool.brokers.dhan.requests import requests
from brokerpool.brokers.wire import ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

# The header is a code (u8), the packet's length (u16), a segment (u8) and a security id (u32). Read as one
# number, its low 24 bits tell the kind, and what is above them is the token. Prices stand as their bits.
_TICKER = struct.Struct("<QII")
_QUOTE = struct.Struct("<QIHIIIIIIIII")
_FULL = struct.Struct("<QIHIIIIIIIIIIII" + "IIHHII" * 5)
_PREVIOUS_CLOSE = struct.Struct("<QII")
_DISCONNECT = struct.Struct("<QH")

# Where a row has prices.
_TICKER_PRICES = itemgetter(slice(1, 2))
_QUOTE_PRICES = itemgetter(1, 4, 8, 9, 10, 11)
_FULL_PRICES = itemgetter(1, 4, 11, 12, 13, 14, 19, 20, 25, 26, 31, 32, 37, 38, 43, 44)

_head_at = struct.Struct("<Q").unpack_from
_length_at = struct.Struct("<H").unpack_from
_ticker = _TICKER.unpack

_HEADER_BYTES = 8
_KIND_MASK = 0xFF_FFFF
_TICKER_KIND = 2 | _TICKER.size << 8
_QUOTE_KIND = 4 | _QUOTE.size << 8
_FULL_KIND = 8 | _FULL.size << 8
_PREVIOUS_CLOSE_KIND = 6 | _PREVIOUS_CLOSE.size << 8
_DISCONNECT_KIND = 50 | _DISCONNECT.size << 8
#: A sign of life that some have seen (OpenAlgo), open interest, which no tick below depth has, and that the
#: market is open.
_NO_TICKS = (0, 5, 7)

#: Times are told as if India's wall clock were UTC's.
_INDIA_MS = 19_800_000
#: "01/01/1980 00:00:00" is how the broker says never.
_NEVER = 315_532_800
#: Prices have four decimals at most; differences are made of whole ten-thousandths, which are exact.
_PARTS = 10_000

#: Packets that are read in one turn of the event loop: full ones take a millisecond with what follows.
_MOST_IN_PART = 250

#: DhanHQ v2 documentation, annexure, "data API error", as far as a socket ends with it.
_REASONS = {
    800: "internal server error",
    804: "more instruments than a socket may carry",
    805: "more sockets than the account may have",
    806: "the account has not subscribed to the data APIs",
    807: "the access token has expired",
    808: "the client id or the access token is not valid",
    809: "the access token is not valid",
    810: "the client id is not valid",
    814: "the request is not valid",
}
_EVICTED = 805
#: What another dial with the same login cannot better.
_OF_THE_LOGIN = frozenset((806, 807, 808, 809, 810))

_Row: TypeAlias = tuple[Any, ...]
_Reader: TypeAlias = Callable[["DhanWire", Iterable[_Row], Mapping[Token, Instrument], int, list[Tick]], bool]
_Kind: TypeAlias = tuple[int, Callable[..., _Row], Callable[..., Iterator[_Row]], _Reader]


class DhanWire(Wire):
    """Reads and writes the messages of one Dhan socket, with the meanings of dhanhq 2.3.0."""

    def __init__(self) -> None:
        self.skipped = {"unknown_token": 0, "unknown_kind": 0, "truncated": 0, "bad_price": 0}
        self.signals: list[Signal] = []
        self._modes: dict[Token, Mode] = {}
        # The previous closes, in ten-thousandths of a rupee too: they come once, after the subscription.
        self._closes: dict[Token, tuple[float, int]] = {}
        self._farewell = Farewell.LOST

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the messages of a batch; a mode ends under the code under which it began."""
        for token in batch.drop:
            self._closes.pop(token, None)
        return requests(batch, self._modes)

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell what the last packet of the socket said; Dhan's close frames say nothing."""
        return self._farewell

    def parts(self, message: str | bytes) -> Iterable[str | bytes | memoryview]:
        """Return a long message as several of 250 packets."""
        return (message,) if isinstance(message, str) else _cut(message)

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one binary message: packets one after the other, each with its length.

        Never raises: what is left out is counted in `skipped`, for a message that ends too early once.
        """
        size = len(payload)
        if size == _TICKER.size:  # One packet and nothing else: how ticks of small watch lists come.
            head, last, traded_at = _ticker(payload)
            if head & _KIND_MASK == _TICKER_KIND:
                try:
                    at = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else received_ms
                    return [Tick(routes[head >> 24], RUPEES[last], at)]
                except KeyError:
                    pass  # of nobody, or a price that has not been before
        ticks: list[Tick] = []
        offset = 0
        try:
            single = _SINGLE.get(size)
            if single is not None and _head_at(payload)[0] & _KIND_MASK == single[0]:
                single[2](self, (single[1](payload),), routes, received_ms, ticks)
                return ticks
            while offset < size:
                kind = _KINDS.get(_head_at(payload, offset)[0] & _KIND_MASK)
                if kind is None:
                    offset = self._other(payload, offset, routes)
                    continue
                stride, unpack_at, unpack_run, read = kind
                count = (size - offset) // stride
                if count > 1:
                    rows = unpack_run(memoryview(payload)[offset : offset + count * stride])
                    if not read(self, rows, routes, received_ms, ticks):
                        count -= 1 + length_hint(rows)
                else:
                    count = 1
                    read(self, (unpack_at(payload, offset),), routes, received_ms, ticks)
                offset += count * stride
        except struct.error:
            self.skipped["truncated"] += 1
        return ticks

    def _other(self, payload: bytes | memoryview, begin: int, routes: Mapping[Token, Instrument]) -> int:
        """Read a packet that is no tick, and return where it ends. Raises struct.error for what is none."""
        end = _packet_end(payload, begin)
        kind = _head_at(payload, begin)[0] & _KIND_MASK
        if kind == _PREVIOUS_CLOSE_KIND:
            head, close, _ = _PREVIOUS_CLOSE.unpack_from(payload, begin)
            if (token := head >> 24) in routes:
                try:
                    learn((close,))
                    self._closes[token] = _close(RUPEES[close])
                except ValueError:
                    self.skipped["bad_price"] += 1
            else:
                self.skipped["unknown_token"] += 1
        elif kind == _DISCONNECT_KIND:
            self._ended(_DISCONNECT.unpack_from(payload, begin)[1])
        elif payload[begin] not in _NO_TICKS:
            self.skipped["unknown_kind"] += 1
        return end

    def _ended(self, reason: int) -> None:
        text = _REASONS.get(reason, "no reason that is documented")
        self.signals.append(Signal(SignalKind.REFUSED, f"Dhan ends the socket with {reason}: {text}"))
        if reason == _EVICTED:
            self._farewell = Farewell.EVICTED
        elif reason in _OF_THE_LOGIN:
            self._farewell = Farewell.CREDENTIALS

    def _learn(
        self, row: _Row, prices: Callable[[_Row], tuple[int, ...]], routes: Mapping[Token, Instrument]
    ) -> bool:
        """Learn the prices of a row that was not read for want of them; False for a row that cannot be."""
        if row[0] >> 24 not in routes:
            self.skipped["unknown_token"] += 1
            return False
        try:
            learn(prices(row))
        except ValueError:
            self.skipped["bad_price"] += 1
            return False
        return True

    # Each of these reads rows of one kind up to the first row of another; True when there was none. They are
    # called once for a run of packets: a call for each packet would cost as much as reading it.

    def _read_ticker(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        rupees = RUPEES
        for row in rows:
            head, last, traded_at = row
            if head & _KIND_MASK != _TICKER_KIND:
                return False
            try:
                at = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else received_ms
                ticks.append(Tick(routes[head >> 24], rupees[last], at))
            except KeyError:
                if self._learn(row, _TICKER_PRICES, routes):
                    self._read_ticker((row,), routes, received_ms, ticks)
        return True

    def _read_quote(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        rupees, closes = RUPEES, self._closes
        for row in rows:
            head, last, quantity, traded_at, average, volume, sells, buys, open_, close, high, low = row
            if head & _KIND_MASK != _QUOTE_KIND:
                return False
            token = head >> 24
            try:
                instrument, ltp = routes[token], rupees[last]
                before, parts = closes[token] if token in closes else _close(rupees[close])
                at = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else received_ms
                ticks.append(
                    QuoteTick(
                        instrument,
                        ltp,
                        at,
                        rupees[open_],
                        rupees[high],
                        rupees[low],
                        before,
                        volume,
                        quantity,
                        rupees[average],
                        (round(ltp * _PARTS) - parts) / _PARTS if before else 0.0,
                        (ltp - before) * 100.0 / before if before else 0.0,
                        buys,
                        sells,
                    )
                )
            except KeyError:
                if self._learn(row, _QUOTE_PRICES, routes):
                    self._read_quote((row,), routes, received_ms, ticks)
        return True

    def _read_full(
        self, rows: Iterable[_Row], routes: Mapping[Token, Instrument], received_ms: int, ticks: list[Tick]
    ) -> bool:
        rupees, closes, level = RUPEES, self._closes, DepthLevel
        for row in rows:
            # Spelled out: with a loop over the rows of the book the packet would cost half as much again.
            # fmt: off
            (
                head, last, quantity, traded_at, average, volume, sells, buys,
                oi, oi_high, oi_low, open_, close, high, low,
                bq0, sq0, bn0, sn0, bp0, sp0, bq1, sq1, bn1, sn1, bp1, sp1, bq2, sq2, bn2, sn2, bp2, sp2,
                bq3, sq3, bn3, sn3, bp3, sp3, bq4, sq4, bn4, sn4, bp4, sp4,
            ) = row
            # fmt: on
            if head & _KIND_MASK != _FULL_KIND:
                return False
            token = head >> 24
            try:
                instrument, ltp = routes[token], rupees[last]
                before, parts = closes[token] if token in closes else _close(rupees[close])
                traded_ms = traded_at * 1000 - _INDIA_MS if traded_at > _NEVER else 0
                ticks.append(
                    DepthTick(
                        instrument,
                        ltp,
                        traded_ms or received_ms,
                        rupees[open_],
                        rupees[high],
                        rupees[low],
                        before,
                        volume,
                        quantity,
                        rupees[average],
                        (round(ltp * _PARTS) - parts) / _PARTS if before else 0.0,
                        (ltp - before) * 100.0 / before if before else 0.0,
                        buys,
                        sells,
                        traded_ms,
                        oi,
                        oi_high,
                        oi_low,
                        (
                            level(rupees[bp0], bq0, bn0),
                            level(rupees[bp1], bq1, bn1),
                            level(rupees[bp2], bq2, bn2),
                            level(rupees[bp3], bq3, bn3),
                            level(rupees[bp4], bq4, bn4),
                        ),
                        (
                            level(rupees[sp0], sq0, sn0),
                            level(rupees[sp1], sq1, sn1),
                            level(rupees[sp2], sq2, sn2),
                            level(rupees[sp3], sq3, sn3),
                            level(rupees[sp4], sq4, sn4),
                        ),
                    )
                )
            except KeyError:
                if self._learn(row, _FULL_PRICES, routes):
                    self._read_full((row,), routes, received_ms, ticks)
        return True


# By kind: the size of a row, how to unpack one row and a run of them, and who reads them.
_KINDS: dict[int, _Kind] = {
    kind: (layout.size, layout.unpack_from, layout.iter_unpack, read)
    for kind, layout, read in (
        (_TICKER_KIND, _TICKER, DhanWire._read_ticker),
        (_QUOTE_KIND, _QUOTE, DhanWire._read_quote),
        (_FULL_KIND, _FULL, DhanWire._read_full),
    )
}


#: The same by size, for messages of one packet: its kind, how to unpack it, and who reads it.
_SINGLE = {size: (kind, unpack_at, read) for kind, (size, unpack_at, _, read) in _KINDS.items()}


def _packet_end(message: bytes | memoryview, begin: int) -> int:
    """Return where a packet ends. Raises struct.error for what cannot be one."""
    end = begin + int(_length_at(message, begin + 1)[0])
    if end < begin + _HEADER_BYTES or end > len(message):
        raise struct.error("no packet")
    return end


def _cut(message: bytes) -> Iterator[memoryview]:
    view, begin, size = memoryview(message), 0, len(message)
    while begin < size:
        end, count = begin, 0
        try:
            while end < size and count < _MOST_IN_PART:
                end = _packet_end(view, end)
                count += 1
        except struct.error:
            end = size  # which `binary` shall see once
        yield view[begin:end]
        begin = end


def _close(rupees: float) -> tuple[float, int]:
    return rupees, round(rupees * _PARTS)
