"""Dhan's prices: rupees as floats of 32 bits, brought back to the number that the exchange said; pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable

_bits = struct.Struct("<I").pack
_float = struct.Struct("<f")

#: Steps in a rupee in which prices come, the coarsest first: 5 paise, 1 paisa, and those of currencies.
_STEPS = (20, 100, 400, 10_000)
#: No instrument costs as much: what is beyond is no price.
_NO_PRICE = 1e9
#: Prices that are remembered: those of some thousand instruments and their books.
MOST_PRICES = 131_072

#: Prices by the bits that stand for them on the wire, whoever sent them: the same ones come again and again,
#: and to round one takes longer than to look up all of a packet. A plain dictionary, which is the quickest.
RUPEES: dict[int, float] = {}


def learn(seen: Iterable[int]) -> None:
    """Enter prices into `RUPEES` by their bits. Raises ValueError for bits that are no price."""
    for bits in seen:
        if bits not in RUPEES:
            price = rupees(bits)
            if len(RUPEES) >= MOST_PRICES:
                RUPEES.clear()
            RUPEES[bits] = price


def rupees(bits: int) -> float:
    """Return the roundest price that has these bits on the wire: 1573.7, which arrives as 1573.699951.

    Raises ValueError for bits that are no price.
    """
    raw = _bits(bits)
    value: float = _float.unpack(raw)[0]
    if not -_NO_PRICE < value < _NO_PRICE:  # also nan
        raise ValueError(f"{value} is no price")
    for steps in _STEPS:
        price = round(value * steps) / steps
        if _float.pack(price) == raw:
            return price
    return value
