"""Dhan's segments and the tokens made of them: a security id is unique only within its segment; pure."""

from __future__ import annotations

from typing import Final

#: DhanHQ v2 documentation, annexure (looked up 2026-11-29): the number on the wire -> the name in requests.
SEGMENTS: Final = {
    0: "IDX_I",
    1: "NSE_EQ",
    2: "NSE_FNO",
    3: "NSE_CURRENCY",
    4: "BSE_EQ",
    5: "MCX_COMM",
    7: "BSE_CURRENCY",
    8: "BSE_FNO",
}
NUMBERS: Final = {name: number for number, name in SEGMENTS.items()}


def token(segment: int, security_id: int) -> int:
    """Return the token of a security; as a packet's header has them, it is one shift away on the wire."""
    return security_id << 8 | segment


def segment(token: int) -> str:
    """Return the name of a token's segment. Raises KeyError for a number that is none."""
    return SEGMENTS[token & 0xFF]


def security_id(token: int) -> int:
    """Return the security id of a token."""
    return token >> 8
