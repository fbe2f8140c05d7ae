"""The simulated Angel One: SmartStream and the HTTP API, with Angel's limits."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from typing import Any, ClassVar

from aiohttp import web

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.simulator.angel import instruments, json_shapes, wire
from brokerpool.simulator.angel.fault_switches import AngelFaults, AngelOrder
from brokerpool.simulator.angel.http import AngelApi
from brokerpool.simulator.angel.login import AngelLogin, Tokens
from brokerpool.simulator.angel.subscriptions import SmartStreamSubscriptions
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.broker_interface import Grace, Limits, Wire
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.simulator.listed_instruments import Naming
from brokerpool.transport import Link, LinkHandler, Refusal, UpgradeRequest

_HOUR = 3600.0
_POLICY_VIOLATION = 1008
_QUOTES = (RateWindow(10, 1.0), RateWindow(500, 60.0), RateWindow(5000, _HOUR))
_CANDLES = (RateWindow(3, 1.0), RateWindow(500, 60.0), RateWindow(5000, _HOUR))


class AngelSimulator(SimulatedBroker):
    """A broker on this machine that speaks SmartStream; `async with` opens and closes it.

    `rate` is in ticks a second over the whole market; with 0 it trades only in `step`. The market is
    the same for the same `symbols`, `seed` and `clock`. With `replay`, the frames of a tape take the
    market's place (again from the start when `repeat`), and every token may be subscribed to. With
    `toxics`, none of them included, clients come to the WebSocket port through a `FaultProxy`. The limits
    (`max_sockets`, `max_tokens`: pairs of token and mode on a socket, and `http_rates`: windows by group of
    endpoints, timed by `clock`) are those that the broker publishes when not given; a client that says
    nothing for a minute is closed. `redirect_url` is where its login page leads. A block that is cancelled
    closes it; `start` and `down` are not to be cancelled, for a listener may stay behind.
    """

    name = "angel"
    #: The broker's own figures (its documentation and forum, 2026), but for the minute: twice what it asks.
    limits = Limits(
        max_sockets=3,
        max_tokens=1000,
        heartbeat_seconds=float("inf"),
        http_rates={
            "quote": _QUOTES,
            "historical": _CANDLES,
            "profile": (RateWindow(3, 1.0), RateWindow(1000, _HOUR)),
            "login": (RateWindow(1, 1.0),),
            "logout": (RateWindow(1, 1.0),),
        },
        silence=Grace(60.0, 1001, "no heartbeat"),
    )
    naming: ClassVar[Naming] = instruments
    order_type: ClassVar[type[FaultOrder]] = AngelOrder
    wrong_credentials = 401
    faults: AngelFaults

    def __init__(self, **options: Any) -> None:  # noqa: ANN401  (those of SimulatedBroker)
        self.client_code = "SIM001"
        #: What the feed wants besides the access token.
        self.feed_token = secrets.token_hex(16)
        super().__init__(**options)

    @property
    def login_url(self) -> str:
        """The page on which a person logs in, without its query."""
        return f"{self.http_url}/publisher-login"

    def credentials(self) -> dict[str, str]:
        """Return what a client needs to log in; the API secret is the PIN."""
        fields = {"client_code": self.client_code, "feed_token": self.feed_token}
        return {
            "api_key": self.api_key,
            "access_token": self.access_token,
            "api_secret": self.api_secret,
            "login_url": self.login_url,
            "login_fields": json.dumps(fields, separators=(",", ":")),
        }

    def login_page(self) -> str:
        """Return the address at which a person's browser begins to log in."""
        return f"{self.login_url}?api_key={self.api_key}"

    # -- what a front says --------------------------------------------------------------------------------

    def _switches(self) -> AngelFaults:
        return AngelFaults()

    def _wire(self) -> Wire:
        return wire

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> SmartStreamSubscriptions:
        return SmartStreamSubscriptions(limit, lists)

    def _refusal(self, request: UpgradeRequest) -> str | None:
        """The browser's way of saying them is in the query."""
        given, query = request.headers, request.query
        token = given.get("Authorization", "").removeprefix("Bearer ")
        by_query = not token and "feedToken" in query
        if self.faults.token_expired or not (by_query or token == self.access_token):
            return "Invalid Header - Invalid Auth token"
        proofs = {
            "Client Code": (given.get("x-client-code") or query.get("clientCode"), self.client_code),
            "API Key": (given.get("x-api-key") or query.get("apiKey"), self.api_key),
            "Feed Token": (given.get("x-feed-token") or query.get("feedToken"), self.feed_token),
        }
        wrong = [name for name, (said, right) in proofs.items() if said != right]
        return f"Invalid Header - Invalid {wrong[0]}" if wrong else None

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        login = AngelLogin(
            self.api_key,
            self.client_code,
            self.api_secret,
            redirect_url=self._redirect_url,
            clock=self._clock,
            began=self._began,
            ended=self.expire_token,
        )
        api = AngelApi(
            self.listings,
            self.market.quotes,
            history=self._history,
            rates=self._rates,
            ledger=self._ledger,
            refusal=self._call_refusal,
            login=login,
            client_code=self.client_code,
        )
        api.add_routes(router)

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        return json_shapes.failure(status, message)

    def _accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        answer = super()._accept(request)
        extra = isinstance(answer, Refusal) and answer.status == web.HTTPTooManyRequests.status_code
        return _Unwelcome() if extra and self.faults.closes_extra else answer

    def _began(self, tokens: Tokens) -> None:
        self.feed_token = tokens.feed_token
        self.renew_token(tokens.access_token)

    def _call_refusal(self, api_key: str, access_token: str) -> tuple[str, str] | None:
        if api_key != self.api_key:
            return "AG8004", "Invalid API Key"
        if access_token != self.access_token:
            return "AG8001", "Invalid Token"
        return (self.faults.dead_code, "Token Expired") if self.faults.token_expired else None


class _Unwelcome(LinkHandler):
    """A socket too many that is let in all the same."""

    def opened(self, link: Link) -> None:
        link.close(_POLICY_VIOLATION, "extra connection")


#: By which `brokerpool simulate` finds it.
Simulator = AngelSimulator
