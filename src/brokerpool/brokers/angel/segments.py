"""Angel's segments, and the tokens of its instruments: a number is only one inside its segment; pure."""

from __future__ import annotations

from brokerpool.instruments import Token

#: `exch_seg` of the instrument list, which its HTTP API calls the exchange -> `exchangeType` of SmartStream
#: (SmartAPI documentation, WebSocket 2.0 and instruments; looked up 2026-11-29).
SEGMENTS = {"NSE": 1, "NFO": 2, "BSE": 3, "BFO": 4, "MCX": 5, "NCDEX": 7, "CDS": 13}
_NAMES = {number: name for name, number in SEGMENTS.items()}

#: The segment whose prices have seven decimals; all others have two.
CURRENCIES = SEGMENTS["CDS"]

_SEPARATOR = "|"


def token(segment: int, number: str) -> str:
    """Return the token of an instrument: "1|3045" is SBIN at NSE."""
    return f"{segment}{_SEPARATOR}{number}"


def parts(token: Token) -> tuple[int, str]:
    """Return segment and number of a token. Raises ValueError for what is none."""
    segment, separator, number = str(token).partition(_SEPARATOR)
    if not separator or not number:
        raise ValueError(f"{token!r} is no token of Angel's, as 1|3045 is")
    return int(segment), number


def exchange(segment: int) -> str:
    """Return what the HTTP API calls a segment. Raises KeyError for one that there is not."""
    return _NAMES[segment]
