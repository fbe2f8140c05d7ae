"""OpenAlgo's spelling (docs.openalgo.in, symbol format), into which every broker's list is brought; pure."""

from __future__ import annotations

import sys
from datetime import date
from functools import lru_cache

from brokerpool.instruments import EXCHANGES, Instrument

MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

# Where OpenAlgo's name is more than the broker's without blanks and hyphens. Looked up on 2026-11-28: the
# names on docs.openalgo.in/symbol-format, and which of a broker's codes stands for which in OpenAlgo's
# mappings. A code came and went under several spellings over the years; all that are known stand here.
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


def instrument(exchange: str, symbol: str) -> Instrument:
    """Return the instrument of a name. Raises ValueError for one without a symbol or of no exchange."""
    if not symbol or exchange not in EXCHANGES:
        raise ValueError(f"{exchange}:{symbol} is not an instrument")
    return Instrument(exchange, symbol)


def contract(underlying: str, expiry: date, kind: str, price: str = "") -> str:
    """Return the symbol of a contract, as in NIFTY24APR25FUT and NIFTY24APR2524500CE.

    Its kind is FUT, CE or PE, and an option has a strike `price` in rupees. Raises ValueError for no strike.
    """
    return f"{underlying}{day(expiry)}{kind if kind == 'FUT' else strike(price) + kind}"


@lru_cache(maxsize=4096)
def day(expiry: date) -> str:
    """Return an expiry as DDMMMYY."""
    return f"{expiry.day:02d}{MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"


@lru_cache(maxsize=65_536)
def strike(text: str) -> str:
    """Return a strike in rupees without needless zeros. Raises ValueError for none."""
    price = float(text)
    if not 1e-6 <= price < 1e9:  # also refuses nan and inf
        raise ValueError(f"strike {text}")
    return sys.intern(str(int(price)) if price.is_integer() else f"{price:.6f}".rstrip("0"))


@lru_cache(maxsize=4096)
def underlying(name: str) -> str:
    """Return the name of an underlying as it begins a contract's symbol."""
    return sys.intern(name.upper().replace(" ", ""))


def index(exchange: str, name: str) -> str:
    """Return the symbol of an index under its exchange of OpenAlgo's, NSE_INDEX for instance.

    Blanks and hyphens go; BSE's codes become long names, each with BSE in front.
    """
    code = name.upper().replace(" ", "").replace("-", "")
    if exchange == "NSE_INDEX":
        return _NSE_INDICES.get(code, code)
    if exchange == "BSE_INDEX" and code:
        return _BSE_INDICES.get(code) or (code if code.startswith("BSE") else f"BSE{code}")
    return code
