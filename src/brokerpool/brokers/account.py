"""One account at one broker: what a pool and a gateway need of it."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from enum import Enum
from http import HTTPStatus
from typing import NamedTuple, Protocol

from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.login import Login
from brokerpool.brokers.rest import RestAnswer, RestCodec, RestRequest
from brokerpool.brokers.wire import Wire
from brokerpool.instruments import TokenBook


class Endpoint(NamedTuple):
    """Where to dial and with which headers; both may carry secrets, so `repr` shows the host only."""

    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<Endpoint {self.url.partition('?')[0]}>"


class DialRefusal(Enum):
    """What a refused dial says of the next one; a Retry-After is kept to in any case."""

    #: Nothing: another dial is made after a rest.
    TRY_ON = "try on"
    #: The broker is there and wants no further socket of this account for now.
    BUSY = "busy"
    #: No dial makes sense before there are new credentials.
    PARK = "park"


def usual_refusal(status: int | None) -> DialRefusal:
    """Return what most brokers mean by a refused handshake's HTTP status: 401 and 403 park, 429 is busy."""
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return DialRefusal.PARK
    return DialRefusal.BUSY if status == HTTPStatus.TOO_MANY_REQUESTS else DialRefusal.TRY_ON


class Ask(Protocol):
    """Asks the account's broker over HTTP, under the account's login and rate limits: `BrokerApi.ask`."""

    def __call__(self, request: RestRequest, *, timeout: float) -> Awaitable[RestAnswer]: ...


class Account(Protocol):
    """One account at one broker, as far as a `WebSocketPool` needs it."""

    #: The broker's name as clients see it, in lower case.
    name: str
    limits: FeedLimits
    #: The instruments that can be asked for.
    book: TokenBook
    #: The account's credentials; `endpoint` uses the present version.
    login: Login
    #: False where its sockets never tell what becomes of orders, so that none is held open for that.
    tells_orders: bool = True
    #: What `endpoint` asks the broker with, where an address has to be had first; None without a `BrokerApi`.
    ask: Ask | None = None

    async def endpoint(self) -> Endpoint:
        """Return where to dial now; asked for again before every dial, so that fresh credentials are used."""
        ...

    def refused(self, status: int | None) -> DialRefusal:
        """Tell what a refused dial says of the next one, by the HTTP status if there was an answer."""
        return usual_refusal(status)

    def wire(self) -> Wire:
        """Return a new wire for a new socket."""
        ...


class FullAccount(Account, Protocol):
    """One account with all that a gateway needs: its instrument list and its HTTP API besides the feed."""

    #: From when on the broker has the list of a day, in seconds after midnight UTC.
    list_ready: int

    #: Where the HTTP API is.
    http_url: str

    #: The broker's deeper order book, where that is a feed of its own and the account has it, else None. Its
    #: ticks are in depth mode whatever is wanted, with the levels and no price of a trade: `ltp` is 0. Its
    #: credentials follow the account's; what is refused there leaves the account's own feed alone.
    deep_book: Account | None = None

    async def instruments(self) -> TokenBook:
        """Return the book of today's list, newly fetched with the present credentials; raises BrokerError."""
        ...

    def relist(self, book: TokenBook) -> None:
        """Use the instrument list of a new day; `WebSocketPool.relist` brings the subscriptions into line."""
        ...

    def rest(self) -> RestCodec:
        """Return the HTTP API of the same account, under the same login and instrument list."""
        ...
