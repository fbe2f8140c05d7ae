"""Kite's daily instrument list, read into a token book under OpenAlgo's names without holding up the loop."""

from __future__ import annotations

import asyncio
import codecs
import csv
import logging
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from operator import itemgetter
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from brokerpool.brokers.zerodha.symbols import openalgo_instrument
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Details, TokenBook

#: Brings the packed list from an address, within so many seconds, along the way, with so many bytes at most.
Download: TypeAlias = Callable[[str, float, Egress, int], Awaitable[bytearray]]

logger = logging.getLogger("brokerpool.brokers.zerodha")

#: The list of 2026 has about 10 MB; one that never ends must not fill the memory.
MAX_DUMP_BYTES = 128 * 1024 * 1024

#: Seconds after midnight UTC: 08:45 in India. Kite makes the list once a day, at about 08:30 (users on its
#: forum, looked up on 2026-11-28), and the market opens at 09:15.
LIST_READY = (8 * 60 + 45 - 330) * 60

# About 50 rows or less than a millisecond: what is read before the event loop has its turn again.
_SLICE_BYTES = 4 * 1024
_DEFLATED_BYTES = 1024
_LONGEST_LINE = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"

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

_Pick: TypeAlias = Callable[[list[str]], tuple[str, ...]]


class LoadedInstruments(NamedTuple):
    """A token book and how many rows of the list had no place in it."""

    book: TokenBook
    skipped: int


async def fetch_instruments(
    http_url: str = "https://api.kite.trade", *, timeout: float = 30.0, egress: Egress | None = None
) -> TokenBook:
    """Return the book of today's `/instruments`, which Kite gives to everybody, within `timeout` seconds.

    The call leaves as the `egress` says, else as the environment does.
    Raises BrokerError: BROKER_REFUSED_CREDENTIALS for an answer of 401 or 403, BROKER_UNREACHABLE for
    everything else that leaves no list, PROXY_REFUSED when a proxy did not let the call out; its
    `retry_after` is what a Retry-After asks for.
    """
    host, egress = urlsplit(http_url).hostname, egress or Egress()
    download = await asyncio.to_thread(_download)
    dump = await download(http_url, timeout, egress, MAX_DUMP_BYTES)
    loaded = await load_instruments(dump)
    if loaded.skipped:
        logger.warning(
            "%s: %d instruments; %d rows of the list could not be used",
            host,
            len(loaded.book),
            loaded.skipped,
        )
    return loaded.book


async def load_instruments(dump: bytes | bytearray) -> LoadedInstruments:
    """Return the instruments of a CSV file, gzipped or not; the loop has its turn every millisecond or so.

    A row that cannot be used is counted and left out, as is one whose name or token an earlier row has taken.
    Raises BrokerError when the file is cut off, lacks a
    column or has no usable row.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    table = _Table()
    rest = ""
    for piece in _inflated(dump):
        *lines, rest = (rest + decoder.decode(piece)).split("\n")
        if len(rest) > _LONGEST_LINE:
            lines.append(rest)
            rest = ""
        table.read(lines)
        await asyncio.sleep(0)
    table.read([rest])
    if not len(table.book):
        raise _fault(f"The instrument list has no usable row; {table.skipped} could not be read.")
    return LoadedInstruments(table.book, table.skipped)


class _Table:
    """The rows read so far; the first line names the columns."""

    def __init__(self) -> None:
        self.book = TokenBook()
        self.skipped = 0
        self._columns: _Pick | None = None

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            if not line or line == "\r":
                continue
            try:
                # A reader for each line: a quote that is never closed costs this row, not those behind it.
                row = next(csv.reader((line,)))
                if self._columns is None:
                    self._columns = _columns(row)
                else:
                    self._enter(self._columns(row))
            except (ValueError, IndexError, csv.Error):
                self.skipped += 1

    def _enter(self, row: tuple[str, ...]) -> None:
        token, *names, tick_size, lot_size = row
        instrument, number, book = openalgo_instrument(*names), _token(token), self.book
        if book.token(instrument) is None and book.instrument(number) is None:
            book.add(instrument, number, _details(names, tick_size, lot_size))
        elif book.token(instrument) != number:
            raise ValueError(f"{instrument} or {number} stands in an earlier row")


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


def _columns(header: list[str]) -> _Pick:
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise _fault(f"The instrument list has no column {', '.join(missing)}.")
    return itemgetter(*(header.index(name) for name in _COLUMNS))


def _inflated(dump: bytes | bytearray) -> Iterator[bytes | bytearray]:
    if not dump.startswith(_GZIP_MAGIC):
        for start in range(0, len(dump), _SLICE_BYTES):
            yield dump[start : start + _SLICE_BYTES]
        return
    inflater = zlib.decompressobj(wbits=31)
    size = 0
    try:
        for start in range(0, len(dump), _DEFLATED_BYTES):
            deflated, piece = dump[start : start + _DEFLATED_BYTES], b"."
            while (deflated or piece) and not inflater.eof:
                piece = inflater.decompress(deflated, _SLICE_BYTES)
                deflated = inflater.unconsumed_tail
                size += len(piece)
                if size > MAX_DUMP_BYTES:
                    raise _fault(f"The instrument list unpacks to more than {MAX_DUMP_BYTES} bytes.")
                yield piece
    except zlib.error as error:
        raise _fault(f"The instrument list cannot be unpacked ({error}).") from None
    if not inflater.eof:
        raise _fault(f"The instrument list is cut off after {len(dump)} bytes.")


def _download() -> Download:
    """Load what needs aiohttp, which takes a third of a second: whoever has the list needs none of it."""
    from brokerpool.brokers.zerodha.download import download

    return download


def _fault(message: str) -> BrokerError:
    return BrokerError(message, code=ErrorCode.BROKER_UNREACHABLE)
