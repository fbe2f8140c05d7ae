"""One Zerodha account: where to dial, with which credentials, under which limits, and its instrument list."""

from __future__ import annotations

from brokerpool.brokers.account import Endpoint
from brokerpool.brokers.base_account import BaseAccount, text, with_query
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.zerodha.codec import KiteWire
from brokerpool.brokers.zerodha.instruments import LIST_READY, fetch_instruments
from brokerpool.brokers.zerodha.rest import HEADERS, ZerodhaRest
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook

#: Where Kite is reached (Kite Connect documentation; looked up 2026-11-22).
WS_URL = "wss://ws.kite.trade"
HTTP_URL = "https://api.kite.trade"


class ZerodhaFeed(BaseAccount):
    """The feed of one Kite Connect app and login; `repr` and errors never show the key or the token."""

    name = "zerodha"
    #: 08:45 in India, in seconds after midnight UTC: Kite makes the list of a day at about 08:30.
    list_ready = LIST_READY
    book_wanted = (
        "give a TokenBook: await fetch_instruments(), or brokerpool.sync.fetch_instruments() in a script"
    )

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

        Kite's token dies every morning; `login.renew` takes the next one. The calls for the instrument list
        leave as the `egress` says, else as the environment does.
        """
        self._api_key = text("api_key", api_key)
        super().__init__(
            Credentials(access_token),
            provider,
            ws_url=ws_url,
            http_url=http_url,
            book=book,
            limits=limits if limits is not None else FeedLimits.load(__package__),
            egress=egress,
        )

    async def instruments(self) -> TokenBook:
        """Return the book of today's list, newly fetched; raises as `fetch_instruments` does."""
        return await fetch_instruments(self.http_url, egress=self._egress)

    async def endpoint(self) -> Endpoint:
        """Return the address with the current credentials in its query, which is where Kite wants them."""
        token = self.login.credentials.access_token
        proof = {"api_key": self._api_key, "access_token": token}
        return Endpoint(with_query(self._ws_url, proof), HEADERS)

    def rest(self) -> ZerodhaRest:
        """Return the HTTP API of the same account, under the same login and instrument list."""
        return ZerodhaRest(self._api_key, self.login, book=lambda: self.book, http_url=self.http_url)

    def wire(self) -> KiteWire:
        """Return a new wire for a new socket."""
        return KiteWire(lambda token: self.book.instrument(token))  # of the day on which it is asked
