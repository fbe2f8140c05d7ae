"""The simulated Dhan: its market feed and its HTTP API, with Dhan's limits."""

from __future__ import annotations

import asyncio
import math
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, ClassVar

import msgspec
from aiohttp import web

from brokerpool.brokers.rest import RestLimits
from brokerpool.brokers.wire import Farewell
from brokerpool.simulator.broadcast import MarketBroadcast
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.broker_interface import Limits, Pings
from brokerpool.simulator.dhan import depth20, instruments, json_shapes, wire
from brokerpool.simulator.dhan.depth20 import Depth20Feed
from brokerpool.simulator.dhan.http import PREFIX, DhanApi
from brokerpool.simulator.dhan.subscriptions import DhanSubscriptions
from brokerpool.simulator.dhan.wire import DhanPackets
from brokerpool.simulator.listed_instruments import Naming
from brokerpool.transport import LinkHandler, Refusal, UpgradeRequest

#: How long a token lives (DhanHQ v2 documentation, authentication).
TOKEN_SECONDS = 24 * 3600
#: Codes with which a socket is told why it ends.
_LAST_WORDS = {Farewell.EVICTED: wire.TOO_MANY_SOCKETS, Farewell.CREDENTIALS: wire.TOKEN_EXPIRED}


class DhanSimulator(SimulatedBroker):
    """A broker on this machine that speaks Dhan's protocol; `async with` opens and closes it.

    `rate` is in ticks a second over the whole market; with 0 it trades only in `step`. The market is the same
    for the same `symbols`, `seed` and `clock`. With `replay`, the frames of a tape take the market's place.
    With `toxics`, none of them included, clients come to the WebSocket port through a `FaultProxy`. Limits
    (`max_sockets`, `max_tokens` of a socket, `ping_seconds`, and `http_rates`: windows by group of endpoints)
    are those that the broker publishes when not given.

    What it does not document are switches: `packets_a_message` stand in a message; a dial with wrong
    credentials is refused with 401 where `refuses_dials`, else let in and ended with a packet; a request for
    too much ends the socket unless `over_limit_ends` is False. The `api_key` is the client id. A block that
    is cancelled closes it; `start` and `down` are not to be cancelled, for a listener may stay behind.
    """

    name = "dhan"
    #: The broker's own figures (its documentation, 2026).
    limits = Limits(
        max_sockets=5,
        max_tokens=5000,
        heartbeat_seconds=math.inf,
        http_rates=RestLimits.load("brokerpool.brokers.dhan").windows,
        pings=Pings(10.0, 40.0),
        evicts=True,
    )
    naming: ClassVar[Naming] = instruments
    wrong_credentials = 401

    def __init__(
        self,
        *,
        api_key: str | None = None,
        access_token: str | None = None,
        clock: Callable[[], float] = time.time,
        packets_a_message: int = 1,
        refuses_dials: bool = False,
        over_limit_ends: bool = True,
        snapshot: bool = True,
        **options: Any,  # noqa: ANN401  (the others of SimulatedBroker)
    ) -> None:
        self._packets_a_message = packets_a_message
        self._refuses_dials = refuses_dials
        self._over_limit_ends = over_limit_ends
        self._token_ends = clock() + TOKEN_SECONDS
        #: False: the account has not paid for the data APIs.
        self.subscribed = True
        client_id = api_key or f"11{secrets.randbelow(10**8):08d}"
        token = access_token or make_token(client_id, self._token_ends)
        super().__init__(api_key=client_id, access_token=token, clock=clock, snapshot=snapshot, **options)
        #: The second endpoint, with the 20-level depth; a tape has none.
        self.depth20 = Depth20Feed(self.market, fault=self._login_fault, clock=clock, snapshot=snapshot)
        if isinstance(self._source, MarketBroadcast):
            self._source.second = self.depth20

    @property
    def http_url(self) -> str:
        """The base of the HTTP API; the list is beside it, as if on the broker's other host."""
        return f"{super().http_url}{PREFIX}"

    def credentials(self) -> dict[str, str]:
        """Return what a client needs to log in."""
        return {"api_key": self.api_key, "access_token": self.access_token}

    def login_page(self) -> None:
        """There is none: a token is copied from the broker's own page."""

    def stats(self) -> dict[str, Any]:
        """Return the counters since the start; those of the second endpoint stand under `depth20`."""
        return {**super().stats(), "depth20": self.depth20.stats()}

    def expire_token(self, *, close_sockets: bool = False) -> None:
        """Let the access token die: dials and quotes are refused until `renew_token`."""
        super().expire_token(close_sockets=close_sockets)
        if close_sockets:
            self.depth20.end_all(wire.TOKEN_EXPIRED)

    async def down(self) -> None:
        """Abort every socket and stop listening for new ones: TCP is refused; HTTP answers 503."""
        self.depth20.abort()
        await super().down()

    # -- what a front says --------------------------------------------------------------------------------

    def _accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        if request.path != depth20.PATH:
            return super()._accept(request)
        return self.depth20.accept(request, asyncio.get_running_loop().time() - self._started)

    def _wire(self) -> DhanPackets:
        return DhanPackets(self._packets_a_message)

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> DhanSubscriptions:
        return DhanSubscriptions(limit, lists, self.market.quotes, over_limit_ends=self._over_limit_ends)

    def _last_words(self, why: Farewell) -> bytes | None:
        return wire.disconnect(_LAST_WORDS[why])

    def _dismissal(self, request: UpgradeRequest) -> bytes | None:
        reason = self._fault(request)
        return None if reason is None or self._refuses_dials else wire.disconnect(reason)

    def _refusal(self, request: UpgradeRequest) -> str | None:
        reason = self._fault(request)
        return None if reason is None else f"{reason}: the client id or the access token is not valid."

    def _fault(self, request: UpgradeRequest) -> int | None:
        """Return the code of what is wrong with a dial, None for a good one."""
        if request.query.get("version") != "2":
            return wire.INVALID_REQUEST
        reason = self._login_fault(request)
        return wire.NOT_SUBSCRIBED if reason is None and not self.subscribed else reason

    def _login_fault(self, request: UpgradeRequest) -> int | None:
        """Return the code of what is wrong with a dial's credentials, None for good ones."""
        said = request.query
        if said.get("authType") != "2":
            return wire.INVALID_REQUEST
        if said.get("clientId") != self.api_key:
            return wire.CLIENT_INVALID
        if self.faults.token_expired:
            return wire.TOKEN_EXPIRED
        if said.get("token") != self.access_token:
            return wire.TOKEN_INVALID
        return None

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        api = DhanApi(
            self.listings,
            self.market.quotes,
            client_id=self.api_key,
            history=self._history,
            rates=self._rates,
            ledger=self._ledger,
            accepts=self._accepts,
            subscribed=lambda: self.subscribed,
            token_ends=lambda: self._token_ends,
            renew=self._renew,
        )
        api.add_routes(router)

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        return json_shapes.failure(status, message)

    def _accepts(self, client_id: str, access_token: str) -> bool:
        # The candles are asked for without a client id.
        right = client_id in ("", self.api_key) and access_token == self.access_token
        return right and not self.faults.token_expired

    def _renew(self) -> str:
        self._token_ends = self._clock() + TOKEN_SECONDS
        self.renew_token(make_token(self.api_key, self._token_ends))
        return self.access_token


def make_token(client_id: str, ends: float) -> str:
    """Return an access token that says of itself what Dhan's do: whose it is, and when it ends."""
    parts = ({"typ": "JWT", "alg": "HS512"}, {"iss": "dhan", "exp": int(ends), "dhanClientId": client_id})
    coded = [urlsafe_b64encode(msgspec.json.encode(part)).decode().rstrip("=") for part in parts]
    return ".".join((*coded, secrets.token_urlsafe(32)))


#: By which `brokerpool simulate` finds it.
Simulator = DhanSimulator
