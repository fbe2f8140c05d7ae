"""Dhan's binary packets, written: little-endian, each with its code, its length and whose it is."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.ticks import Mode

#: Codes of packets (DhanHQ v2 documentation, annexure).
TICKER, QUOTE, OPEN_INTEREST, PREVIOUS_CLOSE, FULL, DISCONNECT = 2, 4, 5, 6, 8, 50
TICKER_BYTES, QUOTE_BYTES, FULL_BYTES = 16, 50, 162

#: Why a socket is ended (the same, "data API error").
TOO_MANY_INSTRUMENTS, TOO_MANY_SOCKETS, TOKEN_EXPIRED, TOKEN_INVALID, CLIENT_INVALID = 804, 805, 807, 809, 810
NOT_SUBSCRIBED, INVALID_REQUEST = 806, 814

#: Times are told as if India's wall clock were UTC's.
INDIA_SECONDS = 19_800

_HEADER = struct.Struct("<BHBI")
_TICKER = struct.Struct("<BHBIfI").pack
_QUOTE = struct.Struct("<BHBIfHIfIIIffff").pack
_FULL = struct.Struct("<BHBIfHIfIIIIIIffff" + "IIHHff" * LEVELS).pack
_PREVIOUS_CLOSE = struct.Struct("<BHBIfI").pack
_OPEN_INTEREST = struct.Struct("<BHBII").pack
_DISCONNECT = struct.Struct("<BHBIH").pack

#: What a quantity of 16 bits holds.
_MOST = 0xFFFF


class DhanPackets:
    """The messages that carry ticks; one packet in each, or several one after the other."""

    TEXT = False
    #: Pings are the signs of life.
    HEARTBEAT = b""

    def __init__(self, packets_a_message: int = 1) -> None:
        self.PACKETS_PER_FRAME = packets_a_message

    def record(self, quote: Quote, mode: Mode) -> bytes:
        """Return the packet of a quote in a mode: 16, 50 or 162 bytes.

        The day's close is 0, as while the market is open; that of the session before has a packet of its own.
        """
        segment, number, unit = quote.token & 0xFF, quote.token >> 8, quote.unit
        # An index is not traded: its time is that of its last change.
        at = (quote.last_trade_time or quote.exchange_time) + INDIA_SECONDS
        ltp = quote.ltp / unit
        if mode is Mode.LTP:
            return _TICKER(TICKER, TICKER_BYTES, segment, number, ltp, at)
        day = (
            ltp,
            min(quote.last_quantity, _MOST),
            at,
            quote.average / unit,
            quote.volume,
            quote.sell_total,
            quote.buy_total,
        )
        prices = quote.open / unit, 0.0, quote.high / unit, quote.low / unit
        if mode is Mode.QUOTE:
            return _QUOTE(QUOTE, QUOTE_BYTES, segment, number, *day, *prices)
        interest = quote.oi, quote.oi_high, quote.oi_low
        return _FULL(FULL, FULL_BYTES, segment, number, *day, *interest, *prices, *_book(quote))

    def records(self, quote: Quote, modes: Collection[Mode]) -> Mapping[Mode, Sequence[bytes]]:
        """Return the packet of each mode."""
        return {mode: (self.record(quote, mode),) for mode in modes}

    def frame(self, records: Sequence[bytes]) -> bytes:
        """Return the message that carries the packets."""
        return b"".join(records)

    def malformed(self, kind: Malformation, records: Sequence[bytes]) -> bytes:
        """Return the message of the packets, spoilt in one way; of a wrong length means a byte too long."""
        if kind is Malformation.TRUNCATED:
            return self.frame(records)[:-3]
        if kind is Malformation.UNKNOWN_TOKEN:
            return b"".join(record[:4] + b"\xff\xff\xff\xff" + record[8:] for record in records)
        longer = [struct.pack("<H", len(record) + 1) for record in records]
        return b"".join(
            record[:1] + length + record[3:] + b"\x00" for record, length in zip(records, longer, strict=True)
        )

    def packets(self, message: bytes) -> Iterator[bytes]:
        """Yield the packets of a message; stops at the first that is cut short."""
        begin = 0
        while begin + _HEADER.size <= len(message):
            end = begin + int(_HEADER.unpack_from(message, begin)[1])
            if end < begin + _HEADER.size or end > len(message):
                return
            yield message[begin:end]
            begin = end

    def packet_token(self, packet: bytes) -> int | None:
        """Return the token of a packet, None when it is of no security."""
        code, _, segment, number = _HEADER.unpack_from(packet)
        return None if code not in (TICKER, QUOTE, FULL) else int(number) << 8 | int(segment)

    def trimmed(self, packet: bytes, mode: Mode) -> bytes:
        """Return the packet as `record` would in a lower mode; nothing is made up for a higher one."""
        code, _, segment, number = _HEADER.unpack_from(packet)
        if mode is Mode.LTP and code in (QUOTE, FULL):
            return _HEADER.pack(TICKER, TICKER_BYTES, segment, number) + packet[8:12] + packet[14:18]
        if mode is Mode.QUOTE and code == FULL:
            return _HEADER.pack(QUOTE, QUOTE_BYTES, segment, number) + packet[8:34] + packet[46:62]
        return packet

    def error(self, text: str) -> bytes:
        """Return nothing: what is wrong with a request is told by a packet, after which the socket ends."""
        return b""


def previous_close(quote: Quote) -> bytes:
    """Return the packet that follows every subscription: close and interest of the session before."""
    price = quote.close / quote.unit
    return _PREVIOUS_CLOSE(PREVIOUS_CLOSE, 16, quote.token & 0xFF, quote.token >> 8, price, quote.oi_low)


def open_interest(quote: Quote) -> bytes:
    """Return the packet that follows a subscription of a contract in quote mode."""
    return _OPEN_INTEREST(OPEN_INTEREST, 12, quote.token & 0xFF, quote.token >> 8, quote.oi)


def disconnect(reason: int) -> bytes:
    """Return the last packet of a socket that the broker ends."""
    return _DISCONNECT(DISCONNECT, 10, 0, 0, reason)


def _book(quote: Quote) -> Iterator[float]:
    depth, unit = quote.depth, quote.unit
    for bid in range(0, 3 * LEVELS, 3):
        ask = bid + 3 * LEVELS
        yield from (depth[bid], depth[ask], min(depth[bid + 2], _MOST), min(depth[ask + 2], _MOST))
        yield from (depth[bid + 1] / unit, depth[ask + 1] / unit)
