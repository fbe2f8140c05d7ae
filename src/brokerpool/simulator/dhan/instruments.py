"""How Dhan names what the exchange lists: security ids, trading symbols, and the CSV file of all of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import date

from brokerpool.simulator.listed_instruments import Kind, Listing

IDX_I, NSE_EQ, NSE_FNO, NSE_CURRENCY = 0, 1, 2, 3
#: The names of segments in requests.
SEGMENTS = {
    "IDX_I": IDX_I,
    "NSE_EQ": NSE_EQ,
    "NSE_FNO": NSE_FNO,
    "NSE_CURRENCY": NSE_CURRENCY,
    "BSE_EQ": 4,
    "MCX_COMM": 5,
    "BSE_CURRENCY": 7,
    "BSE_FNO": 8,
}

_EXCHANGES = {"NSE": NSE_EQ, "NFO": NSE_FNO, "CDS": NSE_CURRENCY}
_CURRENCY_UNIT = 10_000_000
_INDICES = {"NIFTY 50": "NIFTY", "NIFTY BANK": "BANKNIFTY", "NIFTY FIN SERVICE": "FINNIFTY"}
# strftime("%b") would follow the locale.
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LETTERS = {IDX_I: "I", NSE_EQ: "E", NSE_FNO: "D", NSE_CURRENCY: "C"}

COLUMNS = (
    "SEM_EXM_EXCH_ID",
    "SEM_SEGMENT",
    "SEM_SMST_SECURITY_ID",
    "SEM_INSTRUMENT_NAME",
    "SEM_EXPIRY_CODE",
    "SEM_TRADING_SYMBOL",
    "SEM_LOT_UNITS",
    "SEM_CUSTOM_SYMBOL",
    "SEM_EXPIRY_DATE",
    "SEM_STRIKE_PRICE",
    "SEM_OPTION_TYPE",
    "SEM_TICK_SIZE",
    "SEM_EXPIRY_FLAG",
    "SEM_EXCH_INSTRUMENT_TYPE",
    "SEM_SERIES",
    "SM_SYMBOL_NAME",
)


def token(exchange: str, kind: Kind, exchange_token: int) -> int:
    """Return the security id with the segment in the low byte."""
    return exchange_token << 8 | (IDX_I if kind == "INDEX" else _EXCHANGES[exchange])


def contract(name: str, kind: Kind, expiry: date, strike: float) -> str:
    """Return the trading symbol of a monthly contract, as in NIFTY-Nov2026-FUT and NIFTY-Nov2026-23400-CE."""
    month = f"{_MONTHS[expiry.month - 1]}{expiry.year}"
    return f"{name}-{month}-FUT" if kind == "FUT" else f"{name}-{month}-{strike:.10g}-{kind}"


def index(name: str) -> tuple[str, str]:
    """Return exchange and trading symbol of an index."""
    return "NSE", _INDICES.get(name, name)


def recorded(token: int, exchange: str, tradingsymbol: str) -> Listing:
    """Return the row of an instrument of which a tape tells no more than this."""
    unit = _CURRENCY_UNIT if token & 0xFF in (NSE_CURRENCY, SEGMENTS["BSE_CURRENCY"]) else 100
    kind: Kind = "INDEX" if token & 0xFF == IDX_I else "EQ"
    return Listing(
        token, exchange, tradingsymbol, tradingsymbol, token >> 8, price=100 * unit, kind=kind, unit=unit
    )


def instrument_name(row: Listing) -> str:
    """Return what candles are asked for by: EQUITY, FUTIDX and so on."""
    match row.kind:
        case "EQ":
            return "EQUITY"
        case "INDEX":
            return "INDEX"
    side = "FUT" if row.kind == "FUT" else "OPT"
    return side + ("CUR" if row.token & 0xFF == NSE_CURRENCY else "IDX")


def instruments_csv(rows: Iterable[Listing]) -> bytes:
    """Return the rows as the broker's compact list: CSV with a header line, prices of steps in paise."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        option = row.kind in ("CE", "PE")
        writer.writerow(
            (
                "NSE",
                _LETTERS[row.token & 0xFF],
                row.exchange_token,
                instrument_name(row),
                0,
                row.tradingsymbol,
                f"{max(1, row.lot)}.0",
                row.name.title(),
                f"{row.expiry.isoformat()} 14:30:00" if row.expiry else "",
                f"{row.strike:.5f}" if option else "-0.01000" if row.expiry else "",
                row.kind if option else "XX",
                f"{row.tick * 100 / row.unit:.4f}",
                "M" if row.expiry else "NA",
                "OP" if option else "FUT" if row.expiry else "ES",
                "EQ" if row.kind == "EQ" else "NA",
                "" if row.expiry else row.name,
            )
        )
    return text.getvalue().encode()
