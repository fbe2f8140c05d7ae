"""How Upstox names what the exchange lists: instrument keys, trading symbols, and the JSON file of all."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, time
from typing import Any

import msgspec

from brokerpool.simulator.history import IST
from brokerpool.simulator.listed_instruments import Kind, Listing

_NUMBERS = {"NSE": 1, "NFO": 2, "CDS": 3}
_INDEX_NUMBER = 4
_SEGMENTS = {"NSE": "NSE_EQ", "NFO": "NSE_FO", "CDS": "NCD_FO"}
# strftime("%b") would follow the locale.
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
#: Key and trading symbol of an index, as the broker's file has them.
_INDICES = {
    "NIFTY 50": ("Nifty 50", "NIFTY"),
    "NIFTY BANK": ("Nifty Bank", "BANKNIFTY"),
    "INDIA VIX": ("India VIX", "INDIA VIX"),
    "NIFTY FIN SERVICE": ("Nifty Fin Service", "FINNIFTY"),
    "NIFTY MIDCAP 100": ("NIFTY MIDCAP 100", "NIFTY MIDCAP 100"),
}
#: Contracts end with the day.
_LAST_SECOND = time(23, 59, 59)


def token(exchange: str, kind: Kind, exchange_token: int) -> int:
    """Return a number of its own for the market; the wire carries the `key`."""
    return (exchange_token << 3) + (_INDEX_NUMBER if kind == "INDEX" else _NUMBERS[exchange])


def contract(name: str, kind: Kind, expiry: date, strike: float) -> str:
    """Return the trading symbol of a contract, as in NIFTY FUT 24 NOV 26 and NIFTY 23400 CE 24 NOV 26."""
    day = f"{expiry.day:02d} {_MONTHS[expiry.month - 1]} {expiry.year % 100:02d}"
    return f"{name} FUT {day}" if kind == "FUT" else f"{name} {strike:.10g} {kind} {day}"


def index(name: str) -> tuple[str, str]:
    """Return exchange and trading symbol of an index."""
    return "NSE", _INDICES.get(name, (name, name))[1]


def recorded(token: int, exchange: str, tradingsymbol: str) -> Listing:
    """Return the row of an instrument of which a tape tells no more than this."""
    kind: Kind = "INDEX" if token & 7 == _INDEX_NUMBER else "EQ"
    return Listing(token, exchange, tradingsymbol, tradingsymbol, token >> 3, price=10_000, kind=kind)


def segment(listing: Listing) -> str:
    """Return the broker's name of where it is traded."""
    if listing.kind == "INDEX":
        return f"{listing.exchange}_INDEX"
    return _SEGMENTS.get(listing.exchange, listing.exchange)


def isin(listing: Listing) -> str:
    """Return the number by which a share goes all over the world; made up."""
    return f"INE{listing.exchange_token:06d}018"


def key(listing: Listing) -> str:
    """Return what the wire and the HTTP API call an instrument."""
    if listing.kind == "EQ":
        return f"{segment(listing)}|{isin(listing)}"
    if listing.kind == "INDEX":
        return f"{segment(listing)}|{_INDICES.get(listing.name, (listing.name,))[0]}"
    return f"{segment(listing)}|{listing.exchange_token}"


def instruments_json(rows: Iterable[Listing]) -> bytes:
    """Return the rows as the broker's instrument file: an array of objects, none of which has all members."""
    return msgspec.json.encode([_row(row) for row in rows])


def _row(row: Listing) -> dict[str, Any]:
    told: dict[str, Any] = {
        "segment": segment(row),
        "name": row.name,
        "exchange": row.exchange if row.exchange != "NFO" else "NSE",
        "instrument_type": row.kind,
        "instrument_key": key(row),
        "exchange_token": str(row.exchange_token),
        "trading_symbol": row.tradingsymbol,
    }
    if row.kind == "INDEX":
        return told
    told |= {
        "lot_size": row.lot,
        "freeze_quantity": 100_000.0,
        "tick_size": row.tick / row.unit * 100,
        "qty_multiplier": 1.0,
    }
    if row.expiry is None:
        return {**told, "isin": isin(row), "short_name": row.tradingsymbol, "security_type": "NORMAL"}
    return {
        **told,
        "weekly": False,
        "expiry": int(datetime.combine(row.expiry, _LAST_SECOND, IST).timestamp() * 1000),
        "asset_symbol": row.name,
        "underlying_symbol": row.name,
        "strike_price": row.strike,
        "minimum_lot": row.lot,
    }
