"""One Angel account: where to dial, with which three proofs, under which limits, and its instrument list."""

from __future__ import annotations

from http import HTTPStatus

from brokerpool.brokers.account import DialRefusal, Endpoint, usual_refusal
from brokerpool.brokers.angel.codec import SmartStreamWire
from brokerpool.brokers.angel.instruments import LIST_HOST, LIST_READY, fetch_instruments
from brokerpool.brokers.angel.login_session import FEED_TOKEN
from brokerpool.brokers.angel.rest import HTTP_URL, AngelRest, bearer
from brokerpool.brokers.base_account import BaseAccount, text
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.egress import Egress
from brokerpool.instruments import TokenBook

#: Where SmartStream is reached (SmartAPI documentation, WebSocket 2.0; looked up 2026-11-29).
WS_URL = "wss://smartapisocket.angelone.in/smart-stream"


class AngelFeed(BaseAccount):
    """The feed of one SmartAPI app and login; `repr` and errors never show the key or a token.

    The feed wants a token of its own besides the access token, and the client code. A login that was made
    here brings all of them; to a ready-made access token belong `client_code` and `feed_token`.
    """

    name = "angel"
    #: 08:45 in India, in seconds after midnight UTC.
    list_ready = LIST_READY
    #: Orders have a socket of their own at Angel.
    tells_orders = False

    def __init__(
        self,
        api_key: str,
        credentials: Credentials,
        *,
        client_code: str = "",
        feed_token: str = "",
        ws_url: str = WS_URL,
        http_url: str = "",
        book: TokenBook | None = None,
        limits: FeedLimits | None = None,
        provider: Provider | None = None,
        egress: Egress | None = None,
    ) -> None:
        """Nothing is dialled here; `provider` is asked when the token was refused or is about to expire.

        Angel ends its tokens at midnight; `login.renew` takes the next ones. The instrument list is on a host
        of its own, unless there is an `http_url`. The calls for it leave as the `egress` says, else as the
        environment does.
        """
        self._api_key = text("api_key", api_key)
        self._client_code = client_code
        self._feed_token = feed_token
        self._list_host = http_url or LIST_HOST
        super().__init__(
            credentials,
            provider,
            ws_url=ws_url,
            http_url=http_url or HTTP_URL,
            book=book,
            limits=limits if limits is not None else FeedLimits.load(__package__),
            egress=egress,
        )

    async def instruments(self) -> TokenBook:
        """Return the book of today's list, newly fetched; raises as `fetch_instruments` does."""
        return await fetch_instruments(self._list_host, egress=self._egress)

    async def endpoint(self) -> Endpoint:
        """Return the address, and the current credentials in the four headers in which Angel wants them."""
        credentials = self.login.credentials
        proof = {
            "Authorization": bearer(credentials.access_token),
            "x-api-key": self._api_key,
            "x-client-code": self._client_code or credentials.user,
            "x-feed-token": credentials.more.get(FEED_TOKEN, self._feed_token),
        }
        return Endpoint(self._ws_url, {"User-Agent": "brokerpool", **proof})

    def refused(self, status: int | None) -> DialRefusal:
        """Park for a 401, which is Angel's for each wrong header; its 403 says that calls come too fast."""
        return DialRefusal.BUSY if status == HTTPStatus.FORBIDDEN else usual_refusal(status)

    def rest(self) -> AngelRest:
        """Return the HTTP API of the same account, under the same login and instrument list."""
        return AngelRest(self._api_key, self.login, book=lambda: self.book, http_url=self.http_url)

    def wire(self) -> SmartStreamWire:
        """Return a new wire for a new socket."""
        return SmartStreamWire()
