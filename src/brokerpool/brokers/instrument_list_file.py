"""A broker's instrument list as it came, unpacked and read without holding up the loop."""

from __future__ import annotations

import asyncio
import codecs
import csv
import logging
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple, TypeAlias
from urllib.parse import urlsplit

from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Details, Instrument, Token, TokenBook

logger = logging.getLogger("brokerpool.brokers")

#: The lists of 2026 have 10 to 40 MB; one that never ends must not fill the memory.
MAX_LIST_BYTES = 128 * 1024 * 1024

# About 50 rows or less than a millisecond: what is read before the event loop has its turn again.
_SLICE_BYTES = 4 * 1024
_DEFLATED_BYTES = 1024
_LONGEST_LINE = 64 * 1024
_GZIP_MAGIC = b"\x1f\x8b"

#: What one row of a list stands for.
Entry: TypeAlias = tuple[Instrument, Token, Details]
_Pick: TypeAlias = Callable[[list[str]], tuple[str, ...]]
#: Brings a list from an address: its headers, seconds at most, the way out, bytes at most.
_Download: TypeAlias = Callable[[str, Mapping[str, str], float, Egress, int], Awaitable[bytearray]]


class LoadedInstruments(NamedTuple):
    """A token book and how many rows of the list had no place in it."""

    book: TokenBook
    skipped: int


async def fetch_list(
    url: str,
    load: Callable[[bytearray], Awaitable[LoadedInstruments]],
    *,
    headers: Mapping[str, str],
    timeout: float,
    egress: Egress | None,
) -> TokenBook:
    """Return the book that `load` reads from the list at an address, had within `timeout` seconds.

    The call leaves as the `egress` says, else as the environment does. Raises BrokerError as `download` and
    `load` do.
    """
    download = await asyncio.to_thread(_downloader)
    loaded = await load(await download(url, headers, timeout, egress or Egress(), MAX_LIST_BYTES))
    if loaded.skipped:
        logger.warning(
            "%s: %d instruments; %d rows of the list could not be used",
            urlsplit(url).hostname,
            len(loaded.book),
            loaded.skipped,
        )
    return loaded.book


async def load_csv(
    dump: bytes | bytearray, columns: Sequence[str], read: Callable[[tuple[str, ...]], Entry]
) -> LoadedInstruments:
    """Return the instruments of a CSV file, gzipped or not; the loop has its turn every millisecond or so.

    `read` gets the fields of one row in the order of the `columns`. A row for which it raises ValueError is
    counted and left out, as is one whose name or token an earlier row has taken. Raises BrokerError when the
    file is cut off, lacks a column or has no usable row.
    """
    decoder = codecs.getincrementaldecoder("utf-8-sig")(errors="replace")
    table = _Table(columns, read)
    rest = ""
    for piece in unpacked(dump):
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


def unpacked(dump: bytes | bytearray) -> Iterator[bytes | bytearray]:
    """Yield a list in pieces of a few KB, unpacked where it is gzipped.

    Raises BrokerError for what cannot be unpacked, is cut off, or unpacks to more than a list may have.
    """
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
                if size > MAX_LIST_BYTES:
                    raise _fault(f"The instrument list unpacks to more than {MAX_LIST_BYTES} bytes.")
                yield piece
    except zlib.error as error:
        raise _fault(f"The instrument list cannot be unpacked ({error}).") from None
    if not inflater.eof:
        raise _fault(f"The instrument list is cut off after {len(dump)} bytes.")


def enter(book: TokenBook, instrument: Instrument, token: Token, details: Details) -> None:
    """Enter a row; the same pair twice is one. Raises ValueError for a name or a token that is taken."""
    if book.token(instrument) is None and book.instrument(token) is None:
        book.add(instrument, token, details)
    elif book.token(instrument) != token:
        raise ValueError(f"{instrument} or {token} stands in an earlier row")


class _Table:
    """The rows read so far; the first line names the columns."""

    def __init__(self, names: Sequence[str], entry: Callable[[tuple[str, ...]], Entry]) -> None:
        self.book = TokenBook()
        self.skipped = 0
        self._names = names
        self._entry = entry
        self._columns: _Pick | None = None

    def read(self, lines: Iterable[str]) -> None:
        for line in lines:
            if not line or line == "\r":
                continue
            try:
                # A reader for each line: a quote that is never closed costs this row, not those behind it.
                row = next(csv.reader((line,)))
                if self._columns is None:
                    self._columns = _columns(self._names, row)
                else:
                    enter(self.book, *self._entry(self._columns(row)))
            except (ValueError, IndexError, csv.Error):
                self.skipped += 1


def _columns(names: Sequence[str], header: list[str]) -> _Pick:
    missing = [name for name in names if name not in header]
    if missing:
        raise _fault(f"The instrument list has no column {', '.join(missing)}.")
    return itemgetter(*(header.index(name) for name in names))


def _downloader() -> _Download:
    """Load what needs aiohttp, which takes a third of a second: whoever has the list needs none of it."""
    from brokerpool.brokers.instrument_list_download import download

    return download


def _fault(message: str) -> BrokerError:
    return BrokerError(message, code=ErrorCode.BROKER_UNREACHABLE)
