"""One Dhan account: where to dial, with which credentials, under which limits, and its instrument list."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from brokerpool.brokers.account import Endpoint
from brokerpool.brokers.base_account import BaseAccount, text, with_query
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.depth20 import DEPTH_URL, DhanDepth20, beside
from brokerpool.brokers.dhan.instruments import LIST_READY, LIST_URL, fetch_instruments
from brokerpool.brokers.dhan.rest import DhanRest
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook

#: Where Dhan is reached (DhanHQ v2 documentation; looked up 2026-11-29).
WS_URL = "wss://api-feed.dhan.co"
HTTP_URL = "https://api.dhan.co/v2"
#: The list is on another host than the API; whoever gives the API an address of their own has both there.
_LIST_PATH = urlsplit(LIST_URL).path


class DhanFeed(BaseAccount):
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

        Dhan's token lives for 24 hours; `login.renew` takes the next one. The calls for the instrument list
        leave as the `egress` says, else as the environment does. With `deep_book` the account has the
        20-level depth, which is a feed for a pool of its own.
        """
        self._client_id = text("client_id", client_id)
        super().__init__(
            Credentials(access_token),
            provider,
            ws_url=ws_url,
            http_url=http_url,
            book=book,
            limits=limits if limits is not None else FeedLimits.load(__package__),
            egress=egress,
        )
        if deep_book:
            deep_url = DEPTH_URL if ws_url == WS_URL else beside(ws_url)
            self.deep_book = DhanDepth20(client_id, self.login, book=lambda: self.book, ws_url=deep_url)

    async def instruments(self) -> TokenBook:
        """Return the book of today's list, newly fetched; raises as `fetch_instruments` does."""
        return await fetch_instruments(self._list_url, egress=self._egress)

    async def endpoint(self) -> Endpoint:
        """Return the address with the current credentials in its query, which is where Dhan wants them."""
        token = self.login.credentials.access_token
        proof = {"version": 2, "token": token, "clientId": self._client_id, "authType": 2}
        return Endpoint(with_query(self._ws_url, proof), {})

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
