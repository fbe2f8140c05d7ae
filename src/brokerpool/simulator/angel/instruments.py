"""How Angel names what the exchange lists: tokens, trading symbols, and the JSON file of all of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

import msgspec

from brokerpool.simulator.listed_instruments import Kind, Listing

NSE, NFO, BSE, BFO, MCX, NCDEX, CDS = 1, 2, 3, 4, 5, 7, 13
SEGMENTS = {"NSE": NSE, "NFO": NFO, "BSE": BSE, "BFO": BFO, "MCX": MCX, "NCDEX": NCDEX, "CDS": CDS}
_NAMES = {number: name for name, number in SEGMENTS.items()}

#: Where the numbers of NSE's indices begin; those that the exchange gives begin with the other.
_FIRST_INDEX, _EXCHANGES_FIRST_INDEX = 99_926_000, 1_001
#: Wire units of a strike in a rupee.
_STRIKE_UNITS = {"CDS": 10_000_000}
_PAISE = 100
# strftime("%b") would follow the locale.
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_INDEX_TYPE = "AMXIDX"


def token(exchange: str, kind: Kind, exchange_token: int) -> int:
    """Return the instrument token: Angel's number, and the segment in the low half of a byte."""
    index = kind == "INDEX"
    number = _FIRST_INDEX + exchange_token - _EXCHANGES_FIRST_INDEX if index else exchange_token
    return joined(SEGMENTS[exchange], str(number)) or 0


def joined(segment: int, number: str) -> int | None:
    """Return the token of a segment and a number as the wire has them, None for what cannot be one."""
    if not (number.isascii() and number.isdigit() and len(number) <= 9 and 0 < segment < 16):
        return None
    return int(number) << 4 | segment


def parts(token: int) -> tuple[int, str]:
    """Return segment and number of a token."""
    return token & 15, str(token >> 4)


def exchange(token: int) -> str:
    """Return the name of a token's segment, as the HTTP API has it."""
    return _NAMES[token & 15]


def contract(name: str, kind: Kind, expiry: date, strike: float) -> str:
    """Return the trading symbol of a contract, as in NIFTY29SEP26FUT and NIFTY29SEP2623400CE."""
    day = f"{expiry.day:02d}{_MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
    return f"{name}{day}FUT" if kind == "FUT" else f"{name}{day}{strike:.10g}{kind}"


def index(name: str) -> tuple[str, str]:
    """Return exchange and trading symbol of an index."""
    return "NSE", name


def recorded(token: int, exchange: str, tradingsymbol: str) -> Listing:
    """Return the row of an instrument of which a tape tells no more than this."""
    unit = 10_000_000 if token & 15 == CDS else _PAISE
    number = token >> 4
    kind: Kind = "INDEX" if number >= _FIRST_INDEX else "EQ"
    return Listing(
        token, exchange, tradingsymbol, tradingsymbol, number, price=100 * unit, kind=kind, unit=unit
    )


def symbol(row: Listing) -> str:
    """Return how Angel writes a symbol: NSE's ordinary shares end with -EQ."""
    return f"{row.tradingsymbol}-EQ" if row.kind == "EQ" and row.exchange == "NSE" else row.tradingsymbol


def instruments_json(rows: Iterable[Listing]) -> bytes:
    """Return the rows as the broker's instrument file: one JSON array, all values texts."""
    return msgspec.json.encode([_row(row) for row in rows])


def _row(row: Listing) -> dict[str, str]:
    strike = row.strike * _STRIKE_UNITS.get(row.exchange, _PAISE) if row.kind in ("CE", "PE") else -1
    expiry = row.expiry
    return {
        "token": parts(row.token)[1],
        "symbol": symbol(row),
        "name": row.name if row.kind != "EQ" else row.tradingsymbol,
        "expiry": f"{expiry.day:02d}{_MONTHS[expiry.month - 1]}{expiry.year}" if expiry else "",
        "strike": f"{strike:.6f}",
        "lotsize": str(row.lot),
        "instrumenttype": _type(row),
        "exch_seg": row.exchange,
        "tick_size": f"{row.tick / row.unit * _PAISE:.6f}",
    }


def _type(row: Listing) -> str:
    match row.kind:
        case "EQ":
            return ""
        case "INDEX":
            return _INDEX_TYPE
        case "FUT":
            return "FUTCUR" if row.exchange == "CDS" else "FUTIDX"
    return "OPTCUR" if row.exchange == "CDS" else "OPTIDX"
