"""Dhan's 20-level depth as a feed of its own: another address and other limits, under the account's login."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit, urlunsplit

from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.base_account import with_query
from brokerpool.brokers.dhan.depth20_codec import Depth20Wire
from brokerpool.brokers.dhan.segments import NUMBERS
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Login
from brokerpool.instruments import Details, Instrument, Token, TokenBook, named

#: DhanHQ v2 documentation, 20 level market depth (looked up 2026-11-29).
DEPTH_URL = "wss://depth-api-feed.dhan.co/twentydepth"
#: The segments that have it (the same).
_SEGMENTS = frozenset((NUMBERS["NSE_EQ"], NUMBERS["NSE_FNO"]))


class DhanDepth20(Account):
    """The 20-level depth of one Dhan client; `repr` and errors never show the token.

    Its ticks have both sides of the book and the moment of their arrival; the mode that is wanted makes no
    difference. A login that is refused here is refused here only: the depth is sold apart from the ticks.
    """

    name = "dhan"
    tells_orders = False

    def __init__(
        self,
        client_id: str,
        login: Login,
        *,
        book: Callable[[], TokenBook],
        ws_url: str = DEPTH_URL,
        limits: FeedLimits | None = None,
    ) -> None:
        """`login` and `book` are the account's; both are followed."""
        self._client_id = client_id
        self._whole = book
        self._ws_url = ws_url
        self._book = _WithDepth(book())
        self.limits = limits if limits is not None else FeedLimits.load(__package__, "deep_book")
        #: The account's credentials, with refusals of its own.
        self.login = Login(login.credentials)

        def follow() -> None:
            self.login.renew(login.credentials)
            if login.refused:
                self.login.refuse(self.login.version)

        login.watch(follow)
        follow()

    @property  # that of an account is set, this one is always the part of another
    def book(self) -> TokenBook:  # type: ignore[override]
        """What of the account's present list has 20 levels: NSE's shares and contracts."""
        whole = self._whole()
        if self._book.whole is not whole:
            self._book = _WithDepth(whole)
        return self._book

    async def endpoint(self) -> Endpoint:
        """Return the address with the current credentials in its query, which is where Dhan wants them."""
        token = self.login.credentials.access_token
        proof = {"token": token, "clientId": self._client_id, "authType": 2}
        return Endpoint(with_query(self._ws_url, proof), {})

    def wire(self) -> Depth20Wire:
        """Return a new wire for a new socket."""
        return Depth20Wire()

    def __repr__(self) -> str:
        return f"<DhanDepth20 {urlsplit(self._ws_url).hostname}>"


def beside(ws_url: str) -> str:
    """Return where the depth is where the live market feed has an address of its own: beside that."""
    return urlunsplit(urlsplit(ws_url)._replace(path=urlsplit(DEPTH_URL).path))


class _WithDepth(TokenBook):
    """The part of a book that has 20 levels; the rows are the whole's."""

    def __init__(self, whole: TokenBook) -> None:
        super().__init__()
        self.whole = whole

    def token(self, instrument: Instrument | str) -> Token | None:
        """Return the broker's token, or None where there is none, or no such depth of it."""
        token = self.whole.token(instrument)
        return token if token is not None and int(token) & 0xFF in _SEGMENTS else None

    def lists(self, instrument: Instrument | str) -> bool:
        """Tell whether the instrument is a row of the list that has the depth."""
        return self.token(instrument) is not None

    def details(self, instrument: Instrument | str) -> Details:
        """Return what the broker's list says."""
        return self.whole.details(instrument)

    def instrument(self, token: Token) -> Instrument | None:
        """Return the instrument behind a token, or None for one that has no such depth."""
        return self.whole.instrument(token) if int(token) & 0xFF in _SEGMENTS else None

    def __contains__(self, instrument: object) -> bool:
        return self.token(named(instrument)) is not None

    def __iter__(self) -> Iterator[Instrument]:
        return (instrument for instrument in self.whole if self.token(instrument) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
