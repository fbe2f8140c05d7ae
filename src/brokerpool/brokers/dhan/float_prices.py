"""Dhan's prices: rupees as floats of 32 bits, brought back to the number that the exchange said; pure."""

from __future__ import annotations

from typing import Final

#: Added to a number and taken away again, it leaves the nearest whole one: a float of its size has no
#: fractions. A call of round() would take twice as long.
ROUND: Final = 1.5 * 2**52

#: Parts of a rupee that prices come in: paise, and ten-thousandths for currencies; by the token's segment.
#: A float of 32 bits tells paise apart up to 1.3 lakh rupees, and dearer things move by whole rupees.
UNITS: Final = tuple(10_000.0 if segment in (3, 7) else 100.0 for segment in range(256))


def rupees(value: float, token: int) -> float:
    """Return the price that a value of the wire stands for: 1573.7, which arrives as 1573.699951.

    The codec's loops have this spelled out: `(value * unit + ROUND - ROUND) / unit`.
    """
    unit = UNITS[token & 0xFF]
    return (value * unit + ROUND - ROUND) / unit
