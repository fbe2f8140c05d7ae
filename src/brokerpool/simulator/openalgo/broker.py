"""The simulated OpenAlgo: its WebSocket server and its REST API, some broker behind them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from aiohttp import web

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.broker_interface import Grace, Limits, Subscriptions
from brokerpool.simulator.fault_proxy.toxics import Toxic
from brokerpool.simulator.fault_switches import FaultOrder
from brokerpool.simulator.listed_instruments import Naming
from brokerpool.simulator.openalgo import instruments, json_shapes, wire
from brokerpool.simulator.openalgo.fault_switches import OpenAlgoFaults, OpenAlgoOrder, Variety
from brokerpool.simulator.openalgo.http import GROUP, OpenAlgoApi
from brokerpool.simulator.openalgo.order_routes import OrderDesk
from brokerpool.simulator.openalgo.session import OpenAlgoSession, Server
from brokerpool.simulator.openalgo.wire import OpenAlgoWire
from brokerpool.simulator.orders import Order
from brokerpool.transport import UpgradeRequest

_AUTH_TIMEOUT = 4401
#: A state that clients of OpenAlgo are not told of.
_ON_ITS_WAY = "PUT ORDER REQ RECEIVED"


class OpenAlgoSimulator(SimulatedBroker):
    """An OpenAlgo server on this machine; `async with` opens and closes it.

    `rate` is in ticks a second over the whole market; with 0 it trades only in `step`. The market is
    the same for the same `symbols`, `seed` and `clock`. With `replay`, the frames of a tape take the market's
    place. With `toxics`, none of them included, clients come to the WebSocket port through a `FaultProxy`.
    OpenAlgo itself limits neither sockets nor symbols; `max_sockets` and `max_tokens` of a socket do, for
    the broker behind it, whose name is `behind`. `http_rates` are the windows of the group `api`: one of 50
    calls a second when not given. A right key is answered after `login_delay_ms`; a socket without one is
    closed after `login_seconds`. `variety` is how the broker behind writes ticks: `plain`, `seconds` (in
    timestamps), `aliases` (other names for the same), `sparse` (members are missing). These and the other
    switches are in `faults`, of which `throw` takes an `OpenAlgoOrder`. A block that is cancelled closes it;
    `start` and `down` are not to be cancelled, for a listener may stay behind.
    """

    name = "openalgo"
    limits = Limits(
        max_sockets=math.inf,
        max_tokens=math.inf,
        heartbeat_seconds=math.inf,
        http_rates={GROUP: (RateWindow(50, 1.0),)},
        login=Grace(15.0, _AUTH_TIMEOUT, "auth timeout"),
    )
    naming: ClassVar[Naming] = instruments
    order_type: ClassVar[type[FaultOrder]] = OpenAlgoOrder
    faults: OpenAlgoFaults

    def __init__(
        self,
        *,
        symbols: int = 100,
        rate: float = 100.0,
        seed: int = 0,
        port: int = 0,
        api_key: str | None = None,
        behind: str = "zerodha",
        max_sockets: int | None = None,
        max_tokens: int | None = None,
        http_rates: Mapping[str, Sequence[RateWindow]] | None = None,
        login_seconds: float = 15.0,
        login_delay_ms: float = 0.0,
        variety: Variety = "plain",
        latency_ms: float = 0.0,
        replay: Path | None = None,
        repeat: bool = True,
        toxics: Mapping[str, Toxic] | None = None,
        redirect_url: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.behind = behind
        self._tokens: dict[tuple[str, str], int] = {}
        super().__init__(
            symbols=symbols,
            rate=rate,
            seed=seed,
            port=port,
            api_key=api_key,
            max_sockets=max_sockets,
            max_tokens=max_tokens,
            http_rates=http_rates,
            snapshot=False,  # a new subscriber waits for the next tick
            latency_ms=latency_ms,
            replay=replay,
            repeat=repeat,
            toxics=toxics,
            redirect_url=redirect_url,
            clock=clock,
        )
        self._tokens.update({(row.exchange, row.tradingsymbol): row.token for row in self.listings})
        self.faults.login_delay_ms = login_delay_ms
        self.faults.variety = variety
        self._venue.login = Grace(login_seconds, _AUTH_TIMEOUT, "auth timeout")
        self.orders.changed = self._order_changed

    def credentials(self) -> dict[str, str]:
        """Return what a client needs to log in."""
        return {"api_key": self.api_key}

    def login_page(self) -> None:
        """There is none: the key is all."""

    def renew_token(self, access_token: str) -> None:
        """Make this the only key from now on; sockets that are open stay logged in."""
        self.api_key = access_token
        super().renew_token(access_token)

    def tell_order_update(self, update: Mapping[str, Any]) -> None:
        """Send an order update to whoever asked for them, as often as `repeat_updates` says."""
        message = wire.text(update)
        for _ in range(self.faults.repeat_updates):
            self._venue.tell(message, _hears_orders)

    # -- what a front says --------------------------------------------------------------------------------

    def _switches(self) -> OpenAlgoFaults:
        return OpenAlgoFaults()

    def _wire(self) -> OpenAlgoWire:
        return OpenAlgoWire(self.listings, self.faults, self.behind, self._clock)

    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> OpenAlgoSession:
        server = Server(self.faults, self._accepts, self.behind, self._tokens, self._clock)
        return OpenAlgoSession(server, limit)

    def _refusal(self, request: UpgradeRequest) -> None:
        """Everybody may dial: a client says on the socket who it is."""

    def _add_routes(self, router: web.UrlDispatcher) -> None:
        api = OpenAlgoApi(
            self.listings,
            self.market.quotes,
            history=self._history,
            orders=OrderDesk(self.orders, self.listings, self.market.quotes),
            rates=self._rates,
            ledger=self._ledger,
            accepts=self._accepts,
            broker=self.behind,
        )
        api.add_routes(router)

    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        if status == web.HTTPTooManyRequests.status_code:
            seconds = json_shapes.RETRY_AFTER if retry_after is None else retry_after
            return json_shapes.failure(status, message, retry_after=seconds)
        return json_shapes.failure(status, message)

    def _accepts(self, api_key: str) -> bool:
        return api_key == self.api_key and not self.faults.token_expired

    def _order_changed(self, order: Order) -> None:
        if order.status != _ON_ITS_WAY:
            self.tell_order_update(json_shapes.order_update(order, self.behind))


def _hears_orders(subscriptions: Subscriptions) -> bool:
    return isinstance(subscriptions, OpenAlgoSession) and subscriptions.hears_orders


#: By which `brokerpool simulate` finds it.
Simulator = OpenAlgoSimulator
