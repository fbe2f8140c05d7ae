"""How OpenAlgo names what the exchange lists: trading symbols, exchanges of indices, and rows of its list."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date
from typing import Any

from brokerpool.simulator.listed_instruments import Kind, Listing

# strftime("%b") would follow the locale.
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_SEGMENTS = {"NSE": 1, "NFO": 2, "CDS": 3}
_INDICES = 4
_INDEX_NAMES = {"NIFTY 50": "NIFTY", "NIFTY BANK": "BANKNIFTY", "NIFTY FIN SERVICE": "FINNIFTY"}


def token(exchange: str, kind: Kind, exchange_token: int) -> int:
    """Return a number of its own; it stands in the instrument list, and in no message of the feed."""
    return (exchange_token << 3) + (_INDICES if kind == "INDEX" else _SEGMENTS[exchange])


def contract(name: str, kind: Kind, expiry: date, strike: float) -> str:
    """Return the trading symbol of a contract, as in NIFTY24NOV26FUT and NIFTY24NOV2623400CE."""
    day = f"{expiry.day:02d}{_MONTHS[expiry.month - 1]}{expiry.year % 100:02d}"
    return f"{name}{day}FUT" if kind == "FUT" else f"{name}{day}{strike:.10g}{kind}"


def index(name: str) -> tuple[str, str]:
    """Return exchange and trading symbol of an index: it has an exchange of its own, and no blanks."""
    return "NSE_INDEX", _INDEX_NAMES.get(name, name.replace(" ", ""))


def recorded(token: int, exchange: str, tradingsymbol: str) -> Listing:
    """Return the row of an instrument of which a tape tells no more than this."""
    kind: Kind = "INDEX" if exchange.endswith("_INDEX") else "EQ"
    return Listing(token, exchange, tradingsymbol, tradingsymbol, token >> 3, price=10_000, kind=kind)


def expiry(listing: Listing) -> str:
    """Return the day on which a contract ends, as 24-NOV-26, and nothing for what does not end."""
    day = listing.expiry
    return f"{day.day:02d}-{_MONTHS[day.month - 1]}-{day.year % 100:02d}" if day else ""


def row(listing: Listing) -> dict[str, Any]:
    """Return an instrument as the list tells it."""
    return {
        "symbol": listing.tradingsymbol,
        "brsymbol": listing.tradingsymbol,
        "name": listing.name,
        "exchange": listing.exchange,
        "brexchange": listing.exchange.removesuffix("_INDEX"),
        "token": str(listing.token),
        "expiry": expiry(listing),
        "strike": listing.strike,
        "lotsize": listing.lot,
        "instrumenttype": "EQ" if listing.kind == "INDEX" else listing.kind,
        "tick_size": listing.tick / listing.unit,
    }


def instruments_csv(listings: Iterable[Listing]) -> bytes:
    """Return the rows as a file with a header line."""
    text = io.StringIO(newline="")
    rows = [row(listing) for listing in listings]
    writer = csv.DictWriter(text, rows[0].keys() if rows else (), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
