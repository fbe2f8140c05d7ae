"""The messages of Upstox's market data feed v3, written and read field by field; pure.

Written without a library: the numbers and kinds of fields stand here once more, so that the adapter is not
tested against itself. As proto3 has it, a number that is 0 and an empty text are not written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_double = struct.Struct("<d").pack

#: Kinds of a message.
LIVE_FEED, MARKET_INFO = 1, 2
#: Modes of a row.
LTPC, FULL_D5, OPTION_GREEKS = 0, 1, 2


# -- fields -----------------------------------------------------------------------------------------------


@lru_cache(maxsize=65_536)
def varint(value: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


@lru_cache(maxsize=256)
def _tag(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def integer(number: int, value: int) -> bytes:
    """Return a field of kind int64 or enum."""
    return _tag(number, _VARINT) + varint(value) if value else b""


def double(number: int, value: float) -> bytes:
    """Return a field of kind double."""
    return _tag(number, _EIGHT_BYTES) + _double(value) if value else b""


def message(number: int, content: bytes) -> bytes:
    """Return a field that is a message, an empty one too."""
    return _tag(number, _LENGTH) + varint(len(content)) + content


def text(number: int, content: str) -> bytes:
    """Return a field of kind string."""
    return message(number, content.encode()) if content else b""


# -- messages ---------------------------------------------------------------------------------------------


def ltpc(ltp: float, traded_at: int, quantity: int, close: float) -> bytes:
    """Return LTPC: last price, its time in epoch milliseconds, its quantity, the previous close."""
    return double(1, ltp) + integer(2, traded_at) + integer(3, quantity) + double(4, close)


def level(bid_quantity: int, bid_price: float, ask_quantity: int, ask_price: float) -> bytes:
    """Return Quote: one level of both sides of a book."""
    return integer(1, bid_quantity) + double(2, bid_price) + integer(3, ask_quantity) + double(4, ask_price)


def book(levels: Sequence[bytes]) -> bytes:
    """Return MarketLevel."""
    return b"".join(message(1, level) for level in levels)


def bar(interval: str, open_: float, high: float, low: float, close: float, volume: int, at: int) -> bytes:
    """Return OHLC of the day (1d) or of the minute (I1); `at` is its beginning in epoch milliseconds."""
    prices = double(2, open_) + double(3, high) + double(4, low) + double(5, close)
    return text(1, interval) + prices + integer(6, volume) + integer(7, at)


def bars(bars: Sequence[bytes]) -> bytes:
    """Return MarketOHLC."""
    return b"".join(message(1, bar) for bar in bars)


def greeks(delta: float, theta: float, gamma: float, vega: float, rho: float) -> bytes:
    """Return OptionGreeks."""
    return b"".join(double(n, v) for n, v in enumerate((delta, theta, gamma, vega, rho), 1))


def market(
    ltpc: bytes,
    book: bytes,
    greeks: bytes,
    bars: bytes,
    *,
    average: float,
    volume: int,
    oi: float,
    volatility: float,
    buys: float,
    sells: float,
) -> bytes:
    """Return MarketFullFeed; of what is not an option the greeks are empty, and left out."""
    return b"".join(
        (
            message(1, ltpc),
            message(2, book),
            message(3, greeks) if greeks else b"",
            message(4, bars),
            double(5, average),
            integer(6, volume),
            double(7, oi),
            double(8, volatility),
            double(9, buys),
            double(10, sells),
        )
    )


def index(ltpc: bytes, bars: bytes) -> bytes:
    """Return IndexFullFeed."""
    return message(1, ltpc) + message(2, bars)


def with_greeks(ltpc: bytes, level: bytes, greeks: bytes, volume: int, oi: float, volatility: float) -> bytes:
    """Return FirstLevelWithGreeks."""
    told = message(1, ltpc) + message(2, level) + (message(3, greeks) if greeks else b"")
    return told + integer(4, volume) + double(5, oi) + double(6, volatility)


def price_row(key: str, ltpc: bytes) -> bytes:
    """Return the row of an instrument in mode ltpc."""
    return text(1, key) + message(2, message(1, ltpc))


def full_row(key: str, *, market: bytes = b"", index: bytes = b"", mode: int = FULL_D5) -> bytes:
    """Return the row of an instrument in a full mode, of a market or of an index."""
    full = message(1, market) if market else message(2, index)
    return text(1, key) + message(2, message(2, full) + integer(4, mode))


def greeks_row(key: str, greeks: bytes) -> bytes:
    """Return the row of an instrument in mode option_greeks."""
    return text(1, key) + message(2, message(3, greeks) + integer(4, OPTION_GREEKS))


def record(row: bytes) -> bytes:
    """Return a row as it stands in a message."""
    return message(2, row)


def feed(records: Sequence[bytes], at: int, kind: int = LIVE_FEED) -> bytes:
    """Return the message that carries the records; `at` is its time in epoch milliseconds."""
    return integer(1, kind) + b"".join(records) + integer(3, at)


def market_info(statuses: Sequence[tuple[str, int]], at: int) -> bytes:
    """Return the message that tells the status of each segment."""
    told = b"".join(message(1, text(1, key) + integer(2, status)) for key, status in statuses)
    return integer(1, MARKET_INFO) + integer(3, at) + message(4, told)


# -- reading, of recorded messages ------------------------------------------------------------------------


def fields(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and content of each field that is a message or a text; ends at one that is broken."""
    at, size = 0, len(content)
    while at < size:
        tag, at = _read_varint(content, at)
        number, kind = tag >> 3, tag & 7
        if kind == _LENGTH:
            length, at = _read_varint(content, at)
            if at + length > size:
                return
            yield number, content[at : at + length]
            at += length
        elif kind == _VARINT:
            _, at = _read_varint(content, at)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if kind == _EIGHT_BYTES else 4
        else:
            return


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
    return 0, len(content) + 1
