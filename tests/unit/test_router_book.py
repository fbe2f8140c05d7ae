"""The lists of several accounts as one: whose rows and details are seen, with open books among them."""

from __future__ import annotations

import pytest

from brokerpool import Instrument, TokenBook
from brokerpool.brokers.openalgo.symbols import OpenAlgoBook
from brokerpool.feed.router_instruments import Listing, RouterBook
from brokerpool.instruments import Details

INFY, TCS, GOLD = (Instrument.parse(f"{name}") for name in ("NSE:INFY", "NSE:TCS", "MCX:GOLD"))


def listed(*instruments: Instrument, name: str) -> TokenBook:
    book = TokenBook()
    for number, instrument in enumerate(instruments, 1):
        book.add(instrument, number, Details(instrument.symbol, instrument.exchange, name=name))
    return book


def over(*books: TokenBook, first: frozenset[str] = frozenset()) -> RouterBook:
    return RouterBook([Listing(book, first if n == 0 else frozenset()) for n, book in enumerate(books)])


def test_each_row_is_seen_once_with_the_details_of_the_account_that_lists_it_first() -> None:
    book = over(listed(INFY, TCS, name="one"), listed(TCS, GOLD, name="two"))
    assert list(book) == [INFY, TCS, GOLD]
    assert [book.details(i).name for i in book] == ["one", "one", "two"]
    assert all(book.lists(i) for i in (INFY, "NSE:TCS", GOLD))
    assert not book.lists("NSE:ABB")
    assert not book.takes_unlisted


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_book_that_takes_every_name_hides_no_rows_and_no_details(number: int) -> None:
    books = [listed(INFY, TCS, name="one"), listed(TCS, GOLD, name="two")]
    books.insert(number, OpenAlgoBook())
    book = over(*books)
    assert book.takes_unlisted
    assert list(book) == [INFY, TCS, GOLD]
    assert [book.details(i).name for i in book] == ["one", "one", "two"]
    for _ in book.count():
        pass
    assert len(book) == 3
    assert "NSE:ABB" in book
    assert not book.lists("NSE:ABB")
    assert book.details("NSE:ABB") == Details("ABB", "NSE"), "the broker is taken to use the same names"


def test_an_account_shows_no_rows_and_details_of_exchanges_that_it_does_not_serve() -> None:
    book = over(listed(INFY, GOLD, name="one"), listed(GOLD, name="two"), first=frozenset({"NSE"}))
    assert list(book) == [INFY, GOLD]
    assert book.details(GOLD).name == "two"
    assert not over(listed(GOLD, name="one"), first=frozenset({"NSE"})).lists(GOLD)
