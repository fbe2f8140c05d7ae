"""One Upstox account: where to dial, which it asks before each dial, its limits, and its instrument list."""

from __future__ import annotations

import time
from urllib.parse import urlsplit, urlunsplit

from brokerpool.brokers.account import DialRefusal, Endpoint
from brokerpool.brokers.base_account import BaseAccount
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Credentials, Provider
from brokerpool.brokers.rest import RestAnswer, RestRequest
from brokerpool.brokers.upstox.codec import UpstoxWire
from brokerpool.brokers.upstox.instruments import LIST_HOST, LIST_READY, fetch_instruments
from brokerpool.brokers.upstox.rest import ADDRESS, UpstoxRest, address, fault, proof
from brokerpool.egress import Egress
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import TokenBook

#: Where Upstox is reached (Upstox documentation; looked up 2026-11-22).
HTTP_URL = "https://api.upstox.com"

#: What the question for an address may take of a dial's ten seconds: the rest is for the handshake.
ADDRESS_SECONDS = 5.0

_HEADERS = {"User-Agent": "brokerpool"}
#: What is refused at the handshake, where a token that was good a moment ago carries the address.
_BUSY = (403, 429)


class UpstoxFeed(BaseAccount):
    """The feed of one Upstox login; `repr` and errors never show the token or an address with its code.

    Each dial has an address of its own, which works once. It is asked for over `ask`, which counts in the
    account's rates; without one, in a call of its own.
    """

    name = "upstox"
    #: 08:45 in India, in seconds after midnight UTC.
    list_ready = LIST_READY

    def __init__(
        self,
        access_token: str,
        *,
        ws_url: str = "",
        http_url: str = HTTP_URL,
        book: TokenBook | None = None,
        limits: FeedLimits | None = None,
        provider: Provider | None = None,
        egress: Egress | None = None,
    ) -> None:
        """Nothing is dialled here; `provider` is asked when the token was refused or is about to expire.

        Upstox's token dies at 03:30; `login.renew` takes the next one. With a `ws_url` its scheme, host and
        port take the place of those that Upstox names, for a proxy on the way. The calls for the list and for
        an address leave as the `egress` says, else as the environment does.
        """
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
        host = LIST_HOST if self.http_url == HTTP_URL else self.http_url
        return await fetch_instruments(host, egress=self._egress)

    async def endpoint(self) -> Endpoint:
        """Return the address that Upstox gives for one dial, in 5 s at most.

        Raises BrokerError: BROKER_REFUSED_CREDENTIALS for a token that is dead, and what `ask` raises.
        """
        told = address(await (self.ask or self._asked_alone)(ADDRESS, timeout=ADDRESS_SECONDS))
        scheme, host, path, query, _ = urlsplit(told)
        allowed = ("wss",) if self.http_url.startswith("https:") else ("ws", "wss")
        if scheme not in allowed or not host:
            raise BrokerError(
                f"Upstox gave an address for the feed that is not {' or '.join(allowed)}.",
                code=ErrorCode.BROKER_UNREACHABLE,
            )
        if self._ws_url:
            scheme, host, *_ = urlsplit(self._ws_url)
        return Endpoint(urlunsplit((scheme, host, path, query, "")), _HEADERS)

    async def _asked_alone(self, request: RestRequest, *, timeout: float) -> RestAnswer:
        # Loaded here, for it needs aiohttp, which takes a third of a second.
        from brokerpool.brokers.http_call import call

        answer = await call(
            "GET",
            f"{self.http_url.rstrip('/')}{request.path}",
            headers=proof(self.login.credentials),
            egress=self._egress or Egress(),
            timeout=timeout,
        )
        complaint = fault(answer)
        if complaint is not None:
            raise complaint
        return answer

    def refused(self, status: int | None) -> DialRefusal:
        """Tell a busy broker from a fault: what a token is worth has shown when the address was asked for."""
        return DialRefusal.BUSY if status in _BUSY else DialRefusal.TRY_ON

    def rest(self) -> UpstoxRest:
        """Return the HTTP API of the same account, under the same login and instrument list."""
        return UpstoxRest(self.login, book=lambda: self.book, http_url=self.http_url, wall_clock=time.time)

    def wire(self) -> UpstoxWire:
        """Return a new wire for a new socket."""
        return UpstoxWire()
