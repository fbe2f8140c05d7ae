"""The instrument lists of several accounts as one, without a copy of any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, NoReturn

from brokerpool.instruments import Details, Instrument, Token, TokenBook, named

#: Rows that are looked at in one turn of the event loop: a fraction of a millisecond.
_SHARE = 300


class Listing:
    """What one account lists, as far as the rules let it carry that."""

    def __init__(self, book: TokenBook, exchanges: frozenset[str]) -> None:
        self.book = book
        self._exchanges = exchanges

    def token(self, instrument: Instrument) -> Token | None:
        """Return the account's token, None for what it does not carry."""
        if self._exchanges and instrument.exchange not in self._exchanges:
            return None
        return self.book.token(instrument)

    def lists(self, instrument: Instrument) -> bool:
        """Tell whether the instrument is a row of the account's list that it carries."""
        served = not self._exchanges or instrument.exchange in self._exchanges
        return served and self.book.lists(instrument)

    def __iter__(self) -> Iterator[Instrument]:
        exchanges = self._exchanges
        return (i for i in self.book if not exchanges or i.exchange in exchanges)


class RouterBook(TokenBook):
    """A view of the books, in order of preference: the details are those of the account that lists it first.

    A book that takes what it does not list hides no row of those after it.

    Its length is that of the longest book until `count` has looked at every row. It cannot be added to.
    """

    def __init__(self, listings: Sequence[Listing]) -> None:
        self._listings = listings
        self._length = max(len(listing.book) for listing in listings)
        self._counted = False

    def add(self, instrument: Instrument | str, token: Token, details: Details | None = None) -> NoReturn:
        raise TypeError("the book of several accounts is a view; add to the book of one of them")

    @property
    def takes_unlisted(self) -> bool:
        """True where any account takes names that it does not list."""
        return any(listing.book.takes_unlisted for listing in self._listings)

    def token(self, instrument: Instrument | str) -> Token | None:
        listing = self._first(named(instrument))
        return None if listing is None else listing.token(named(instrument))

    def details(self, instrument: Instrument | str) -> Details:
        instrument = named(instrument)
        listing = next((one for one in self._listings if one.lists(instrument)), None)
        return (listing or self._first(instrument) or self._listings[0]).book.details(instrument)

    def lists(self, instrument: Instrument | str) -> bool:
        return any(listing.lists(named(instrument)) for listing in self._listings)

    def instrument(self, token: Token) -> Instrument | None:
        """Return what the first account that has the token means by it; others may mean another thing."""
        found = (listing.book.instrument(token) for listing in self._listings)
        return next((i for i in found if i is not None), None)

    def parts(self) -> tuple[dict[Any, Any], ...]:
        return ()  # the rows are the accounts'

    def shows(self, listings: Sequence[Listing]) -> bool:
        """Tell whether it is a view of these."""
        return all(mine is theirs for mine, theirs in zip(self._listings, listings, strict=True))

    def count(self) -> Iterator[None]:
        """Find the length, a share of the rows at each step."""
        if self._counted:
            return
        length, rows = 0, iter(self)
        while share := sum(1 for _ in islice(rows, _SHARE)):
            length += share
            yield
        self._length, self._counted = length, True

    def __contains__(self, instrument: object) -> bool:
        return self._first(named(instrument)) is not None

    def __iter__(self) -> Iterator[Instrument]:
        for n, listing in enumerate(self._listings):
            before = self._listings[:n]
            yield from (i for i in listing if not any(b.lists(i) for b in before))

    def __len__(self) -> int:
        return self._length

    def _first(self, instrument: Instrument) -> Listing | None:
        return next((one for one in self._listings if one.token(instrument) is not None), None)
