"""An account's instrument list in parts, as they travel to gateways that have no broker's credentials."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterable

from msgspec.structs import astuple

from brokerpool.cluster.messages import FORMAT, BookPart, BookRequest, Listed
from brokerpool.instruments import Details, Instrument, Token, TokenBook, named

#: Symbols of one part: about 200 kB.
PART = 2000
#: One symbol in so many is looked at to tell two lists apart; their number tells most of it.
_SAMPLED = 64
#: Symbols of a list are entered so many at a time, between which the event loop turns.
_ENTERED = 200


class BookParts:
    """Gives parts of whichever list is in use; equal lists have equal versions, in every process."""

    def __init__(self) -> None:
        self._book: TokenBook | None = None
        #: What the book said of its length: that of a view of several may be less than what it has.
        self._length = 0
        self._instruments: list[Instrument] = []
        self._version = 0

    def version(self, book: TokenBook) -> int:
        """Return the list's version, which is never 0."""
        if book is not self._book or len(book) != self._length:
            self._book, self._length, self._instruments = book, len(book), list(book)
            sample = ((str(i), book.token(i)) for i in self._instruments[::_SAMPLED])
            self._version = zlib.crc32(repr((len(self._instruments), *sample)).encode()) | 1
        return self._version

    def part(self, book: TokenBook, request: BookRequest) -> BookPart:
        """Return the part that is asked for, the first one where it is asked of another version."""
        version = self.version(book)
        number = request.part if request.version == version else 0
        some = self._instruments[number * PART : (number + 1) * PART]
        parts = max(1, -(-len(self._instruments) // PART))
        symbols = tuple(_listed(book, instrument) for instrument in some)
        return BookPart(FORMAT, version, number, parts, book.takes_unlisted, symbols)


def _listed(book: TokenBook, instrument: Instrument) -> Listed:
    token = book.token(instrument)
    assert token is not None
    details = book.details(instrument)
    bare = details == Details(instrument.symbol, instrument.exchange)
    return instrument.exchange, instrument.symbol, token, None if bare else astuple(details)


class RemoteBook(TokenBook):
    """The same list at a gateway."""

    def __init__(self, *, takes_unlisted: bool) -> None:
        super().__init__()
        self._takes_unlisted = takes_unlisted

    @property
    def takes_unlisted(self) -> bool:
        return self._takes_unlisted

    def token(self, instrument: Instrument | str) -> Token | None:
        """Return the broker's token; of what is not listed the name, where that can be asked for."""
        token = super().token(instrument)
        return str(named(instrument)) if token is None and self._takes_unlisted else token

    def enter(self, symbols: Iterable[Listed]) -> None:
        """Enter the symbols of a part."""
        for exchange, symbol, token, details in symbols:
            told = None if details is None else Details(*details)
            self.add(Instrument(exchange, symbol), token, told)


async def whole_list(asked: Callable[[int, int], Awaitable[BookPart]]) -> tuple[int, RemoteBook] | None:
    """Return the version and the symbols of the list in use, None when another came in its place.

    `asked` gives a part by version and number, and may raise; version 0 is whichever is in use.
    """
    part = await asked(0, 0)
    version, book = part.version, RemoteBook(takes_unlisted=part.takes_unlisted)
    for number in range(part.parts):
        if number:
            part = await asked(version, number)
        if (part.version, part.part) != (version, number):
            return None
        for start in range(0, len(part.symbols), _ENTERED):
            book.enter(part.symbols[start : start + _ENTERED])
            await asyncio.sleep(0)
    return version, book
