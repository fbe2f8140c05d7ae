"""Upstox's daily instrument list, read into a token book under OpenAlgo's names."""

from __future__ import annotations

import sys
from functools import lru_cache

from brokerpool.brokers.india_time import utc_seconds
from brokerpool.brokers.instrument_list_file import Entry, LoadedInstruments, fetch_list
from brokerpool.brokers.instrument_list_json import load_json
from brokerpool.brokers.upstox.symbols import Row, expiry, openalgo_instrument
from brokerpool.egress import Egress
from brokerpool.instruments import Details, TokenBook

#: Where everybody gets the list, and its path (Upstox documentation, instruments; looked up 2026-11-22).
LIST_HOST = "https://assets.upstox.com"
LIST_PATH = "/market-quote/instruments/exchange/complete.json.gz"

#: Seconds after midnight UTC: 08:45 in India. Upstox makes the list at about 06:00, and the market opens at
#: 09:15; ours, and the same as at other brokers.
LIST_READY = utc_seconds(8, 45)

_PAISE = 100.0
_LONGEST_KEY = 100


async def fetch_instruments(
    host: str = LIST_HOST, *, timeout: float = 30.0, egress: Egress | None = None
) -> TokenBook:
    """Return the book of today's list, which Upstox gives to everybody, within `timeout` seconds.

    Raises BrokerError as `fetch_list` and `load_instruments` do.
    """
    url = f"{host.rstrip('/')}{LIST_PATH}"
    headers = {"User-Agent": "brokerpool"}
    return await fetch_list(url, load_instruments, headers=headers, timeout=timeout, egress=egress)


async def load_instruments(dump: bytes | bytearray) -> LoadedInstruments:
    """Return the instruments of the JSON file, gzipped or not; the loop has its turn every millisecond or so.

    A row that cannot be used is counted and left out, as is one whose name or key an earlier row has taken.
    Raises BrokerError when the file is cut off or has no usable row.
    """
    return await load_json(dump, Row, _entry)


def _entry(row: Row) -> Entry:
    instrument, key = openalgo_instrument(row), row.instrument_key
    if not key.isascii() or not key.isprintable() or "," in key or not 0 < len(key) <= _LONGEST_KEY:
        raise ValueError(f"key {key}")
    details = Details(
        row.trading_symbol,
        sys.intern(row.segment),
        sys.intern(row.name),
        "INDEX" if row.is_index else sys.intern(row.instrument_type),
        _day(row.expiry) if row.is_contract else "",
        row.strike_price or 0.0,
        int(row.lot_size or 0),
        (row.tick_size or 0.0) / _PAISE,
        row.exchange_token,
    )
    return instrument, key, details


@lru_cache(maxsize=4096)
def _day(told: int | str | None) -> str:
    return expiry(told).isoformat()
