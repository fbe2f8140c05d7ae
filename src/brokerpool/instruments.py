"""Instruments as clients name them, and the book that maps them to a broker's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import msgspec

from brokerpool.json_structs import Record

#: What a broker calls an instrument on its wire: a number of 32 bits, "NSE_EQ|INE...", and so on.
Token: TypeAlias = int | str

#: Exchange codes that OpenAlgo's clients use.
EXCHANGES = frozenset(
    {"NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCDEX", "NCO", "CRYPTO"}
    | {"NSE_INDEX", "BSE_INDEX", "MCX_INDEX", "GLOBAL_INDEX"}
)


class Instrument(Record, frozen=True, cache_hash=True, gc=False, order=True):
    """One tradable thing in OpenAlgo's spelling; equal and hashed by exchange and symbol.

    Its text is `EXCHANGE:SYMBOL`, which every method that takes an instrument takes as well.
    """

    exchange: str
    symbol: str

    @classmethod
    def parse(cls, text: str) -> Instrument:
        """Return the instrument that `EXCHANGE:SYMBOL` names.

        Raises ValueError when either half is missing, and TypeError for what is no text.
        """
        if not isinstance(text, str):
            raise TypeError(f"a {type(text).__name__} is no text; give one such as NSE:INFY")
        exchange, _, symbol = text.strip().partition(":")
        if not exchange or not symbol:
            raise ValueError(f"{text!r} is not EXCHANGE:SYMBOL, as in NSE:INFY")
        return cls(exchange.upper(), symbol)

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"


def named(given: object) -> Instrument:
    """Return the instrument that is given, or that a text names. Raises TypeError and ValueError."""
    if isinstance(given, str):
        return Instrument.parse(given)
    if not isinstance(given, Instrument):
        # Of what may be long, or a secret, the kind alone.
        shown = (
            repr(given) if given is None or isinstance(given, int | float) else f"a {type(given).__name__}"
        )
        raise TypeError(f'{shown} is no instrument; give an Instrument or a text such as "NSE:INFY"')
    return given


class Details(msgspec.Struct, frozen=True, gc=False):
    """What a broker's list says of an instrument besides its token; what it leaves out is empty or 0."""

    #: The broker's own spelling, which its HTTP API wants.
    broker_symbol: str
    broker_exchange: str
    #: The company, or the underlying of a contract.
    name: str = ""
    #: EQ, FUT, CE, PE or INDEX.
    kind: str = ""
    #: The day on which a contract ends, as 2025-04-24.
    expiry: str = ""
    #: In rupees.
    strike: float = 0.0
    lot_size: int = 0
    #: The smallest step of the price, in rupees.
    tick_size: float = 0.0
    #: The number in the list, where that is not the token.
    number: str = ""


class TokenBook:
    """Both directions of a broker's instrument list: one token an instrument, one instrument a token."""

    def __init__(self, entries: Iterable[tuple[Instrument | str, Token]] = ()) -> None:
        self._tokens: dict[Instrument, Token] = {}
        self._instruments: dict[Token, Instrument] = {}
        self._details: dict[Instrument, Details] = {}
        for instrument, token in entries:
            self.add(instrument, token)

    def add(self, instrument: Instrument | str, token: Token, details: Details | None = None) -> None:
        """Enter a pair, replacing whatever either side was paired with before.

        Brokers reuse the tokens of expired contracts, so a token that comes again takes its old
        instrument out of the book: a tick must never be shown under the wrong name.
        """
        instrument = named(instrument)
        stale_token = self._tokens.pop(instrument, None)
        if stale_token is not None:
            del self._instruments[stale_token]
        stale_instrument = self._instruments.pop(token, None)
        if stale_instrument is not None:
            del self._tokens[stale_instrument]
            self._details.pop(stale_instrument, None)
        self._tokens[instrument] = token
        self._instruments[token] = instrument
        if details is not None:
            self._details[instrument] = details

    @property
    def takes_unlisted(self) -> bool:
        """Whether names that are not listed can be asked for as well: an empty list is nothing amiss then."""
        return False

    def token(self, instrument: Instrument | str) -> Token | None:
        """Return the broker's token, or None when the broker does not list the instrument.

        Raises ValueError and TypeError for what is no instrument, as all of these do.
        """
        return self._tokens.get(instrument if isinstance(instrument, Instrument) else named(instrument))

    def lists(self, instrument: Instrument | str) -> bool:
        """Tell whether the instrument is a row of the list, and not only a name that can be asked for."""
        return (instrument if isinstance(instrument, Instrument) else named(instrument)) in self._tokens

    def details(self, instrument: Instrument | str) -> Details:
        """Return what the broker's list says; without a list the broker is taken to use the same names."""
        instrument = named(instrument)
        details = self._details.get(instrument)
        return details if details is not None else Details(instrument.symbol, instrument.exchange)

    def instrument(self, token: Token) -> Instrument | None:
        """Return the instrument behind a token, or None for a token that is not in the book."""
        return self._instruments.get(token)

    def __contains__(self, instrument: object) -> bool:
        return named(instrument) in self._tokens

    def parts(self) -> tuple[dict[Any, Any], ...]:
        """Return what the book is made of, for whoever frees a large one a little at a time."""
        return self._tokens, self._instruments, self._details

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"<TokenBook {len(self)} instruments>"
