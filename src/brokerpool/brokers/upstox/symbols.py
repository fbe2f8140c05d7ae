"""What OpenAlgo's clients call what Upstox lists; pure."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache

import msgspec

from brokerpool.brokers import symbol_spelling
from brokerpool.brokers.india_time import INDIA
from brokerpool.instruments import Instrument

#: Upstox's segments (instruments documentation; looked up 2026-11-22) -> OpenAlgo's exchanges.
EXCHANGES = {
    "NSE_EQ": "NSE",
    "BSE_EQ": "BSE",
    "NSE_FO": "NFO",
    "BSE_FO": "BFO",
    "NCD_FO": "CDS",
    "BCD_FO": "BCD",
    "MCX_FO": "MCX",
    "NSE_COM": "NCO",
    "NSE_INDEX": "NSE_INDEX",
    "BSE_INDEX": "BSE_INDEX",
    "MCX_INDEX": "MCX_INDEX",
    "GLOBAL_INDEX": "GLOBAL_INDEX",
}

_CONTRACTS = ("FUT", "CE", "PE")


class Row(msgspec.Struct, gc=False):
    """One row of the list; equities, indices and contracts leave different members out."""

    segment: str
    instrument_key: str
    trading_symbol: str = ""
    name: str = ""
    instrument_type: str = ""
    #: Epoch milliseconds on the day, or the day as 2026-12-29.
    expiry: int | str | None = None
    #: In rupees.
    strike_price: float | None = None
    lot_size: float | None = None
    #: In paise.
    tick_size: float | None = None
    exchange_token: str = ""
    asset_symbol: str = ""
    underlying_symbol: str = ""

    @property
    def is_contract(self) -> bool:
        """Whether it is a future or an option."""
        return self.instrument_type in _CONTRACTS

    @property
    def is_index(self) -> bool:
        """Whether it is an index."""
        return self.segment.endswith("_INDEX")


def openalgo_instrument(row: Row) -> Instrument:
    """Return what OpenAlgo's clients call the instrument of one row.

    Equities keep their trading symbol. Indices lose blanks and hyphens and have OpenAlgo's names where those
    differ. Contracts become NAME + DDMMMYY + FUT or strike and CE or PE. Raises ValueError for a row that
    names nothing of this kind.
    """
    exchange = EXCHANGES.get(row.segment, row.segment)
    if row.is_index:
        # The key has the exchange's own name of it, and the trading symbol one for people.
        symbol = symbol_spelling.index(exchange, row.instrument_key.partition("|")[2])
    elif row.is_contract:
        base = symbol_spelling.underlying(row.underlying_symbol or row.asset_symbol or row.name)
        if not base:
            raise ValueError(f"{row.instrument_key} has no underlying")
        symbol = symbol_spelling.contract(
            base, expiry(row.expiry), row.instrument_type, str(row.strike_price or 0)
        )
    else:
        symbol = row.trading_symbol
    return symbol_spelling.instrument(exchange, symbol)


@lru_cache(maxsize=4096)
def expiry(told: int | str | None) -> date:
    """Return the day in India on which a contract ends. Raises ValueError for none."""
    if isinstance(told, str):
        return date.fromisoformat(told)
    try:
        return datetime.fromtimestamp((told or 0) / 1000, UTC).astimezone(INDIA).date()
    except (OverflowError, OSError) as error:
        raise ValueError(f"expiry {told}") from error
