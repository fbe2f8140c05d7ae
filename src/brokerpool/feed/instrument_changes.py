"""What a new instrument list means for what is wanted; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from brokerpool.instruments import Instrument, Token, TokenBook

#: Symbols that an entry of the journal names; the rest is counted.
_NAMED = 5


class Relisting(NamedTuple):
    """The wanted instruments that a list says something new of."""

    #: Those that have another token now, with it.
    moved: dict[Instrument, Token]
    #: Those that are not listed any more, and whose token is another one's.
    expired: list[Instrument]
    #: Those that are not listed any more, and whose token is nobody's.
    unlisted: list[Instrument]

    def news(self) -> list[tuple[int, str]]:
        """Return what people are to be told: how many symbols, and a line that names the first few."""
        groups = (
            (self.expired, "not listed any more; given up, for their tokens are others' now"),
            (self.unlisted, "not listed any more; they keep their places, and may have no ticks"),
        )
        return [(len(symbols), f"{_named(symbols)}: {what}") for symbols, what in groups if symbols]


def relisting(tokens: Mapping[Instrument, Token], book: TokenBook) -> Relisting:
    """Compare the tokens under which instruments are served with those of a list."""
    found = Relisting({}, [], [])
    for instrument, old in tokens.items():
        new = book.token(instrument)
        if new == old:
            continue
        if new is not None:
            found.moved[instrument] = new
        elif book.instrument(old) is not None:
            found.expired.append(instrument)
        else:
            found.unlisted.append(instrument)
    return found


def _named(instruments: Sequence[Instrument]) -> str:
    named = ", ".join(map(str, instruments[:_NAMED]))
    return f"{named}, ..." if len(instruments) > _NAMED else named
