"""What OpenAlgo's clients call what Kite lists (docs.openalgo.in, symbol format); pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from brokerpool.brokers import symbol_spelling
from brokerpool.instruments import Instrument

_INDEX_EXCHANGES = {
    "NSE": "NSE_INDEX",
    "BSE": "BSE_INDEX",
    "MCX": "MCX_INDEX",
    "GLOBAL": "GLOBAL_INDEX",
    "NSEIX": "GLOBAL_INDEX",
}


def openalgo_instrument(
    tradingsymbol: str, name: str, expiry: str, strike: str, kind: str, segment: str, exchange: str
) -> Instrument:
    """Return what OpenAlgo's clients call the instrument of one row.

    Equities keep Kite's trading symbol. Indices lose blanks and hyphens and go to an exchange of their own;
    BSE's codes become OpenAlgo's long names, each with BSE in front. Contracts become NAME + DDMMMYY + FUT
    or strike and CE or PE. Raises ValueError for a row that names nothing of this kind.
    """
    if segment == "INDICES":
        exchange = _INDEX_EXCHANGES.get(exchange, exchange)
        symbol = symbol_spelling.index(exchange, tradingsymbol)
    elif kind in ("FUT", "CE", "PE"):
        day, contract_codes = _expiry(expiry)
        tail = kind if kind == "FUT" else symbol_spelling.strike(strike) + kind
        base = symbol_spelling.underlying(name) or _underlying(tradingsymbol, contract_codes, tail)
        symbol = symbol_spelling.contract(base, day, kind, strike)
    else:
        symbol = tradingsymbol
    return symbol_spelling.instrument(exchange, symbol)


@lru_cache(maxsize=4096)
def _expiry(text: str) -> tuple[date, tuple[str, str]]:
    """Return the day and Kite's two codes for its contracts, monthly (25APR) and weekly (25424)."""
    expiry = date.fromisoformat(text)
    year, month = f"{expiry.year % 100:02d}", symbol_spelling.MONTHS[expiry.month - 1]
    weekly = f"{year}{'123456789OND'[expiry.month - 1]}{expiry.day:02d}"
    return expiry, (year + month, weekly)


def _underlying(tradingsymbol: str, contract_codes: Iterable[str], tail: str) -> str:
    # Older lists leave the name of a contract empty.
    for code in contract_codes:
        underlying = tradingsymbol.removesuffix(code + tail)
        if underlying not in ("", tradingsymbol):
            return underlying
    raise ValueError(f"{tradingsymbol} does not end with its expiry and {tail}")
