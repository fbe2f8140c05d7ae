"""The instrument list, prepared for being searched in slices: a hundred thousand rows hold up nobody."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import NamedTuple

from brokerpool.gateway.rest.stream import SLICE, sliced
from brokerpool.instruments import Instrument, TokenBook

#: Rows of one page, whose text is looked through at once.
_PAGE_ROWS = 512

_FUTURES, _OPTIONS = ("FUT",), ("CE", "PE")
KINDS = {"futures": _FUTURES, "options": _OPTIONS}


class _Page(NamedTuple):
    """Some instruments of one exchange, and their names in capitals, a line each."""

    text: str
    lines: tuple[str, ...]
    instruments: tuple[Instrument, ...]


class InstrumentSearch:
    """Finds instruments by parts of their names; nothing here holds the event loop for more than a slice.

    The pages are made at the first question after the list has changed, and asked from then on.
    """

    def __init__(self, book: Callable[[], TokenBook]) -> None:
        """`book` gives the instrument list of the day."""
        self._book = book
        #: The list of the pages; not held, so that an old one can be freed.
        self._paged: weakref.ref[TokenBook] | None = None
        self._pages: dict[str, list[_Page]] = {}
        self._paging = asyncio.Lock()

    async def search(self, query: str, exchange: str | None, most: int) -> list[Instrument]:
        """Return up to `most` instruments whose symbol, broker's symbol or name contain every word.

        The symbol itself comes first, then symbols that begin with the query, then the others.
        """
        words = query.upper().split()
        if not words:
            return []
        whole = "".join(words)
        ranks: tuple[list[Instrument], ...] = ([], [], [])
        async for line, instrument in self._lines(exchange, words):
            if all(word in line for word in words):
                symbol = instrument.symbol.upper()
                rank = ranks[0 if symbol == whole else 1 if symbol.startswith(whole) else 2]
                if len(rank) < most:
                    rank.append(instrument)
        await asyncio.sleep(0)  # the answer is made in a turn of its own
        return [instrument for rank in ranks for instrument in sorted(rank, key=_by_symbol)][:most]

    async def expiries(self, underlying: str, exchange: str, kind: str) -> list[str]:
        """Return the days (2025-04-24) on which contracts of the underlying end, the nearest first.

        `kind` is "futures" or "options".
        """
        book = self._book()
        start = "\n" + underlying.upper()
        days = set()
        async for line, instrument in self._lines(exchange, [start]):
            if line.startswith(start):
                details = book.details(instrument)
                if details.kind in KINDS[kind] and _is_of(instrument, underlying, details.expiry):
                    days.add(details.expiry)
        return sorted(days)

    async def listed(self, exchange: str | None) -> tuple[int, Iterator[Instrument]]:
        """Return how many instruments there are, of one exchange or of all, and each of them."""
        pages = list(_of(await self._made(), exchange))
        return sum(len(page.instruments) for page in pages), _instruments(pages)

    async def _lines(self, exchange: str | None, words: list[str]) -> AsyncIterator[tuple[str, Instrument]]:
        """Yield the rows of pages that contain all words."""
        async for page in self._relevant(exchange, words):
            async for piece in sliced(zip(page.lines, page.instruments, strict=True), SLICE):
                for row in piece:
                    yield row

    async def _relevant(self, exchange: str | None, words: list[str]) -> AsyncIterator[_Page]:
        pages = await self._made()
        for number, page in enumerate(_of(pages, exchange)):
            if all(word in page.text for word in words):
                yield page
            if number % 8 == 0:
                await asyncio.sleep(0)

    async def _made(self) -> dict[str, list[_Page]]:
        await asyncio.sleep(0)  # what the request has cost so far is a turn of its own
        book = self._book()
        async with self._paging:
            if self._paged is None or self._paged() is not book:
                old = [page for pages in self._pages.values() for page in pages]
                self._pages = await _paged(book)
                self._paged = weakref.ref(book)
                while old:  # to free all of them at once would take 20 ms
                    old.pop()
                    await asyncio.sleep(0)
            return self._pages


async def _paged(book: TokenBook) -> dict[str, list[_Page]]:
    pages: dict[str, list[_Page]] = {}
    rows: dict[str, list[tuple[str, Instrument]]] = {}
    async for piece in sliced(book):
        for instrument in piece:
            kept = rows.setdefault(instrument.exchange, [])
            details = book.details(instrument)
            line = f"\n{instrument.symbol}\t{details.broker_symbol}\t{details.name}".upper()
            kept.append((line, instrument))
            if len(kept) == _PAGE_ROWS:
                pages.setdefault(instrument.exchange, []).append(_page(kept))
                kept.clear()
    for exchange, kept in rows.items():
        if kept:
            pages.setdefault(exchange, []).append(_page(kept))
    return pages


def _page(rows: list[tuple[str, Instrument]]) -> _Page:
    lines = tuple(line for line, _ in rows)
    return _Page("".join(lines), lines, tuple(instrument for _, instrument in rows))


def _instruments(pages: list[_Page]) -> Iterator[Instrument]:
    """Yield what is on the pages and let go of each: all at once would hold up the loop for milliseconds."""
    pages.reverse()
    while pages:
        yield from pages.pop().instruments


def _of(pages: dict[str, list[_Page]], exchange: str | None) -> Iterator[_Page]:
    for name, some in pages.items():
        if exchange in (None, name):
            yield from some


def _is_of(instrument: Instrument, underlying: str, day: str) -> bool:
    """Tell NIFTY24APR25FUT from NIFTYNXT5024APR25FUT: the day follows the underlying at once."""
    rest = instrument.symbol.upper().removeprefix(underlying.upper())
    return bool(day) and rest[:2] == day[8:10] and rest[5:7] == day[2:4] and rest[2:5].isalpha()


def _by_symbol(instrument: Instrument) -> tuple[str, str]:
    return instrument.symbol, instrument.exchange
