"""What OpenAlgo's clients call what Angel lists; pure."""

from __future__ import annotations

from datetime import date
from functools import lru_cache
from typing import NamedTuple

import msgspec

from brokerpool.brokers import symbol_spelling
from brokerpool.brokers.angel.segments import SEGMENTS
from brokerpool.instruments import Instrument

# The file says NSE, the documentation's sample nse_cm.
_DOCUMENTED = {
    "nse_cm": "NSE",
    "nse_fo": "NFO",
    "bse_cm": "BSE",
    "bse_fo": "BFO",
    "mcx_fo": "MCX",
    "ncx_fo": "NCDEX",
    "cde_fo": "CDS",
}
_INDEX = "AMXIDX"
_INDEX_EXCHANGES = {"NSE": "NSE_INDEX", "BSE": "BSE_INDEX", "MCX": "MCX_INDEX"}
#: What NSE's ordinary shares end with in the list; other series are part of the name.
_ORDINARY = "-EQ"

#: Wire units of a strike in a rupee. That of currencies is seen in the file, and not documented.
_STRIKE_UNITS = {"CDS": 10_000_000.0}
_USUAL_STRIKE_UNITS = 100.0


class Row(msgspec.Struct, gc=False):
    """One object of the list; every value is a text."""

    token: str
    symbol: str
    exch_seg: str
    name: str = ""
    expiry: str = ""
    strike: str = ""
    lotsize: str = ""
    instrumenttype: str = ""
    tick_size: str = ""


class Named(NamedTuple):
    """What a row means, its contract's expiry as 2025-04-24 and its strike in rupees."""

    instrument: Instrument
    #: NSE and so on.
    segment: str
    #: EQ, FUT, CE, PE, INDEX, or nothing.
    kind: str
    expiry: str = ""
    strike: float = 0.0


def named(row: Row) -> Named:
    """Return what OpenAlgo's clients call the instrument of a row.

    Shares lose the -EQ of ordinary ones, indices their blanks and go to an exchange of their own, and
    contracts become NAME + DDMMMYY + FUT or strike and CE or PE. Raises ValueError for a row that names
    nothing of this kind, or that is of a segment without a feed.
    """
    segment = _DOCUMENTED.get(row.exch_seg, row.exch_seg)
    if segment not in SEGMENTS:
        raise ValueError(f"segment {segment}")
    if row.instrumenttype == _INDEX:
        exchange = _INDEX_EXCHANGES.get(segment, segment)
        index = symbol_spelling.instrument(exchange, symbol_spelling.index(exchange, row.symbol))
        return Named(index, segment, "INDEX")
    family = row.instrumenttype[:3]
    if family not in ("FUT", "OPT"):
        symbol = row.symbol.removesuffix(_ORDINARY)
        kind = "EQ" if segment in ("NSE", "BSE") and not row.instrumenttype else ""
        return Named(symbol_spelling.instrument(segment, symbol), segment, kind)
    kind = "FUT" if family == "FUT" else row.symbol[-2:]
    if kind not in ("FUT", "CE", "PE"):
        raise ValueError(f"{row.symbol} is neither a call nor a put")
    expiry, underlying = _expiry(row.expiry), symbol_spelling.underlying(row.name)
    if not underlying:
        raise ValueError(f"{row.symbol} has no underlying")
    strike = 0.0 if kind == "FUT" else _strike(row.strike, segment)
    symbol = symbol_spelling.contract(underlying, expiry, kind, str(strike))
    return Named(symbol_spelling.instrument(segment, symbol), segment, kind, _iso(expiry), strike)


@lru_cache(maxsize=4096)
def _expiry(text: str) -> date:
    """Return the day that is written as 29SEP2026."""
    month = symbol_spelling.MONTHS.index(text[2:5].upper()) + 1
    return date(int(text[5:]), month, int(text[:2]))


@lru_cache(maxsize=4096)
def _iso(day: date) -> str:
    return day.isoformat()


@lru_cache(maxsize=65_536)
def _strike(text: str, segment: str) -> float:
    return float(text) / _STRIKE_UNITS.get(segment, _USUAL_STRIKE_UNITS)
