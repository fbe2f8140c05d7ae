"""One OpenAlgo as an account: where to dial, with which key, under which limits, and what it lists."""

from __future__ import annotations

from urllib.parse import urlsplit

from brokerpool.brokers.account import Endpoint
from brokerpool.brokers.base_account import BaseAccount, text
from brokerpool.brokers.india_time import utc_seconds
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.openalgo.codec import OpenAlgoWire
from brokerpool.brokers.openalgo.instruments import fetch_instruments
from brokerpool.brokers.openalgo.rest import HEADERS, OpenAlgoRest
from brokerpool.brokers.openalgo.symbols import OpenAlgoBook
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook

#: Where an OpenAlgo, or a brokerpool, on this machine is reached.
WS_URL = "ws://127.0.0.1:8765"
HTTP_URL = "http://127.0.0.1:5000"


class OpenAlgoFeed(BaseAccount):
    """One user of an OpenAlgo, or of a gateway that speaks its protocol; `repr` and errors show no key.

    The API key is the whole login: it takes the place of an access token, and stands until it is replaced.
    """

    name = "openalgo"
    #: 09:00 in India, in seconds after midnight UTC: OpenAlgo reads its broker's list at the day's login.
    list_ready = utc_seconds(9)

    def __init__(
        self,
        api_key: str,
        *,
        ws_url: str = WS_URL,
        http_url: str = HTTP_URL,
        book: TokenBook | None = None,
        limits: FeedLimits | None = None,
        orders: bool = False,
        one_symbol_a_frame: bool = False,
        provider: Provider | None = None,
        egress: Egress | None = None,
    ) -> None:
        """Nothing is dialled here; without a `book` any well-formed symbol can be asked for.

        With `orders` the feed brings order updates as well. `one_symbol_a_frame` is for servers that do not
        take lists of symbols. `provider` gives the next key when this one is refused.
        """
        #: Whether its sockets tell what becomes of orders.
        self.tells_orders = orders
        self._one_symbol_a_frame = one_symbol_a_frame
        super().__init__(
            Credentials(text("api_key", api_key)),
            provider,
            ws_url=ws_url,
            http_url=http_url,
            book=book if book is not None else OpenAlgoBook(),
            limits=limits if limits is not None else FeedLimits.load(__package__),
            egress=egress,
        )

    async def instruments(self) -> TokenBook:
        """Return the book of the server's list, newly fetched; raises as `fetch_instruments` does."""
        key = self.login.credentials.access_token
        return await fetch_instruments(self.http_url, key, egress=self._egress)

    async def endpoint(self) -> Endpoint:
        """Return the address, which carries no key: that is said on the open socket."""
        return Endpoint(self._ws_url, HEADERS)

    def rest(self) -> OpenAlgoRest:
        """Return the REST of the same server, under the same key and instrument list."""
        return OpenAlgoRest(self.login, book=lambda: self.book, http_url=self.http_url)

    def wire(self) -> OpenAlgoWire:
        """Return a new wire for a new socket, with the present key."""
        return OpenAlgoWire(
            self.login.credentials.access_token,
            orders=self.tells_orders,
            one_symbol_a_frame=self._one_symbol_a_frame,
        )

    def __repr__(self) -> str:
        return f"<OpenAlgoFeed {urlsplit(self._ws_url).hostname}, {self.book!r}>"
