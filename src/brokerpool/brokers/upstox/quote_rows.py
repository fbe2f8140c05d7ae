"""Reads a quote from the bytes of a whole market row in its usual shape; any other row is for protobuf.

The usual shape is that in which the server writes the row of an instrument that is traded: all that a quote
has is there, in the order of the fields' numbers. Through protobuf's classes such a row takes twice the time,
most of it for objects that live for one look.

What no quote tells is passed over by its length: the book, greeks, and the bars after that of the day. Unlike
protobuf it is not asked whether that is well-formed: the quote beside it is right, and to ask costs a
seventh more. Whoever comes to need the book asks then. For all other bytes the answer is protobuf's, or None.
"""

from __future__ import annotations

import struct
from typing import Any

from brokerpool.brokers.upstox.messages import Entry
from brokerpool.instruments import Instrument
from brokerpool.ticks import QuoteTick

# A field begins with its tag, 8 * number + kind: kind 1 is a double, 2 a length and as many bytes, and 0 an
# integer of seven bits a byte, the lowest first, whose bytes are above 127 but for the last one. Where its
# length is not known yet, as many bytes are read as it may have.

# What stands before the market; LTPC with its length, the price, the time from its tag to the next one, and
# the quantity of one to three bytes.
_head = struct.Struct("<QBBBdQBBB").unpack_from
# The close, which ends LTPC; tag and length of the book.
_close = struct.Struct("<BdBBB").unpack_from
# What is wanted in the whole book, and what is on offer.
_totals = struct.Struct("<dxd").unpack_from

# A time of six bytes, as all are in milliseconds from 1971 to 2109, between its tag and the next one.
_TIME_MASK, _TIME = 0xFF_80_80_80_80_80_80_FF, 0x18_00_80_80_80_80_80_10
# The last byte of a bar's volume, and the time with its tag.
_BAR_END_MASK, _BAR_END = 0x80_80_80_80_80_80_FF_80, 0x00_80_80_80_80_80_38_00

#: After its key a row with a book of five levels has fewer bytes.
_LONGEST = 1024
#: Added to a number below 2**51 and taken away again it leaves the nearest whole one, as there is no room
#: beside it for what stands behind the point.
_TO_WHOLE = 1.5 * 2.0**52


def _before_market(market: int, after: int) -> int:
    """Return the eight bytes before so many of a market: three lengths, each of what is left of its message.

    `after` are the feed's bytes after the market.
    """
    full = market + 3
    lengths = [bytes((size & 127 | 128, size >> 7)) for size in (full + 3 + after, full, market)]
    return int.from_bytes(b"%b\x12%b\x0a%b" % tuple(lengths), "little")


#: By the number of bytes after the key and the feed's tag: what stands before a market that is the only field
#: of the feed, and before one that requestMode follows.
_BEFORE_MARKET = [
    (_before_market(size - 8, 0), _before_market(size - 10, 2)) if size >= 138 else ()
    for size in range(_LONGEST)
]


def _usual_bars(volume: int, after: int) -> tuple[bytes, tuple[int, Any, int, int]]:
    """Return how bars begin whose first has so many bytes of volume and is followed by so many; how to go on.

    That is: the size of them all; what reads the first from its open on, and the average and the volume after
    all of them; mask and bits of the eight bytes before the last one of the bar's volume.
    """
    bar = 48 + volume
    begin = bytes((0x22, 2 + bar + after, 0x0A, bar)) + b"\x0a\x021d\x11"
    unpack = struct.Struct(f"<dBdBdB{volume}xQQ{after}xBdBBBBBB").unpack_from
    mask, expected = (bytes(8 - volume) + tag + b"\x80" * (volume - 1) for tag in (b"\xff", b"\x30"))
    return begin, (
        4 + bar + after,
        unpack,
        int.from_bytes(mask, "little"),
        int.from_bytes(expected, "little"),
    )


#: By their first nine bytes: the day's bar alone, or followed by the minute's, which may have no volume.
_BARS = dict(_usual_bars(volume, after) for volume in range(1, 6) for after in (0, 49, 51, 52, 53, 54, 55))

#: By every ninth byte from the end of the volume on, which are the tags of what is left: its size, where the
#: totals stand in it, and whether requestMode does. Open interest and volatility may be left out.
_ENDS = {
    told + b"IQ" + mode: (9 * len(told) + 18 + 2 * len(mode), 9 * len(told) + 1, len(mode))
    for told in (b"9A", b"9", b"A", b"")
    for mode in (b" ", b"")
}


def start_of_row(key: str) -> bytes:
    """Return the bytes with which the row of a key begins in the usual shape: the key, and the feed's tag."""
    named: bytes = Entry(key=key).SerializeToString()
    return named + b"\x12"


def read_quote(row: bytes, start: int, instrument: Instrument, at: int) -> QuoteTick | None:
    """Return the quote of a row whose `start_of_row` has `start` bytes.

    None says that protobuf has to read it: it has another shape, no price, or something that is no number.
    """
    try:
        before, tag_1, ltpc, tag, ltp, time, quantity, b, c = _head(row, start)
        if tag_1 != 0x0A or tag != 0x09 or time & _TIME_MASK != _TIME:
            return None
        place = start + 28
        if quantity > 127:
            quantity += b * 128 - 128
            place += 1
            if b > 127:
                quantity += c * 16_384 - 16_384
                place += 1
                if c > 127:
                    return None
        tag_4, close, tag_2, book, b = _close(row, place)
        place += 9
        if tag_4 != 0x21 or place != start + 10 + ltpc or tag_2 != 0x12:
            return None
        if book < 128:
            place += 2 + book
        elif b < 128:
            place += book + b * 128 - 125
        else:
            return None
        if row[place] == 0x1A:  # greeks
            size = row[place + 1]
            if size > 127:
                return None
            place += 2 + size
        bars = _BARS.get(row[place : place + 9])
        if bars is None:
            return None
        size, unpack, mask, expected = bars
        # fmt: off
        (
            open_, tag_3, high, tag_4, low, tag_5, bar_volume, bar_end,
            tag, average, tag_6, volume, b, c, d, e,
        ) = unpack(row, place + 9)
        # fmt: on
        if tag_3 != 0x19 or tag_4 != 0x21 or tag_5 != 0x29:
            return None
        if bar_volume & mask != expected or bar_end & _BAR_END_MASK != _BAR_END:
            return None
        if tag != 0x29 or tag_6 != 0x30:
            return None
        place += size + 11
        if volume < 128:
            pass
        elif b < 128:  # written out: a loop takes twice as long
            volume += b * 128 - 128
            place += 1
        elif c < 128:
            volume += b * 128 + c * 16_384 - 16_512
            place += 2
        elif d < 128:
            volume += b * 128 + c * 16_384 + d * 2_097_152 - 2_113_664
            place += 3
        elif e < 128:
            volume += b * 128 + c * 16_384 + d * 2_097_152 + e * 268_435_456 - 270_549_120
            place += 4
        else:
            return None
        left, totals, mode = _ENDS[row[place::9]]
        size = len(row)
        # The last byte is that of requestMode, or the sign of a double that is not negative.
        if place + left != size or before != _BEFORE_MARKET[size - start][mode] or row[-1] > 127:
            return None
        buys, sells = _totals(row, place + totals)
    except (IndexError, KeyError, struct.error):  # the first and the last are of a row that is shorter
        return None
    # The prices come first, as they do for protobuf's: in another order they may add up to no number.
    total = average + open_ + high + low + close + ltp + buys + sells
    if not ltp or total - total != 0.0:
        return None
    change = percent = 0.0
    if close:
        change = ltp - close
        percent = change * 100.0 / close
        scaled = change * 1e4
        whole = scaled + _TO_WHOLE - _TO_WHOLE
        # What `round` returns, in half its time; it is asked between two of those, and for the sign of 0.
        if whole and -0.4 < scaled - whole < 0.4 and -1e9 < change < 1e9:
            change = whole / 1e4
        else:
            change = round(change, 4)
    return QuoteTick(
        instrument,
        ltp,
        at,
        open_,
        high,
        low,
        close,
        volume,
        quantity,
        average,
        change,
        percent,
        buys.__trunc__(),
        sells.__trunc__(),
    )
