"""One Acme account: its feed, whose login is a token of its own, and its instrument list."""

from __future__ import annotations

import msgspec

from brokerpool.brokers.account import Endpoint, FullAccount
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Login
from brokerpool.brokers.registry import Access
from brokerpool.instruments import Instrument, TokenBook

from .calls import call, read
from .rest import AcmeRest
from .wire import AcmeWire

WS_URL = "wss://feed.acme.example"
HTTP_URL = "https://api.acme.example"


class _Listed(msgspec.Struct):
    id: str
    exchange: str
    symbol: str


class AcmeAccount(FullAccount):
    """One account; `repr` shows no secret.

    The feed wants another token than the HTTP API. A login that was made here has both; to a ready-made
    access token belongs the login field `feed_token`.
    """

    name = "acme"
    list_ready = 3 * 3600

    def __init__(self, access: Access, limits: FeedLimits) -> None:
        """Nothing is dialled here."""
        self.limits = limits
        self.login = Login(access.credentials, access.provider)
        self.book = TokenBook()
        self.http_url = access.http_url or HTTP_URL
        self._ws_url = access.ws_url or WS_URL
        self._feed_token = access.fields.get("feed_token", "")

    async def endpoint(self) -> Endpoint:
        return Endpoint(self._ws_url, {})

    def wire(self) -> AcmeWire:
        return AcmeWire(self.login.credentials.more.get("feed_token", self._feed_token))

    async def instruments(self) -> TokenBook:
        """Return the list, which Acme shows to its customers only."""
        token = self.login.credentials.access_token
        rows = read(await call("GET", f"{self.http_url}/symbols", token=token), list[_Listed])
        return TokenBook((Instrument(row.exchange, row.symbol), row.id) for row in rows)

    def relist(self, book: TokenBook) -> None:
        self.book = book

    def rest(self) -> AcmeRest:
        return AcmeRest(self.login, lambda: self.book, self.http_url)
