"""How Kite names what the exchange lists: tokens, trading symbols, and the CSV file of all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date

from brokerpool.simulator.listed_instruments import Kind, Listing

NSE, NFO, CDS, BCD, INDICES, NCO = 1, 2, 3, 6, 9, 12

_SEGMENTS = {"NSE": NSE, "NFO": NFO, "CDS": CDS}
#: Wire units per rupee by segment; the python SDK 5.2.2 is the source, every other segment has 100.
_DIVISORS = {CDS: 10_000_000, BCD: 10_000, NCO: 10_000}
# strftime("%b") would follow the locale.
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

COLUMNS = (
    "instrument_token",
    "exchange_token",
    "tradingsymbol",
    "name",
    "last_price",
    "expiry",
    "strike",
    "tick_size",
    "lot_size",
    "instrument_type",
    "segment",
    "exchange",
)


def divisor(token: int) -> int:
    """Return how many wire units make one rupee for an instrument token; its low byte is the segment."""
    return _DIVISORS.get(token & 0xFF, 100)


def token(exchange: str, kind: Kind, exchange_token: int) -> int:
    """Return the instrument token: the exchange's own number, and the segment in the low byte."""
    return (exchange_token << 8) + (INDICES if kind == "INDEX" else _SEGMENTS[exchange])


def contract(name: str, kind: Kind, expiry: date, strike: float) -> str:
    """Return the trading symbol of a monthly contract, as in NIFTY26NOVFUT and NIFTY26NOV23400CE."""
    month = f"{expiry.year % 100:02d}{_MONTHS[expiry.month - 1]}"
    return f"{name}{month}FUT" if kind == "FUT" else f"{name}{month}{strike:.10g}{kind}"


def index(name: str) -> tuple[str, str]:
    """Return exchange and trading symbol of an index."""
    return "NSE", name


def recorded(token: int, exchange: str, tradingsymbol: str) -> Listing:
    """Return the row of an instrument of which a tape tells no more than this."""
    unit = divisor(token)
    kind: Kind = "INDEX" if token & 0xFF == INDICES else "EQ"
    return Listing(
        token, exchange, tradingsymbol, tradingsymbol, token >> 8, price=100 * unit, kind=kind, unit=unit
    )


def instruments_csv(rows: Iterable[Listing]) -> bytes:
    """Return the rows as the broker's instrument file: CSV with a header line."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(
            (
                row.token,
                row.exchange_token,
                row.tradingsymbol,
                row.name,
                0.0,
                row.expiry.isoformat() if row.expiry else "",
                row.strike,
                row.tick / row.unit,
                row.lot,
                "EQ" if row.kind == "INDEX" else row.kind,
                _segment(row),
                row.exchange,
            )
        )
    return text.getvalue().encode()


def _segment(row: Listing) -> str:
    match row.kind:
        case "EQ":
            return row.exchange
        case "INDEX":
            return "INDICES"
        case "FUT":
            return f"{row.exchange}-FUT"
    return f"{row.exchange}-OPT"
