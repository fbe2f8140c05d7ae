"""OpenAlgo's instrument list, where the server has one, read without holding up the loop."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from brokerpool.brokers.http_call import call
from brokerpool.brokers.openalgo.rest import HEADERS, PREFIX, fault
from brokerpool.brokers.openalgo.symbols import OpenAlgoBook
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import EXCHANGES, Details, Instrument

logger = logging.getLogger("brokerpool.brokers.openalgo")

#: A list of 120,000 rows has about 30 MB; one that never ends must not fill the memory.
MOST_BYTES = 128 * 1024 * 1024
#: About 60 rows or half a millisecond: what is read before the event loop has its turn again.
_SLICE_BYTES = 16 * 1024

_DATA = re.compile(rb'"data"\s*:\s*\[')
_BETWEEN_ROWS = re.compile(rb"\}\s*,\s*\{")
#: Servers without the endpoint, and those on which it does not take a GET.
_NO_LIST = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


class _Row(msgspec.Struct, gc=False):
    symbol: str
    exchange: str
    brsymbol: str | None = None
    brexchange: str | None = None
    name: str | None = None
    expiry: str | None = None
    strike: float | None = None
    lotsize: float | None = None
    instrumenttype: str | None = None
    tick_size: float | None = None
    token: str | int | None = None


_rows = msgspec.json.Decoder(list[_Row], strict=False).decode
_row = msgspec.json.Decoder(_Row, strict=False).decode
_raw_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


class LoadedInstruments(NamedTuple):
    """A book and how many rows of the list had no place in it."""

    book: OpenAlgoBook
    skipped: int


async def fetch_instruments(
    http_url: str, api_key: str, *, timeout: float = 60.0, egress: Egress | None = None
) -> OpenAlgoBook:
    """Return the book of the server's `instruments`, within `timeout` seconds; one that takes every name
    where the server has no list.

    Raises BrokerError: BROKER_REFUSED_CREDENTIALS for a wrong key, BROKER_UNREACHABLE, PROXY_REFUSED.
    """
    host = urlsplit(http_url).hostname
    asked = {"apikey": api_key, "format": "json"}
    answer = await call(
        "GET",
        f"{http_url.rstrip('/')}{PREFIX}/instruments",
        headers=HEADERS,
        egress=egress or Egress(),
        timeout=timeout,
        most=MOST_BYTES,
        params=asked,
    )
    if answer.status in _NO_LIST:
        logger.info("%s has no instrument list (HTTP %d): every name is taken", host, answer.status)
        return OpenAlgoBook()
    complaint = fault(answer)
    if complaint is not None:
        raise complaint
    book, skipped = await load_instruments(answer.body)
    if not len(book):
        logger.info("%s has an empty instrument list: every name is taken", host)
    if skipped:
        logger.warning("%s: %d instruments; %d rows of the list could not be used", host, len(book), skipped)
    return book


async def load_instruments(body: bytes) -> LoadedInstruments:
    """Return the instruments of an answer; the loop has its turn every millisecond or so.

    A row that cannot be used is counted and left out. Raises BrokerError for what is no list, or cut off.
    """
    begin, end = _DATA.search(body), body.rfind(b"]")
    if begin is None or end < begin.end() or not body.rstrip().endswith(b"}"):
        text = f"OpenAlgo's instrument list is not as documented, or cut off: {len(body)} bytes."
        raise BrokerError(text, code=ErrorCode.BROKER_UNREACHABLE)
    book, skipped = OpenAlgoBook(), 0
    for piece in _pieces(body, begin.end(), end):
        for row in _read(piece):
            if row is None or row.exchange not in EXCHANGES or not row.symbol:
                skipped += 1
            else:
                _enter(book, row)
        await asyncio.sleep(0)
    return LoadedInstruments(book, skipped)


def _pieces(body: bytes, start: int, end: int) -> Iterator[bytes]:
    """Yield the rows a few at a time, each piece a JSON array: rows have nothing nested in them."""
    while start < end:
        gap = _BETWEEN_ROWS.search(body, min(start + _SLICE_BYTES, end), end)
        stop = gap.start() + 1 if gap is not None else end
        yield b"[%b]" % body[start:stop]
        start = gap.end() - 1 if gap is not None else end


def _read(piece: bytes) -> list[_Row | None]:
    """Return the rows of a piece, None for each that is none."""
    try:
        return list(_rows(piece))
    except _UNREADABLE:
        pass
    try:
        raw = _raw_rows(piece)
    except _UNREADABLE:
        return [None]
    rows: list[_Row | None] = []
    for one in raw:
        try:
            rows.append(_row(one))
        except _UNREADABLE:
            rows.append(None)
    return rows


def _enter(book: OpenAlgoBook, row: _Row) -> None:
    instrument = Instrument(sys.intern(row.exchange), row.symbol)
    details = Details(
        row.brsymbol or row.symbol,
        sys.intern(row.brexchange or row.exchange),
        sys.intern(row.name or ""),
        sys.intern(row.instrumenttype or ""),
        _day(row.expiry or ""),
        max(0.0, row.strike or 0.0),
        int(row.lotsize or 0),
        row.tick_size or 0.0,
        "" if row.token is None else str(row.token),
    )
    book.add(instrument, str(instrument), details)


@lru_cache(4096)
def _day(text: str) -> str:
    """Return 24-APR-25 as 2025-04-24; nothing for nothing, and for what is no day."""
    for form in ("%d-%b-%y", "%d-%b-%Y", "%Y-%m-%d"):
        try:
            return sys.intern(datetime.strptime(text, form).date().isoformat())
        except ValueError:
            continue
    return ""
