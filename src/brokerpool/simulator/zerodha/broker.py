"""The simulated Zerodha: Kite's WebSocket and HTTP API, with Kite's limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from aiohttp import web

from brokerpool.brokers.rest import RestLimits
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.broker_interface import Limits, Wire
from brokerpool.simulator.listed_instruments import Naming
from brokerpool.simulator.orders import Order
from brokerpool.simulator.zerodha import instruments, json_shapes, wire
from brokerpool.simulator.zerodha.http import KiteApi
from brokerpool.simulator.zerodha.login import KiteLogin
from brokerpool.simulator.zerodha.subscriptions import KiteSubscriptions
from brokerpool.transport import UpgradeRequest


class KiteSimulator(SimulatedBroker):
    """A broker on this machine that speaks Kite's protocol; `async with` opens and closes it.

    `rate` is in ticks a second over the whole market; with 0 it trades only in `step`. The market is
    the same for the same `symbols`, `seed` and `clock`. With `replay`, the frames of a tape take the
    market's place (again from the start when `repeat`), and every token may be subscribed to. With
    `toxics`, none of them included, clients come to the WebSocket port through a `FaultProxy`. The limits
    (`max_sockets`, `max_tokens` of a socket, `heartbeat_seconds`, and `http_rates`: windows by group of
    endpoints, timed by `clock`) are those that the broker publishes when not given. `redirect_url` is where
    its login page leads. A block that is cancelled closes it; `start` and `down` are not to be cancelled, for
    a listener may stay behind.
    """

    name = "zerodha"
    #: The broker's own figures (its documentation, 2026).
    limits = Limits(
        max_sockets=3,
        max_tokens=3000,
        heartbeat_seconds=2.0,
        http_rates=RestLimits.load("brokerpool.brokers.zerodha").windows,
    )
    naming: ClassVar[Naming] = instruments

    @property
    def login_url(self) -> str:
        """The page on which a person logs in, without its query."""
        return f"{self.http_url}/connect/login"

    def _wire(self) -> Wire:
        return wire

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> KiteSubscriptions:
        return KiteSubscriptions(limit, lists)

    def _refusal(self, request: UpgradeRequest) -> str | None:
        right = self._accepts(request.query.get("api_key", ""), request.query.get("access_token", ""))
        return None if right else "Incorrect `api_key` or `access_token`."

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        login = KiteLogin(
            self.api_key,
            self.api_secret,
            redirect_url=self._redirect_url,
            clock=self._clock,
            accepts=self._accepts,
            began=self.renew_token,
            ended=self.expire_token,
        )
        api = KiteApi(
            self.listings,
            self.market.quotes,
            history=self._history,
            orders=self.orders,
            order_changed=self.tell_order,
            rates=self._rates,
            ledger=self._ledger,
            accepts=self._accepts,
            login=login,
        )
        api.add_routes(router)

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        return json_shapes.failure(status, message)

    def credentials(self) -> dict[str, str]:
        """Return what a client needs to log in."""
        return {
            "api_key": self.api_key,
            "access_token": self.access_token,
            "api_secret": self.api_secret,
            "login_url": self.login_url,
        }

    def login_page(self) -> str:
        """Return the address at which a person's browser begins to log in."""
        return f"{self.login_url}?v=3&api_key={self.api_key}"

    def tell_order(self, order: Order) -> None:
        """Tell every socket what has become of an order, as Kite does wherever the order was placed."""
        told = {"user_id": json_shapes.USER_ID, **json_shapes.order(order)}
        for socket in self._venue.sockets.values():
            if not self.faults.muted(socket.number):
                socket.say(wire.order_update(told))

    def _accepts(self, api_key: str, access_token: str) -> bool:
        right = (api_key, access_token) == (self.api_key, self.access_token)
        return right and not self.faults.token_expired


#: By which `brokerpool simulate` finds it.
Simulator = KiteSimulator
