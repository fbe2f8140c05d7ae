"""The names of OpenAlgo's instruments, which are its tokens too; pure."""

from __future__ import annotations

import re

from brokerpool.instruments import EXCHANGES, Instrument, Token, TokenBook, named

#: Printable, without blanks and small letters: a server acknowledges `infy` as well, and never sends a tick.
_SYMBOL = re.compile(r"[!-`{-~]{1,64}")
#: TCS:50 is TCS with 50 levels of its order book, where the broker has them.
_DEPTH_SUFFIX = re.compile(r":[1-9][0-9]{0,2}")


class OpenAlgoBook(TokenBook):
    """A list in which the token of an instrument is its name; one without rows takes every name.

    Then any well-formed symbol of a known exchange can be asked for, and the server's answer decides.
    Iteration and `len` tell what is listed, which is nothing then.
    """

    @property
    def takes_unlisted(self) -> bool:
        """True without rows: any name can be asked for then."""
        return not self._tokens

    def token(self, instrument: Instrument | str) -> Token | None:
        """Return the name of an instrument that is listed, or that may be asked for without a list."""
        instrument = named(instrument)
        if instrument in self._tokens:
            return self._tokens[instrument]
        if not self.takes_unlisted:
            symbol, colon, levels = instrument.symbol.rpartition(":")
            base = Instrument(instrument.exchange, symbol)
            known = _DEPTH_SUFFIX.fullmatch(colon + levels) is not None and base in self._tokens
        else:
            known = instrument.exchange in EXCHANGES and _SYMBOL.fullmatch(instrument.symbol) is not None
        return str(instrument) if known else None

    def instrument(self, token: Token) -> Instrument | None:
        """Return the instrument of a name; None for one that cannot be asked for."""
        listed = super().instrument(token)
        if listed is not None:
            return listed
        exchange, _, symbol = str(token).partition(":")
        instrument = Instrument(exchange, symbol)
        return instrument if self.token(instrument) == token else None

    def __contains__(self, instrument: object) -> bool:
        return self.token(named(instrument)) is not None

    def __repr__(self) -> str:
        return f"<OpenAlgoBook {len(self)} instruments>" if len(self) else "<OpenAlgoBook without a list>"
