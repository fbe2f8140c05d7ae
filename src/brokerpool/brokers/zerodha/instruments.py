"""Kite's daily instrument list, read into a token book under OpenAlgo's names."""

from __future__ import annotations

import sys

from brokerpool.brokers.india_time import utc_seconds
from brokerpool.brokers.instrument_list_file import Entry, LoadedInstruments, fetch_list, load_csv
from brokerpool.brokers.zerodha.rest import HEADERS
from brokerpool.brokers.zerodha.symbols import openalgo_instrument
from brokerpool.egress import Egress
from brokerpool.instruments import Details, TokenBook

#: Seconds after midnight UTC: 08:45 in India. Kite makes the list once a day, at about 08:30 (users on its
#: forum, looked up on 2026-11-28), and the market opens at 09:15.
LIST_READY = utc_seconds(8, 45)

_COLUMNS = (
    "instrument_token",
    "tradingsymbol",
    "name",
    "expiry",
    "strike",
    "instrument_type",
    "segment",
    "exchange",
    "tick_size",
    "lot_size",
)


async def fetch_instruments(
    http_url: str = "https://api.kite.trade", *, timeout: float = 30.0, egress: Egress | None = None
) -> TokenBook:
    """Return the book of today's `/instruments`, which Kite gives to everybody, within `timeout` seconds.

    The call leaves as the `egress` says, else as the environment does.
    Raises BrokerError: BROKER_REFUSED_CREDENTIALS for an answer of 401 or 403, BROKER_UNREACHABLE for
    everything else that leaves no list, PROXY_REFUSED when a proxy did not let the call out; its
    `retry_after` is what a Retry-After asks for.
    """
    url = f"{http_url.rstrip('/')}/instruments"
    return await fetch_list(url, load_instruments, headers=HEADERS, timeout=timeout, egress=egress)


async def load_instruments(dump: bytes | bytearray) -> LoadedInstruments:
    """Return the instruments of a CSV file, gzipped or not; the loop has its turn every millisecond or so.

    A row that cannot be used is counted and left out, as is one whose name or token an earlier row has taken.
    Raises BrokerError when the file is cut off, lacks a column or has no usable row.
    """
    return await load_csv(dump, _COLUMNS, _entry)


def _entry(row: tuple[str, ...]) -> Entry:
    token, *names, tick_size, lot_size = row
    return openalgo_instrument(*names), _token(token), _details(names, tick_size, lot_size)


def _details(names: list[str], tick_size: str, lot_size: str) -> Details:
    tradingsymbol, name, expiry, strike, kind, segment, exchange = names
    return Details(
        tradingsymbol,
        sys.intern(exchange),
        sys.intern(name),
        "INDEX" if segment == "INDICES" else sys.intern(kind),
        sys.intern(expiry),
        float(strike or 0),
        int(lot_size or 0),
        float(tick_size or 0),
    )


def _token(text: str) -> int:
    token = int(text)
    if not 0 < token < 2**32:
        raise ValueError(f"token {text}")
    return token
