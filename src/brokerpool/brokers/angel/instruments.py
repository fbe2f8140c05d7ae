"""Angel's daily instrument list, read into a token book under OpenAlgo's names."""

from __future__ import annotations

import sys

from brokerpool.brokers.angel.segments import SEGMENTS, token
from brokerpool.brokers.angel.symbols import Row, named
from brokerpool.brokers.india_time import utc_seconds
from brokerpool.brokers.instrument_list_file import Entry, LoadedInstruments, fetch_list
from brokerpool.brokers.instrument_list_json import load_json
from brokerpool.egress import Egress
from brokerpool.instruments import Details, TokenBook

#: Where everybody gets the list, and its path (SmartAPI documentation, instruments; looked up 2026-11-29).
LIST_HOST = "https://margincalculator.angelone.in"
LIST_PATH = "/OpenAPI_File/files/OpenAPIScripMaster.json"

#: Seconds after midnight UTC: 08:45 in India, half an hour before the market opens; ours, Angel names none.
LIST_READY = utc_seconds(8, 45)

_PAISE = 100.0
#: What the wire has room for.
_LONGEST_TOKEN = 25


async def fetch_instruments(
    host: str = LIST_HOST, *, timeout: float = 30.0, egress: Egress | None = None
) -> TokenBook:
    """Return the book of today's list, which Angel gives to everybody, within `timeout` seconds.

    Raises BrokerError as `fetch_list` and `load_instruments` do.
    """
    url = f"{host.rstrip('/')}{LIST_PATH}"
    headers = {"User-Agent": "brokerpool"}
    return await fetch_list(url, load_instruments, headers=headers, timeout=timeout, egress=egress)


async def load_instruments(dump: bytes | bytearray) -> LoadedInstruments:
    """Return the instruments of the JSON file, gzipped or not; the loop has its turn every millisecond or so.

    A row that cannot be used is counted and left out, as is one whose name or token an earlier row has taken.
    Raises BrokerError when the file is cut off or has no usable row.
    """
    return await load_json(dump, Row, _entry)


def _entry(row: Row) -> Entry:
    instrument, segment, kind, expiry, strike = named(row)
    number = row.token
    if not number.isascii() or not number.isprintable() or not 0 < len(number) <= _LONGEST_TOKEN:
        raise ValueError(f"token {number}")
    details = Details(
        row.symbol,
        sys.intern(segment),
        sys.intern(row.name),
        sys.intern(kind),
        expiry,
        strike,
        int(row.lotsize or 0),
        float(row.tick_size or 0) / _PAISE,
        number,
    )
    return instrument, token(SEGMENTS[segment], number), details
