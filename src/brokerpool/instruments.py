"""Instruments as clients name them, and the book that maps them to a broker's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

#: What a broker calls an instrument on its wire: Kite's 32-bit number, Upstox's "NSE_EQ|INE...", and so on.
Token: TypeAlias = int | str

#: Exchange codes that OpenAlgo's clients use.
EXCHANGES = frozenset(
    {"NSE", "BSE", "NFO", "BFO", "CDS", "BCD", "MCX", "NCDEX", "NCO", "CRYPTO"}
    | {"NSE_INDEX", "BSE_INDEX", "MCX_INDEX", "GLOBAL_INDEX"}
)


class Instrument(msgspec.Struct, frozen=True, cache_hash=True, gc=False, order=True):
    """One tradable thing in OpenAlgo's spelling; equal and hashed by exchange and symbol."""

    exchange: str
    symbol: str

    @classmethod
    def parse(cls, text: str) -> Instrument:
        """Return the instrument that `EXCHANGE:SYMBOL` names.

        Raises ValueError when either half is missing.
        """
        exchange, _, symbol = text.partition(":")
        if not exchange or not symbol:
            raise ValueError(f"{text!r} is not EXCHANGE:SYMBOL, as in NSE:INFY")
        return cls(exchange.upper(), symbol)

    def __str__(self) -> str:
        return f"{self.exchange}:{self.symbol}"


class TokenBook:
    """Both directions of a broker's instrument list: one token an instrument, one instrument a token."""

    def __init__(self, entries: Iterable[tuple[Instrument, Token]] = ()) -> None:
        self._tokens: dict[Instrument, Token] = {}
        self._instruments: dict[Token, Instrument] = {}
        for instrument, token in entries:
            self.add(instrument, token)

    def add(self, instrument: Instrument, token: Token) -> None:
        """Enter a pair, replacing whatever either side was paired with before.

        Brokers reuse the tokens of expired contracts, so a token that comes again takes its old
        instrument out of the book: a tick must never be shown under the wrong name.
        """
        stale_token = self._tokens.pop(instrument, None)
        if stale_token is not None:
            del self._instruments[stale_token]
        stale_instrument = self._instruments.pop(token, None)
        if stale_instrument is not None:
            del self._tokens[stale_instrument]
        self._tokens[instrument] = token
        self._instruments[token] = instrument

    def token(self, instrument: Instrument) -> Token | None:
        """Return the broker's token, or None when the broker does not list the instrument."""
        return self._tokens.get(instrument)

    def instrument(self, token: Token) -> Instrument | None:
        """Return the instrument behind a token, or None for a token that is not in the book."""
        return self._instruments.get(token)

    def __iter__(self) -> Iterator[Instrument]:
        return iter(self._tokens)

    def __len__(self) -> int:
        return len(self._tokens)

    def __repr__(self) -> str:
        return f"<TokenBook {len(self)} instruments>"
