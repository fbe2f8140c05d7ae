"""The packets of Dhan's 20-level depth, written: bids and offers apart, a book's two one after the other."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence

from brokerpool.simulator.exchange import LEVELS, Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.ticks import Mode

#: Codes of packets (DhanHQ v2 documentation, 20 level market depth).
BID, ASK, DISCONNECT = 41, 51, 50
ROWS = 20
SIDE_BYTES = 332

_HEADER = struct.Struct("<HBBII")
_ROWS = struct.Struct("<" + "dII" * ROWS).pack
_DISCONNECT = struct.Struct("<HBBIIH").pack
#: Steps between the levels that the market does not have itself, in a rupee.
_STEPS = 20


class Depth20Packets:
    """The messages that carry books: both packets of each, stacked up to those of a full socket."""

    TEXT = False
    #: Pings are the signs of life.
    HEARTBEAT = b""
    PACKETS_PER_FRAME = 50

    def record(self, quote: Quote, mode: Mode) -> bytes:
        """Return both packets of a book, whatever the mode."""
        return side(BID, quote.token, bids(quote)) + side(ASK, quote.token, asks(quote))

    def records(self, quote: Quote, modes: Collection[Mode]) -> Mapping[Mode, Sequence[bytes]]:
        """Return the same for each mode."""
        return dict.fromkeys(modes, (self.record(quote, Mode.DEPTH),))

    def frame(self, records: Sequence[bytes]) -> bytes:
        """Return the message that carries the packets."""
        return b"".join(records)

    def malformed(self, kind: Malformation, records: Sequence[bytes]) -> bytes:
        """Return the message of the packets, spoilt in one way; of a wrong length means a byte too long."""
        message = self.frame(records)
        if kind is Malformation.TRUNCATED:
            return message[:-3]
        packets = list(self.packets(message))
        if kind is Malformation.UNKNOWN_TOKEN:
            return b"".join(packet[:4] + b"\xff\xff\xff\xff" + packet[8:] for packet in packets)
        return b"".join(struct.pack("<H", len(packet) + 1) + packet[2:] + b"\x00" for packet in packets)

    def packets(self, message: bytes) -> Iterator[bytes]:
        """Yield the packets of a message; stops at the first that is cut short."""
        begin = 0
        while begin + _HEADER.size <= len(message):
            end = begin + int(_HEADER.unpack_from(message, begin)[0])
            if end < begin + _HEADER.size or end > len(message):
                return
            yield message[begin:end]
            begin = end

    def packet_token(self, packet: bytes) -> int | None:
        """Return the token of a packet, None when it is of no security."""
        _, code, segment, number, _ = _HEADER.unpack_from(packet)
        return int(number) << 8 | int(segment) if code in (BID, ASK) else None

    def trimmed(self, packet: bytes, mode: Mode) -> bytes:
        """Return the packet: there is no lower mode."""
        return packet

    def error(self, text: str) -> bytes:
        """Return nothing: what is wrong with a request is told by a packet, after which the socket ends."""
        return b""


def side(code: int, token: int, rows: Sequence[float], sequence: int = 0) -> bytes:
    """Return one side of a book: twenty times price in rupees, quantity and orders."""
    return _HEADER.pack(SIDE_BYTES, code, token & 0xFF, token >> 8, sequence) + _ROWS(*rows)


def bids(quote: Quote) -> list[float]:
    """Return the rows of the bids: those of the market, and more of them below."""
    return _rows(quote.depth[: 3 * LEVELS], quote.unit, -1)


def asks(quote: Quote) -> list[float]:
    """Return the rows of the offers: those of the market, and more of them above."""
    return _rows(quote.depth[3 * LEVELS :], quote.unit, 1)


def disconnect(reason: int) -> bytes:
    """Return the last packet of a socket that the broker ends.

    The documentation has the reason behind the header, the official client reads it where the sequence is,
    of which the documentation says to ignore it: it stands in both places.
    """
    return _DISCONNECT(14, DISCONNECT, 0, 0, reason, reason)


def _rows(market: Sequence[int], unit: int, direction: int) -> list[float]:
    rows: list[float] = []
    for quantity, price, orders in zip(market[::3], market[1::3], market[2::3], strict=True):
        rows += (price / unit, quantity, orders)
    last = market[-2]
    for beyond in range(1, ROWS - LEVELS + 1):
        price = last + direction * beyond * unit // _STEPS
        if last <= 0 or price <= 0:
            rows += (0.0, 0, 0)
        else:
            rows += (price / unit, market[beyond % LEVELS * 3] + beyond, beyond)
    return rows
