"""What the accounts of all brokers hold alike: a login, the day's book, their addresses and limits."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit, urlunsplit

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Login, Provider
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook


class BaseAccount(FullAccount):
    """An account but for what its broker does its own way: `endpoint`, `instruments`, `wire` and `rest`."""

    #: What is said to somebody who gives a book that is none.
    book_wanted = "give a TokenBook"

    def __init__(
        self,
        credentials: Credentials,
        provider: Provider | None,
        *,
        ws_url: str,
        http_url: str,
        book: TokenBook | None,
        limits: FeedLimits,
        egress: Egress | None,
    ) -> None:
        """Nothing is dialled here. Raises TypeError for a book that is no TokenBook."""
        #: The account's credentials; `login.renew` takes the next ones.
        self.login = Login(credentials, provider)
        self._ws_url = ws_url
        self.http_url = http_url
        self._egress = egress
        self.relist(TokenBook() if book is None else book)
        #: Those by which the pool spreads the account's symbols.
        self.limits = limits

    def relist(self, book: TokenBook) -> None:
        """Use the instrument list of a new day; `WebSocketPool.relist` brings the subscriptions into line.

        Raises TypeError for what is no TokenBook.
        """
        if not isinstance(book, TokenBook):
            raise TypeError(f"the book is a {type(book).__name__}; {self.book_wanted}")
        #: The instruments that can be asked for.
        self.book: TokenBook = book

    def __repr__(self) -> str:
        host = urlsplit(self._ws_url or self.http_url).hostname
        return f"<{type(self).__name__} {host}, {len(self.book)} instruments>"


def text(name: str, given: str) -> str:
    """Return what identifies the account or its app. Raises TypeError for what is no text."""
    if not isinstance(given, str):
        raise TypeError(f"the {name} is a {type(given).__name__}; give a text")
    return given


def with_query(url: str, parameters: Mapping[str, object]) -> str:
    """Return an address with further parameters in its query, and `/` where it has no path."""
    scheme, host, path, query, _ = urlsplit(url)
    added = urlencode(parameters)
    return urlunsplit((scheme, host, path or "/", f"{query}&{added}" if query else added, ""))
