"""What OpenAlgo's clients call what Kite lists (docs.openalgo.in, symbol format); pure."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import date
from functools import lru_cache

from brokerpool.instruments import EXCHANGES, Instrument

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_INDEX_EXCHANGES = {
    "NSE": "NSE_INDEX",
    "BSE": "BSE_INDEX",
    "MCX": "MCX_INDEX",
    "GLOBAL": "GLOBAL_INDEX",
    "NSEIX": "GLOBAL_INDEX",
}

# Where OpenAlgo's name is more than Kite's without blanks and hyphens. Looked up on 2026-11-28: the names on
# docs.openalgo.in/symbol-format, and which of Kite's codes stands for which in OpenAlgo's Zerodha mapping. A
# code came and went under several spellings over the years; all that are known stand here.
_NSE_INDICES = {
    "NIFTY50": "NIFTY",
    "NIFTYBANK": "BANKNIFTY",
    "NIFTYFINSERVICE": "FINNIFTY",
    "NIFTYNEXT50": "NIFTYNXT50",
    "NIFTYMIDSELECT": "MIDCPNIFTY",
    "NIFTYMIDCAPSELECT": "MIDCPNIFTY",
}
_BSE_INDICES = {
    **{name: name for name in ("SENSEX", "BANKEX", "SENSEX50")},
    "SNSX50": "SENSEX50",
    "SNXT50": "BSESENSEXNEXT50",
    "MID150": "BSE150MIDCAPINDEX",
    "LMI250": "BSE250LARGEMIDCAPINDEX",
    "MSL400": "BSE400MIDSMALLCAPINDEX",
    "BSECG": "BSECAPITALGOODS",
    "CG": "BSECAPITALGOODS",
    "CARBON": "BSECARBONEX",
    "BSECD": "BSECONSUMERDURABLES",
    "CD": "BSECONSUMERDURABLES",
    "DOL30": "BSEDOLLEX30",
    "DOL100": "BSEDOLLEX100",
    "DOL200": "BSEDOLLEX200",
    "BSEFMC": "BSEFASTMOVINGCONSUMERGOODS",
    "FMC": "BSEFASTMOVINGCONSUMERGOODS",
    "FIN": "BSEFINANCIALSERVICES",
    "FINSER": "BSEFINANCIALSERVICES",
    "GREENX": "BSEGREENEX",
    "BSEHC": "BSEHEALTHCARE",
    "HC": "BSEHEALTHCARE",
    "INFRA": "BSEINDIAINFRASTRUCTUREINDEX",
    "INDSTR": "BSEINDUSTRIALS",
    "BSEIT": "BSEINFORMATIONTECHNOLOGY",
    "IT": "BSEINFORMATIONTECHNOLOGY",
    "LRGCAP": "BSELARGECAP",
    "MIDSEL": "BSEMIDCAPSELECTINDEX",
    "OILGAS": "BSEOIL&GAS",
    "SMLCAP": "BSESMALLCAP",
    "SMLSEL": "BSESMALLCAPSELECTINDEX",
    "TELCOM": "BSETELECOM",
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
        symbol = _index(exchange, tradingsymbol.upper().replace(" ", "").replace("-", ""))
    elif kind in ("FUT", "CE", "PE"):
        tail = kind if kind == "FUT" else _strike(strike) + kind
        day, contract_codes = _expiry(expiry)
        symbol = f"{_base(name) or _underlying(tradingsymbol, contract_codes, tail)}{day}{tail}"
    else:
        symbol = tradingsymbol
    if not symbol or exchange not in EXCHANGES:
        raise ValueError(f"{exchange}:{symbol} is not an instrument")
    return Instrument(exchange, symbol)


def _index(exchange: str, code: str) -> str:
    if exchange == "NSE_INDEX":
        return _NSE_INDICES.get(code, code)
    if exchange == "BSE_INDEX" and code:
        return _BSE_INDICES.get(code) or (code if code.startswith("BSE") else f"BSE{code}")
    return code


@lru_cache(maxsize=4096)
def _expiry(text: str) -> tuple[str, tuple[str, str]]:
    """Return DDMMMYY and Kite's two codes for contracts of that day, monthly (25APR) and weekly (25424)."""
    expiry = date.fromisoformat(text)
    year, month = f"{expiry.year % 100:02d}", _MONTHS[expiry.month - 1]
    weekly = f"{year}{'123456789OND'[expiry.month - 1]}{expiry.day:02d}"
    return f"{expiry.day:02d}{month}{year}", (year + month, weekly)


@lru_cache(maxsize=4096)
def _base(name: str) -> str:
    return sys.intern(name.upper().replace(" ", ""))


def _strike(text: str) -> str:
    strike = float(text)
    if not 1e-6 <= strike < 1e9:  # also refuses nan and inf
        raise ValueError(f"strike {text}")
    return str(int(strike)) if strike.is_integer() else f"{strike:.6f}".rstrip("0")


def _underlying(tradingsymbol: str, contract_codes: Iterable[str], tail: str) -> str:
    # Older lists leave the name of a contract empty.
    for code in contract_codes:
        underlying = tradingsymbol.removesuffix(code + tail)
        if underlying not in ("", tradingsymbol):
            return underlying
    raise ValueError(f"{tradingsymbol} does not end with its expiry and {tail}")
