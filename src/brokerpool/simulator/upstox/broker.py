"""The simulated Upstox: its market data feed v3 and its HTTP API, with Upstox's limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from brokerpool.brokers.rest import RestLimits
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.broker_interface import Limits, Pings
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.simulator.listed_instruments import Naming
from brokerpool.simulator.upstox import instruments, json_shapes
from brokerpool.simulator.upstox.dial_codes import Addresses
from brokerpool.simulator.upstox.fault_switches import UpstoxFaults, UpstoxOrder
from brokerpool.simulator.upstox.http import UpstoxApi
from brokerpool.simulator.upstox.login import DIALOG_PATH, UpstoxLogin
from brokerpool.simulator.upstox.subscriptions import UpstoxSubscriptions
from brokerpool.simulator.upstox.wire import UpstoxWire
from brokerpool.transport import UpgradeRequest


class UpstoxSimulator(SimulatedBroker):
    """A broker on this machine that speaks Upstox's protocol; `async with` opens and closes it.

    `rate` is in ticks a second over the whole market; with 0 it trades only in `step`. The market is
    the same for the same `symbols`, `seed` and `clock`. With `replay`, the frames of a tape take the
    market's place. With `toxics`, none of them included, clients come to the WebSocket port through a
    `FaultProxy`. The limits (`max_sockets`; `max_tokens` lowers that of every mode on a socket; `http_rates`:
    windows by group of endpoints) are those that the broker publishes when not given. What it does not
    publish can be set: `ping_seconds`, and `too_many_sockets`, the status of a dial too many. `redirect_url`
    is the address that the app is registered with. The switches are in `faults`, of which `throw` takes an
    `UpstoxOrder`. A block that is cancelled closes it; `start` and `down` are not to be cancelled, for a
    listener may stay behind.
    """

    name = "upstox"
    #: The broker's own figures (its documentation, 2026); how often it pings it does not say.
    limits = Limits(
        max_sockets=2,
        max_tokens=5000,
        heartbeat_seconds=math.inf,
        http_rates=RestLimits.load("brokerpool.brokers.upstox").windows,
        pings=Pings(10.0, 20.0),
    )
    naming: ClassVar[Naming] = instruments
    order_type: ClassVar[type[FaultOrder]] = UpstoxOrder
    faults: UpstoxFaults

    def __init__(self, *, too_many_sockets: int = 403, **options: Any) -> None:  # noqa: ANN401  (those of SimulatedBroker)
        self._addresses = Addresses(lambda: self.ws_url)
        super().__init__(**options)
        self.too_many_sockets = too_many_sockets

    @property
    def login_url(self) -> str:
        """The page on which a person logs in, without its query."""
        return f"{self.http_url}{DIALOG_PATH}"

    @property
    def redirect_url(self) -> str:
        """The address to which a login leads; a page of the broker's own where none was given."""
        return self._redirect_url or f"{self.http_url}/login/finished"

    def credentials(self) -> dict[str, str]:
        """Return what a client needs to log in."""
        return {
            "api_key": self.api_key,
            "access_token": self.access_token,
            "api_secret": self.api_secret,
            "login_url": self.login_url,
            "login_fields": msgspec.json.encode({"redirect_uri": self.redirect_url}).decode(),
        }

    def login_page(self) -> str:
        """Return the address at which a person's browser begins to log in."""
        query = {"response_type": "code", "client_id": self.api_key, "redirect_uri": self.redirect_url}
        return f"{self.login_url}?{urlencode(query)}"

    # -- what a front says --------------------------------------------------------------------------------

    def _switches(self) -> UpstoxFaults:
        return UpstoxFaults()

    def _wire(self) -> UpstoxWire:
        self._messages = UpstoxWire(self.listings, self._clock)
        return self._messages

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> UpstoxSubscriptions:
        return UpstoxSubscriptions(limit, self._messages.tokens)

    def _greeting(self) -> Sequence[bytes]:
        return (self._messages.greeting(),)

    def _refusal(self, request: UpgradeRequest) -> str | None:
        right = self._addresses.take(request.path, request.query.get("code", ""))
        return None if right and not self.faults.token_expired else "The code is used, or was never given."

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        login = UpstoxLogin(
            self.api_key,
            self.api_secret,
            redirect_url=lambda: self.redirect_url,
            clock=self._clock,
            began=self.renew_token,
            ended=self.expire_token,
        )
        api = UpstoxApi(
            self.listings,
            self.market.quotes,
            history=self._history,
            rates=self._rates,
            ledger=self._ledger,
            faults=self.faults,
            accepts=self._accepts,
            addresses=self._addresses,
            login=login,
            clock=self._clock,
        )
        api.add_routes(router)

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        return json_shapes.failure(status, message)

    def _accepts(self, access_token: str) -> bool:
        return access_token == self.access_token and not self.faults.token_expired


#: By which `brokerpool simulate` finds it.
Simulator = UpstoxSimulator
