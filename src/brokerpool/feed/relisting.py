"""What a new instrument list changes for symbols that are wanted already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from brokerpool.instruments import Instrument, Token, TokenBook


class Relisted(NamedTuple):
    """Wanted symbols whose token is not what it was."""

    #: Listed no more, and their tokens are others' now.
    expired: list[Instrument]
    #: Listed with another token.
    moved: dict[Instrument, Token]


def relisted(wanted: Mapping[Instrument, Token], book: TokenBook) -> Relisted:
    """Compare the tokens in use with those of the list; what is listed no more keeps a token that is free."""
    expired: list[Instrument] = []
    moved: dict[Instrument, Token] = {}
    for instrument, token in wanted.items():
        now = book.token(instrument)
        if now is None and book.instrument(token) is not None:
            expired.append(instrument)
        elif now is not None and now != token:
            moved[instrument] = now
    return Relisted(expired, moved)
