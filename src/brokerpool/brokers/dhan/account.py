"""One Dhan account: where to dial, with which credentials, under which limits, and its instrument list."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit, urlunsplit

from brokerpool.brokers.account import Endpoint, FullAccount
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.depth20 import DEPTH_URL, DhanDepth20, beside
from brokerpool.brokers.dhan.instruments import LIST_READY, LIST_URL, fetch_instruments
from brokerpool.brokers.dhan.rest import DhanRest
from brokerpool.brokers.limits import FeedLimits
from brokerpool.brokers.login import Credentials, Login, Provider
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook

#: Where Dhan is reached (DhanHQ v2 documentation; looked up 2026-11-29).
WS_URL = "wss://api-feed.dhan.co"
HTTP_URL = "https://api.dhan.co/v2"
#: The list is on another host than the API; whoever gives the API an address of their own has both there.
_LIST_PATH = urlsplit(LIST_URL).path


class DhanFeed(FullAccount):
    """The feed of one Dhan client; `repr` and errors never show the token."""

    name = "dhan"
    #: 08:45 in India, in seconds after midnight UTC.
    list_ready = LIST_READY
    #: The market feed never does; orders have a socket of their own, which is not dialled.
    tells_orders = False

    def __init__(
        self,
        client_id: str,
        access_token: str,
        *,
        ws_url: str = WS_URL,
        http_url: str = HTTP_URL,
        book: TokenBook | None = None,
        limits: FeedLimits | None = None,
        provider: Provider | None = None,
        egress: Egress | None = None,
        deep_book: bool = False,
    ) -> None:
        """Nothing is dialled here; `provider` is asked when the token was refused or is about to expire.

        The calls for the instrument list leave as the `egress` says, else as the environment does. With
        `deep_book` the account has the 20-level depth, which is a feed for a pool of its own.
        """
        if not isinstance(client_id, str):
            raise TypeError(f"the client_id is a {type(client_id).__name__}; give a text")
        if book is not None and not isinstance(book, TokenBook):
            raise TypeError(f"the book is a {type(book).__name__}; give a TokenBook")
        self._client_id = client_id
        #: The account's access token; Dhan's lives for 24 hours, and `login.renew` takes the next one.
        self.login = Login(Credentials(access_token), provider)
        self._ws_url = ws_url
        self.http_url = http_url
        self._egress = egress
        #: The instruments that can be asked for.
        self.book = book if book is not None else TokenBook()
        #: Dhan's published figures unless others were given.
        self.limits = limits if limits is not None else FeedLimits.load(__package__)
        if deep_book:
            url = DEPTH_URL if ws_url == WS_URL else beside(ws_url)
            self.deep_book = DhanDepth20(client_id, self.login, book=lambda: self.book, ws_url=url)

    async def instruments(self) -> TokenBook:
        """Return the book of today's list, newly fetched; raises as `fetch_instruments` does."""
        return await fetch_instruments(self._list_url, egress=self._egress)

    def relist(self, book: TokenBook) -> None:
        """Use the instrument list of a new day; `WebSocketPool.relist` brings the subscriptions into line.

        Raises TypeError for what is no TokenBook.
        """
        if not isinstance(book, TokenBook):
            raise TypeError(f"the book is a {type(book).__name__}; give a TokenBook")
        self.book = book

    async def endpoint(self) -> Endpoint:
        """Return the address with the current credentials in its query, which is where Dhan wants them."""
        scheme, host, path, query, _ = urlsplit(self._ws_url)
        token = self.login.credentials.access_token
        credentials = urlencode({"version": 2, "token": token, "clientId": self._client_id, "authType": 2})
        query = f"{query}&{credentials}" if query else credentials
        return Endpoint(urlunsplit((scheme, host, path or "/", query, "")), {})

    def rest(self) -> DhanRest:
        """Return the HTTP API of the same account, under the same login and instrument list."""
        return DhanRest(self._client_id, self.login, book=lambda: self.book, http_url=self.http_url)

    def wire(self) -> DhanWire:
        """Return a new wire for a new socket."""
        return DhanWire()

    @property
    def _list_url(self) -> str:
        if self.http_url == HTTP_URL:
            return LIST_URL
        scheme, host, *_ = urlsplit(self.http_url)
        return urlunsplit((scheme, host, _LIST_PATH, "", ""))

    def __repr__(self) -> str:
        return f"<DhanFeed {urlsplit(self._ws_url).hostname}, {len(self.book)} instruments>"
