"""Dhan's daily list of securities, read into a token book under OpenAlgo's names."""

from __future__ import annotations

import sys
from datetime import date
from functools import lru_cache
from typing import Final

from brokerpool.brokers import symbol_spelling
from brokerpool.brokers.dhan.segments import SEGMENTS, token
from brokerpool.brokers.india_time import utc_seconds
from brokerpool.brokers.instrument_list_file import Entry, LoadedInstruments, fetch_list, load_csv
from brokerpool.egress import Egress
from brokerpool.instruments import Details, Instrument, TokenBook

#: DhanHQ v2 documentation, instrument list (looked up 2026-11-29): the compact one, given to everybody.
LIST_URL: Final = "https://images.dhan.co/api-data/api-scrip-master.csv"

#: Seconds after midnight UTC: 08:45 in India, half an hour before the market opens. The broker does not say
#: when it makes the list of a day; ours.
LIST_READY = utc_seconds(8, 45)

_COLUMNS = (
    "SEM_EXM_EXCH_ID",
    "SEM_SEGMENT",
    "SEM_SMST_SECURITY_ID",
    "SEM_INSTRUMENT_NAME",
    "SEM_TRADING_SYMBOL",
    "SEM_LOT_UNITS",
    "SEM_EXPIRY_DATE",
    "SEM_STRIKE_PRICE",
    "SEM_OPTION_TYPE",
    "SEM_TICK_SIZE",
    "SM_SYMBOL_NAME",
)

#: Exchange and segment of the list -> the number of the segment and OpenAlgo's exchange. Currencies of both
#: exchanges are C. NSE's commodities have no segment to ask for.
_PLACES = {
    ("NSE", "I"): (0, "NSE_INDEX"),
    ("BSE", "I"): (0, "BSE_INDEX"),
    ("MCX", "I"): (0, "MCX_INDEX"),
    ("NSE", "E"): (1, "NSE"),
    ("NSE", "D"): (2, "NFO"),
    ("NSE", "C"): (3, "CDS"),
    ("BSE", "E"): (4, "BSE"),
    ("MCX", "M"): (5, "MCX"),
    ("MCX", "D"): (5, "MCX"),
    ("BSE", "C"): (7, "BCD"),
    ("BSE", "D"): (8, "BFO"),
}

# Where Dhan has a short name of its own for an index. Looked up on 2026-11-29: OpenAlgo's Dhan mapping.
_INDEX_NAMES = {
    "NIFTYMCAP50": "NIFTYMIDCAP50",
    "NIFTYMID100FREE": "NIFTYMIDCAP100",
    "NIFTYMIDSMALLCAP400": "NIFTYMIDSML400",
    "NIFTYSMALLCAP50": "NIFTYSMLCAP50",
    "NIFTYSMALLCAP100": "NIFTYSMLCAP100",
    "NIFTYSMALLCAP250": "NIFTYSMLCAP250",
    "NIFTY100EQUALWEIGHT": "NIFTY100EQLWGT",
    "NIFTY100LOWVOLATILITY30": "NIFTY100LOWVOL30",
}

#: Futures are called UNDERLYING-Nov2026-FUT, options UNDERLYING-Nov2026-24500-CE; MCX has the day as well.
_FUTURE_PARTS, _OPTION_PARTS = 2, 3
_TICK_UNITS = 100


class DhanDetails(Details, frozen=True, gc=False):
    """A row of Dhan's list, with what its candles are asked for by."""

    #: INDEX, EQUITY, FUTIDX, OPTSTK and so on.
    instrument: str = ""


async def fetch_instruments(
    url: str = LIST_URL, *, timeout: float = 60.0, egress: Egress | None = None
) -> TokenBook:
    """Return the book of today's list, which Dhan gives to everybody, within `timeout` seconds.

    The call leaves as the `egress` says, else as the environment does. Raises BrokerError as `download` does,
    and BROKER_UNREACHABLE for a list that cannot be read.
    """
    return await fetch_list(url, load_instruments, headers={}, timeout=timeout, egress=egress)


async def load_instruments(dump: bytes | bytearray) -> LoadedInstruments:
    """Return the instruments of a CSV file, gzipped or not; the loop has its turn every millisecond or so.

    A row that cannot be used is counted and left out, as is one whose name or token an earlier row has taken.
    Raises BrokerError when the file is cut off, lacks a column or has no usable row.
    """
    return await load_csv(dump, _COLUMNS, _entry)


def _entry(row: tuple[str, ...]) -> Entry:
    exchange, segment, number, kind, symbol, lot, expiry, strike, option, tick, name = row
    place = _PLACES.get((exchange, segment))
    if place is None:
        raise ValueError(f"{exchange} {segment} is no segment that can be asked for")
    segment_number, code = place
    security = int(number)
    if not 0 < security < 2**32:
        raise ValueError(f"security id {number}")
    if segment_number == 0:
        instrument = _index(code, symbol)
        details = _details(symbol, segment_number, name or symbol, "INDEX", "", "", lot, tick, number, kind)
    elif kind[:3] in ("FUT", "OPT"):
        side = option if kind[0] == "O" else "FUT"
        ends = _day(expiry)
        base = _underlying(symbol, side)
        instrument = symbol_spelling.instrument(code, symbol_spelling.contract(base, ends, side, strike))
        price = strike if side != "FUT" else ""
        details = _details(
            symbol, segment_number, base, side, ends.isoformat(), price, lot, tick, number, kind
        )
    else:
        instrument = symbol_spelling.instrument(code, symbol)
        details = _details(symbol, segment_number, name, "EQ", "", "", lot, tick, number, kind)
    return instrument, token(segment_number, security), details


def _index(exchange: str, symbol: str) -> Instrument:
    name = symbol_spelling.index(exchange, symbol)
    return symbol_spelling.instrument(exchange, _INDEX_NAMES.get(name, name))


def _details(
    symbol: str,
    segment: int,
    name: str,
    kind: str,
    expiry: str,
    strike: str,
    lot: str,
    tick: str,
    number: str,
    instrument: str,
) -> DhanDetails:
    return DhanDetails(
        symbol,
        SEGMENTS[segment],
        sys.intern(name),
        kind,
        sys.intern(expiry),
        float(strike or 0),
        int(float(lot or 0)),
        float(tick or 0) / _TICK_UNITS,  # the list has paise
        number,
        sys.intern(instrument),
    )


@lru_cache(maxsize=4096)
def _day(text: str) -> date:
    """Return the day of "2026-11-24 14:30:00"."""
    return date.fromisoformat(text[:10])


def _underlying(symbol: str, side: str) -> str:
    """Return the underlying of a contract: what stands before its month, for BAJAJ-AUTO with its hyphen."""
    if side not in ("FUT", "CE", "PE"):
        raise ValueError(f"{symbol} is {side!r}")
    parts = _FUTURE_PARTS if side == "FUT" else _OPTION_PARTS
    base = symbol.rsplit("-", parts)[0]
    if base in ("", symbol):
        raise ValueError(f"{symbol} does not end with its month and {side}")
    return symbol_spelling.underlying(base)
