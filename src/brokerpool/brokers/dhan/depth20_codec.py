"""Dhan's 20-level depth on the wire: bids and offers in packets of their own, little-endian."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping

from brokerpool.brokers.dhan.disconnects import farewell, words
from brokerpool.brokers.dhan.float_prices import ROUND, UNITS
from brokerpool.brokers.dhan.subscribe_messages import message
from brokerpool.brokers.wire import ControlBatch, Farewell, Signal, SignalKind, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthLevel, DepthTick, Tick

#: DhanHQ v2 documentation, annexure, "feed request code". The official client ends with 24, which the
#: documentation does not have.
BEGINS, ENDS = 23, 25

# The header is the packet's length (u16), a code (u8), a segment (u8), a security id (u32), and a sequence
# (u32) that the documentation says to ignore. Prices have 64 bits, other than those of the live market feed.
_head_at = struct.Struct("<HBBII").unpack_from
_rows_at = struct.Struct("<" + "dII" * 20).unpack_from
_u16_at = struct.Struct("<H").unpack_from

_HEADER_BYTES, _SIDE_BYTES = 12, 332
_BID, _ASK, _DISCONNECT = 41, 51, 50

#: Packets that are read in one turn of the event loop: the books of a full socket, in about a millisecond.
_MOST_IN_PART = 100

_Levels = tuple[DepthLevel, ...]


class _Book:
    """What is known of one book, and which of its sides the present message has brought."""

    __slots__ = ("brought", "sides")

    def __init__(self) -> None:
        self.sides: dict[int, _Levels] = {}
        self.brought: set[int] = set()


class Depth20Wire(Wire):
    """Reads and writes the messages of one socket of the 20-level depth.

    A book is told when both of its sides have come in a message, and with the other side as it was where a
    message has one alone; nothing is told of it before both are known. No packet has a time or a last price.
    """

    def __init__(self) -> None:
        self.skipped = {"unknown_token": 0, "unknown_kind": 0, "truncated": 0, "bad_price": 0}
        self.signals: list[Signal] = []
        self._books: dict[Token, _Book] = {}
        self._farewell = Farewell.LOST

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the messages of a batch; there is one mode, so that another one asks for nothing."""
        for token in batch.drop:
            self._books.pop(token, None)
        parts = ((ENDS, batch.drop), (BEGINS, batch.add))
        return [message(code, tokens) for code, tokens in parts if tokens]

    def farewell(self, code: int, reason: str) -> Farewell:
        """Tell what the last packet of the socket said; Dhan's close frames say nothing."""
        return self._farewell

    def parts(self, message: str | bytes) -> Iterable[str | bytes | memoryview]:
        """Return a long message as several of 100 packets, in which the sides of a book stay together."""
        return (message,) if isinstance(message, str) else _cut(message)

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the books of one binary message, each as a tick in depth mode whose prices but these are 0.

        Never raises: what is left out is counted in `skipped`, for a message that ends too early once.
        """
        ticks: list[Tick] = []
        begun: dict[Token, _Book] = {}
        offset = 0
        try:
            while offset < len(payload):
                end = _packet_end(payload, offset)
                _, code, segment, security, _ = _head_at(payload, offset)
                token = security << 8 | segment
                if code in (_BID, _ASK) and end - offset == _SIDE_BYTES:
                    if token not in routes:
                        self.skipped["unknown_token"] += 1
                    elif (levels := _levels(payload, offset + _HEADER_BYTES, segment)) is None:
                        self.skipped["bad_price"] += 1
                    else:
                        book = begun.setdefault(token, self._books.setdefault(token, _Book()))
                        if code in book.brought:  # the message has a newer one behind it
                            _tell(book, routes[token], received_ms, ticks)
                        book.sides[code] = levels
                        book.brought.add(code)
                        if len(book.brought) == len((_BID, _ASK)):
                            _tell(book, routes[token], received_ms, ticks)
                elif code == _DISCONNECT:
                    self._ended(payload, offset, end)
                else:
                    self.skipped["unknown_kind"] += 1
                offset = end
        except struct.error:
            self.skipped["truncated"] += 1
        for token, book in begun.items():
            if book.brought:
                _tell(book, routes[token], received_ms, ticks)
        return ticks

    def _ended(self, payload: bytes | memoryview, begin: int, end: int) -> None:
        # The documentation has the reason behind the header, the official client in place of the sequence.
        reason = _u16_at(payload, begin + _HEADER_BYTES)[0] if end >= begin + _HEADER_BYTES + 2 else 0
        reason = reason or _head_at(payload, begin)[4]
        self.signals.append(Signal(SignalKind.REFUSED, words(reason)))
        self._farewell = farewell(reason)


def _levels(payload: bytes | memoryview, begin: int, segment: int) -> _Levels | None:
    """Return twenty levels, None when a price is none."""
    rows, unit = _rows_at(payload, begin), UNITS[segment]
    prices = [(price * unit + ROUND - ROUND) / unit for price in rows[::3]]
    total = sum(prices)
    if total - total:  # what is taken from itself is 0, unless it is no number
        return None
    return tuple(map(DepthLevel, prices, rows[1::3], rows[2::3]))


def _tell(book: _Book, instrument: Instrument, received_ms: int, ticks: list[Tick]) -> None:
    book.brought.clear()
    if len(book.sides) == len((_BID, _ASK)):
        ticks.append(DepthTick(instrument, 0.0, received_ms, buy=book.sides[_BID], sell=book.sides[_ASK]))


def _packet_end(message: bytes | memoryview, begin: int) -> int:
    """Return where a packet ends. Raises struct.error for what cannot be one."""
    end = begin + int(_u16_at(message, begin)[0])
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
            if end < size and view[end + 2 : end + 3] == bytes((_ASK,)):  # the other side of the last book
                end = _packet_end(view, end)
        except struct.error:
            end = size  # which `binary` shall see once
        yield view[begin:end]
        begin = end
