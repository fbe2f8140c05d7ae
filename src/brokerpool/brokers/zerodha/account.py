"""One Zerodha account: where to dial, with which credentials, under which limits, and its instrument list."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit, urlunsplit

from brokerpool.brokers.account import Endpoint, FullAccount
from brokerpool.brokers.limits import FeedLimits
from brokerpool.brokers.login import Credentials, Login, Provider
from brokerpool.brokers.zerodha.codec import KiteWire
from brokerpool.brokers.zerodha.instruments import LIST_READY, fetch_instruments
from brokerpool.brokers.zerodha.rest import HEADERS, ZerodhaRest
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook

#: Where Kite is reached (Kite Connect documentation; looked up 2026-11-22).
WS_URL = "wss://ws.kite.trade"
HTTP_URL = "https://api.kite.trade"


class ZerodhaFeed(FullAccount):
    """The feed of one Kite Connect app and login; `repr` and errors never show the key or the token."""

    name = "zerodha"
    #: 08:45 in India, in seconds after midnight UTC: Kite makes the list of a day at about 08:30.
    list_ready = LIST_READY

    def __init__(
        self,
        api_key: str,
        access_token: str,
        *,
        ws_url: str = WS_URL,
        http_url: str = HTTP_URL,
        book: TokenBook | None = None,
        limits: FeedLimits | None = None,
        provider: Provider | None = None,
        egress: Egress | None = None,
    ) -> None:
        """Nothing is dialled here; `provider` is asked when the token was refused or is about to expire.

        The calls for the instrument list leave as the `egress` says, else as the environment does.
        """
        if not isinstance(api_key, str):
            raise TypeError(f"the api_key is a {type(api_key).__name__}; give a text")
        if book is not None and not isinstance(book, TokenBook):
            raise TypeError(
                f"the book is a {type(book).__name__}; give a TokenBook: await fetch_instruments(), or"
                " brokerpool.sync.fetch_instruments() in a script"
            )
        self._api_key = api_key
        #: The account's access token; Kite's dies every morning, and `login.renew` takes the next one.
        self.login = Login(Credentials(access_token), provider)
        self._ws_url = ws_url
        self.http_url = http_url
        self._egress = egress
        #: The instruments that can be asked for.
        self.book = book if book is not None else TokenBook()
        #: Kite's published figures unless others were given.
        self.limits = limits if limits is not None else FeedLimits.load(__package__)

    async def instruments(self) -> TokenBook:
        """Return the book of today's list, newly fetched; raises as `fetch_instruments` does."""
        return await fetch_instruments(self.http_url, egress=self._egress)

    def relist(self, book: TokenBook) -> None:
        """Use the instrument list of a new day; `WebSocketPool.relist` brings the subscriptions into line.

        Raises TypeError for what is no TokenBook.
        """
        if not isinstance(book, TokenBook):
            raise TypeError(f"the book is a {type(book).__name__}; give a TokenBook")
        self.book = book

    async def endpoint(self) -> Endpoint:
        """Return the address with the current credentials in its query, which is where Kite wants them."""
        scheme, host, path, query, _ = urlsplit(self._ws_url)
        token = self.login.credentials.access_token
        credentials = urlencode({"api_key": self._api_key, "access_token": token})
        query = f"{query}&{credentials}" if query else credentials
        return Endpoint(urlunsplit((scheme, host, path or "/", query, "")), HEADERS)

    def rest(self) -> ZerodhaRest:
        """Return the HTTP API of the same account, under the same login and instrument list."""
        return ZerodhaRest(self._api_key, self.login, book=lambda: self.book, http_url=self.http_url)

    def wire(self) -> KiteWire:
        """Return a new wire for a new socket."""
        return KiteWire(lambda token: self.book.instrument(token))  # of the day on which it is asked

    def __repr__(self) -> str:
        return f"<ZerodhaFeed {urlsplit(self._ws_url).hostname}, {len(self.book)} instruments>"
