"""SmartStream's packets, written: little-endian, one in a message, its length by its mode."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Sequence

from brokerpool.simulator.angel.instruments import joined, parts
from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.ticks import Mode

#: None is sent: clients ask for an answer to their own.
HEARTBEAT = b""

TEXT = False

#: Each message is one packet.
PACKETS_PER_FRAME = 1

LTP_BYTES, QUOTE_BYTES, SNAP_BYTES = 51, 123, 379

_HEAD = "<BB25sqqq"
_DAY = "qqqddqqqq"
_LTP = struct.Struct(_HEAD).pack
_QUOTE = struct.Struct(_HEAD + _DAY).pack
# Levels without their flags, which stand in their first byte; then circuits and the year, which are not told.
_SNAP = struct.Struct(_HEAD + _DAY + "qqd" + "xxqqh" * 10 + "32x").pack
_BUY_FLAGS = range(147, 247, 20)
_HEADER_BYTES = 27
_BYTES = {Mode.LTP: LTP_BYTES, Mode.QUOTE: QUOTE_BYTES, Mode.DEPTH: SNAP_BYTES}
_NOBODY = b"999999999"


def record(quote: Quote, mode: Mode) -> bytes:
    """Return the packet of a quote in a mode: 51, 123 or 379 bytes."""
    segment, number = parts(quote.token)
    # An index has no meaningful sequence number; elsewhere what has been traded only grows.
    head = (segment, number.encode(), quote.volume, quote.exchange_time * 1000, quote.ltp)
    if mode == 1:
        return _LTP(1, *head)
    day = (
        quote.last_quantity,
        quote.average,
        quote.volume,
        quote.buy_total,
        quote.sell_total,
        quote.open,
        quote.high,
        quote.low,
        quote.close,
    )
    if mode == 2:
        return _QUOTE(2, *head, *day)
    packet = _SNAP(3, *head, *day, quote.last_trade_time, quote.oi, 0.0, *quote.depth)
    if quote.is_index:
        return packet
    flagged = bytearray(packet)
    for at in _BUY_FLAGS:
        flagged[at] = 1
    return bytes(flagged)


def records(quote: Quote, modes: Collection[Mode]) -> dict[Mode, tuple[bytes]]:
    """Return the packet of each mode."""
    return {mode: (record(quote, mode),) for mode in modes}


def frame(records: Sequence[bytes]) -> bytes:
    """Return the only record."""
    return records[0]


def packets(message: bytes) -> Iterator[bytes]:
    """Yield the message: there is one packet in each."""
    yield message


def packet_token(packet: bytes) -> int | None:
    """Return the instrument token of a packet, None when it has none."""
    if len(packet) < _HEADER_BYTES:
        return None
    number = packet[2:_HEADER_BYTES].partition(b"\0")[0]
    return joined(packet[1], number.decode("ascii", "replace"))


def trimmed(packet: bytes, mode: Mode) -> bytes:
    """Return the packet as `record` would in a lower mode; one of less than the mode stays as it is.

    Every layout starts with the lower ones.
    """
    return packet if packet[0] <= mode else bytes((mode,)) + packet[1 : _BYTES[mode]]


def malformed(kind: Malformation, records: Sequence[bytes]) -> bytes:
    """Return the message of the record, spoilt in one way; of a wrong length means a byte too long."""
    (packet,) = records
    if kind is Malformation.TRUNCATED:
        return packet[:-3]
    if kind is Malformation.UNKNOWN_TOKEN:
        return packet[:2] + _NOBODY.ljust(25, b"\0") + packet[_HEADER_BYTES:]
    return packet + b"\0"


def error(text: str) -> bytes:
    """Return the text message that tells a client what is wrong; the text is JSON already."""
    return text.encode()
