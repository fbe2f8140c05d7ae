"""Kite's binary frames, written: big-endian, and the length of a packet is its only type tag."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.simulator.zerodha.instruments import INDICES
from brokerpool.ticks import Mode

#: One byte, which clients take as a sign of life.
HEARTBEAT = b"\x00"

TEXT = False

#: Packets in one frame; a larger burst leaves in several, so that no message grows without bound.
PACKETS_PER_FRAME = 500

LTP_BYTES, INDEX_QUOTE_BYTES, INDEX_FULL_BYTES, QUOTE_BYTES, FULL_BYTES = 8, 28, 32, 44, 184

# Each with the two bytes of its length in front. Counters are unsigned, prices signed.
_LTP = struct.Struct(">HIi").pack
_QUOTE = struct.Struct(">HIiIiIIIiiii").pack
_FULL = struct.Struct(">HIiIiIIIiiiiIIIII" + "IiH2x" * 10).pack
_INDEX_QUOTE = struct.Struct(">HIiiiiii").pack
_INDEX_FULL = struct.Struct(">HIiiiiiiI").pack
_COUNT = struct.Struct(">H")
_TOKEN = struct.Struct(">I")
_INDEX_SEGMENT = bytes((INDICES,))


def record(quote: Quote, mode: Mode) -> bytes:
    """Return the packet of a quote in a mode, its length in front: what a frame is joined from.

    8 bytes for LTP, 44 or 184 for QUOTE and DEPTH, 28 or 32 when the token's segment is the indices'.
    """
    if mode == 1:
        return _LTP(LTP_BYTES, quote.token, quote.ltp)
    if quote.token & 0xFF == INDICES:
        # An index has high, low, open, close; everything else open, high, low, close.
        index = (quote.token, quote.ltp, quote.high, quote.low, quote.open, quote.close, quote.change)
        if mode == 2:
            return _INDEX_QUOTE(INDEX_QUOTE_BYTES, *index)
        return _INDEX_FULL(INDEX_FULL_BYTES, *index, quote.exchange_time)
    if mode == 2:
        return _QUOTE(
            QUOTE_BYTES,
            quote.token,
            quote.ltp,
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
    return _FULL(
        FULL_BYTES,
        quote.token,
        quote.ltp,
        quote.last_quantity,
        quote.average,
        quote.volume,
        quote.buy_total,
        quote.sell_total,
        quote.open,
        quote.high,
        quote.low,
        quote.close,
        quote.last_trade_time,
        quote.oi,
        quote.oi_high,
        quote.oi_low,
        quote.exchange_time,
        *quote.depth,
    )


def records(quote: Quote, modes: Collection[Mode]) -> dict[Mode, tuple[bytes]]:
    """Return the packet of each mode."""
    return {mode: (record(quote, mode),) for mode in modes}


def frame(records: Sequence[bytes]) -> bytes:
    """Return the message that carries the records; at most 65,535 of them fit into its counter."""
    return _COUNT.pack(len(records)) + b"".join(records)


def packets(message: bytes) -> Iterator[bytes]:
    """Yield the packets of a message without their lengths; stops at the first that is cut short."""
    if len(message) < _COUNT.size:
        return
    (count,) = _COUNT.unpack_from(message)
    start = _COUNT.size
    for _ in range(count):
        if start + _COUNT.size > len(message):
            return
        (size,) = _COUNT.unpack_from(message, start)
        start += _COUNT.size
        if start + size > len(message):
            return
        yield message[start : start + size]
        start += size


def packet_token(packet: bytes) -> int | None:
    """Return the instrument token of a packet, None when the packet is too short to have one."""
    return int(_TOKEN.unpack_from(packet)[0]) if len(packet) >= _TOKEN.size else None


def trimmed(packet: bytes, mode: Mode) -> bytes:
    """Return the packet as `record` would in a lower mode, its length in front.

    Every layout starts with the lower ones. A packet of less than the mode stays as it is: nothing
    is made up.
    """
    if mode == Mode.LTP:
        packet = packet[:LTP_BYTES]
    elif mode == Mode.QUOTE:
        packet = packet[: INDEX_QUOTE_BYTES if packet[3:4] == _INDEX_SEGMENT else QUOTE_BYTES]
    return _COUNT.pack(len(packet)) + packet


def malformed(kind: Malformation, records: Sequence[bytes]) -> bytes:
    """Return the frame of the records, spoilt in one way; of a wrong length means a byte too long."""
    if kind is Malformation.TRUNCATED:
        return frame(records)[:-3]
    if kind is Malformation.UNKNOWN_TOKEN:
        return frame([record[:2] + b"\xff\xff\xff\x01" + record[6:] for record in records])
    return frame([_COUNT.pack(len(record) - 1) + record[2:] + b"\x00" for record in records])


def order_update(order: Mapping[str, object]) -> bytes:
    """Return the text message that tells what has become of an order."""
    return msgspec.json.encode({"type": "order", "data": order})


def error(text: str) -> bytes:
    """Return the text message that tells a client what is wrong with its request."""
    return msgspec.json.encode({"type": "error", "data": text})
