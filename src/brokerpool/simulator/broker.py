"""What all simulated brokers share: market, faults, orders, sockets, HTTP and control, on loopback.

A subclass adds the broker's wire, names, limits and endpoints. What brokers do not document is assumed: a
subscribe and a change of mode are answered at once with the last known packet (`snapshot=False` turns that
off); a token that expires leaves open sockets alone unless told otherwise; the order in which dials are
checked is fault, credentials, number of sockets.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, ClassVar, Self

from aiohttp import web
from msgspec import UNSET

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.wire import Farewell
from brokerpool.simulator.account_state import Venue
from brokerpool.simulator.broadcast import MarketBroadcast, TapeBroadcast
from brokerpool.simulator.broker_interface import Limits, Subscriptions, Wire
from brokerpool.simulator.client_socket import ClientSocket, DismissedSocket
from brokerpool.simulator.control_endpoint import control_app
from brokerpool.simulator.exchange import Market
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import Toxic
from brokerpool.simulator.fault_switches import FaultOrder, Faults
from brokerpool.simulator.history import History
from brokerpool.simulator.http_faults import HttpFaults
from brokerpool.simulator.http_listener import HttpListener
from brokerpool.simulator.listed_instruments import Naming, listings, with_recorded
from brokerpool.simulator.orders import OrderBook
from brokerpool.simulator.recording import TapeReader
from brokerpool.simulator.request_rates import RequestRates
from brokerpool.simulator.socket_listener import SocketListener
from brokerpool.simulator.tick_rate import Metronome
from brokerpool.simulator.traffic_ledger import Ledger
from brokerpool.transport import LinkHandler, Refusal, UpgradeRequest

logger = logging.getLogger("brokerpool.simulator")

#: How a socket is closed that makes place for a newer one, where the newer one is not refused.
EVICTED = 4805

_LOOPBACK = "127.0.0.1"
_GOING_AWAY = 1001
_SWITCHING_PROTOCOLS = 101


class SimulatedBroker(ABC):
    """A broker on this machine; its front, a subclass, says what its clients can tell it from another one by.

    The parameters mean the same at every broker, and are told in the docstring of each front, where users
    meet them. `start` and `down` are not to be cancelled, for a listener may stay behind.
    """

    #: That of the front's folder.
    name: ClassVar[str]
    limits: ClassVar[Limits]
    naming: ClassVar[Naming]
    #: How a dial with wrong credentials is answered.
    wrong_credentials: ClassVar[int] = 403
    #: How a dial is answered that is one socket too many.
    too_many_sockets: int = 429
    #: The words of `POST /faults`.
    order_type: ClassVar[type[FaultOrder]] = FaultOrder

    def __init__(
        self,
        *,
        symbols: int = 100,
        rate: float = 100.0,
        seed: int = 0,
        port: int = 0,
        api_key: str | None = None,
        access_token: str | None = None,
        redirect_url: str | None = None,
        max_sockets: int | None = None,
        max_tokens: int | None = None,
        http_rates: Mapping[str, Sequence[RateWindow]] | None = None,
        heartbeat_seconds: float | None = None,
        ping_seconds: float | None = None,
        snapshot: bool = True,
        latency_ms: float = 0.0,
        replay: Path | None = None,
        repeat: bool = True,
        toxics: Mapping[str, Toxic] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        limits = self.limits
        self.api_key = api_key or f"sim{secrets.token_hex(6)}"
        self.access_token = access_token or secrets.token_hex(16)
        self.api_secret = secrets.token_hex(16)
        self._redirect_url = redirect_url
        self._clock = clock
        #: The switches; all but `token_expired` and `down` may be set as they are.
        self.faults = self._switches()
        self.faults.latency_ms = latency_ms
        #: What the broker saw of its clients.
        self._ledger = Ledger()
        #: What was ordered over HTTP.
        self.orders = OrderBook(clock)
        self._rates = RequestRates(limits.http_rates if http_rates is None else http_rates, clock)
        metronome = Metronome(rate)
        rows = listings(symbols, date.fromtimestamp(clock()), self.naming)
        tape = TapeReader(replay) if replay else None
        if tape and tape.header.broker not in (None, self.name):
            raise ValueError(f"{replay} is a tape of {tape.header.broker!r}; {self.name} cannot play it")
        self.listings = with_recorded(rows, tape.header.instruments if tape else (), self.naming)
        self.market = Market(self.listings, seed=seed, clock=clock)
        self._history = History(self.listings, seed=seed, clock=clock)
        wire = self._wire()
        self._source = (
            TapeBroadcast(tape, repeat, wire) if tape else MarketBroadcast(self.market, metronome, wire)
        )
        self._max_sockets = limits.max_sockets if max_sockets is None else max_sockets
        self._max_tokens = limits.max_tokens if max_tokens is None else max_tokens
        self._heartbeat_seconds = limits.heartbeat_seconds if heartbeat_seconds is None else heartbeat_seconds
        self._numbers = itertools.count(1)
        self._venue = Venue(
            self._source,
            wire,
            lambda: self._subscriptions(self._max_tokens, self._source.lists),
            self.faults,
            self._ledger,
            snapshot,
            limits.login,
            limits.silence,
            self._greeting,
        )
        self._sockets = SocketListener(
            self._venue,
            self._accept,
            host=_LOOPBACK,
            port=port,
            pings=limits.pings if ping_seconds is None else limits.pings._replace(seconds=ping_seconds),
            toxics=toxics,
            random=Random(seed),
        )
        app = web.Application(middlewares=[HttpFaults(self.faults, self._ledger, self._failure).middleware])
        self._add_routes(app.router)
        self._http = HttpListener(app, self.faults.resets_unread)
        self._control = HttpListener(control_app(self))
        self._tasks: list[asyncio.Task[None]] = []
        self._started = 0.0

    # -- what a front says --------------------------------------------------------------------------------

    @abstractmethod
    def _wire(self) -> Wire:
        """Return the messages that carry ticks; said once, when `listings` are there."""

    def _switches(self) -> Faults:
        """Return the switches that there are, all off."""
        return Faults()

    @abstractmethod
    def _subscriptions(self, limit: float, lists: Callable[[int], bool]) -> Subscriptions:
        """Return what reads the requests of a new socket; `lists` tells which tokens there are."""

    def _last_words(self, why: Farewell) -> bytes | None:
        """Return what a socket is told, as a message of the wire's kind, before the broker ends it."""
        return None

    def _greeting(self) -> Sequence[bytes]:
        """Return what a new socket is told before anything else, as messages of the wire's kind."""
        return ()

    @abstractmethod
    def _refusal(self, request: UpgradeRequest) -> str | None:
        """Return what is wrong with a dial's credentials, None when they are right."""

    def _dismissal(self, request: UpgradeRequest) -> bytes | None:
        """Return the last words for a dial that is let in and ended at once; None for every other one."""
        return None

    @abstractmethod
    def _add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the endpoints of the HTTP API; said once, when all but the listeners is there."""

    @abstractmethod
    def _failure(self, status: int, message: str, retry_after: int | None = None) -> web.Response:
        """Return an error as the broker's HTTP API tells it; dials that are refused get it too.

        `retry_after` is what a Retry-After header says besides, added by others.
        """

    @abstractmethod
    def credentials(self) -> dict[str, str]:
        """Return what a client needs to log in, each under its setting's name without BROKERPOOL_BROKER_."""

    @abstractmethod
    def login_page(self) -> str | None:
        """Return the address at which a person's browser begins to log in, None where there is none."""

    # -- life ---------------------------------------------------------------------------------------------

    @property
    def proxy(self) -> FaultProxy | None:
        """What stands in front of the WebSocket port from the start on, when there are `toxics`."""
        return self._sockets.proxy

    @property
    def ws_url(self) -> str:
        """Where to dial, without the query that carries the credentials."""
        return f"ws://{_LOOPBACK}:{self._sockets.port}/"

    @property
    def http_url(self) -> str:
        """The base of the HTTP API."""
        return f"http://{_LOOPBACK}:{self._http.port}"

    @property
    def control_url(self) -> str:
        """The base of the control endpoint."""
        return f"http://{_LOOPBACK}:{self._control.port}"

    async def start(self) -> None:
        """Listen on its ports and let the market trade. Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        try:
            await self._sockets.open()
            await self._http.open(_LOOPBACK, 0)
            await self._control.open(_LOOPBACK, 0)
        except OSError:
            await self.close()
            raise
        self._keep(self._venue.beat(self._heartbeat_seconds))
        self._keep(self._source.run(self._venue))

    async def close(self) -> None:
        """End every socket and listener; takes a few seconds at most, and may be called twice."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self._control.close()
        await self._sockets.close()
        await self._http.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {len(self.listings)} instruments, {len(self._venue.sockets)} sockets>"

    # -- to look at ---------------------------------------------------------------------------------------

    def sockets(self) -> list[dict[str, Any]]:
        """Return every open socket, the eldest first: its tokens with their modes, and its counters."""
        return [socket.report() for socket in self._venue.sockets.values()]

    def stats(self) -> dict[str, Any]:
        """Return the counters since the start; `ledger.Ledger` tells what each means."""
        return {
            **self._ledger.report(),
            "uptime_seconds": round(asyncio.get_running_loop().time() - self._started, 3),
            "sockets": len(self._venue.sockets),
            "instruments": len(self.listings),
            **self._source.report(),
            "http_connections": asdict(self._http.connections),
            "duplicate_tokens": self._venue.audience.duplicates,
            "peak_duplicate_tokens": self._venue.audience.peak_duplicates,
            "proxy": self.proxy.report() if self.proxy else None,
        }

    # -- to steer -----------------------------------------------------------------------------------------

    async def step(self, ticks: int) -> None:
        """Let the market trade `ticks` times now; clients that read lose nothing, however many.

        A client that does not read holds this up for a second, then its ticks are dropped. Raises
        ValueError when a tape is playing.
        """
        if not isinstance(self._source, MarketBroadcast):
            raise ValueError("a tape is playing; only a market can be stepped")
        await self._source.step(self._venue, ticks)

    async def throw(self, order: FaultOrder) -> None:
        """Throw the switches of an order. Raises OSError when the listener cannot come up again."""
        self.faults.take(order)
        if order.access_token is not UNSET:
            self.renew_token(order.access_token)
        if order.expire_token is not UNSET:
            self.expire_token(close_sockets=order.expire_token.close_sockets)
        if order.drop_newest is not UNSET:
            self.drop_newest(order.drop_newest)
        if order.down is not UNSET:
            await (self.down() if order.down else self.up())

    def kill(self, number: int) -> None:
        """Drop a socket's TCP connection. Raises LookupError when no such socket is open."""
        self._venue.link(number).abort()

    def close_socket(self, number: int) -> None:
        """Close a socket with the WebSocket handshake. Raises LookupError when no such socket is open."""
        self._venue.link(number).close(_GOING_AWAY)

    def drop_newest(self, count: int) -> None:
        """Close the `count` youngest sockets."""
        for number in sorted(self._venue.sockets)[-count:]:
            self.close_socket(number)

    def expire_token(self, *, close_sockets: bool = False) -> None:
        """Let the access token die: dials and quotes get 403 until `renew_token`."""
        self.faults.token_expired = True
        for number in list(self._venue.sockets) if close_sockets else ():
            self._end(number, Farewell.CREDENTIALS)

    def renew_token(self, access_token: str) -> None:
        """Make this the only valid access token."""
        self.access_token = access_token
        self.faults.token_expired = False

    async def down(self) -> None:
        """Abort every socket and stop listening for new ones: TCP is refused; HTTP answers 503."""
        await self._sockets.down()

    async def up(self) -> None:
        """Listen again, on the same port. Raises OSError when another program has taken it."""
        await self._sockets.up()

    # -- inside -------------------------------------------------------------------------------------------

    def _accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        answer = self._judged(request) or ClientSocket(next(self._numbers), self._venue, self._clock())
        at = asyncio.get_running_loop().time() - self._started
        self._ledger.dialled(at, answer.status if isinstance(answer, Refusal) else _SWITCHING_PROTOCOLS)
        return answer

    def _judged(self, request: UpgradeRequest) -> LinkHandler | Refusal | None:
        refuse = self.faults.dial_refusal()
        if refuse is not None:
            return self._refused(refuse.status, "Refused on command.", refuse.retry_after)
        if (words := self._dismissal(request)) is not None:
            return DismissedSocket(words, text=self._venue.wire.TEXT)
        if (wrong := self._refusal(request)) is not None:
            return self._refused(self.wrong_credentials, wrong)
        evicts = self.limits.evicts or self.faults.evict_eldest
        if len(self._venue.sockets) >= self._max_sockets and evicts:
            self._ledger.evictions += 1
            self._end(min(self._venue.sockets), Farewell.EVICTED)
        elif len(self._venue.sockets) >= self._max_sockets:
            self._ledger.violations["sockets"] += 1
            return self._refused(self.too_many_sockets, f"More than {self._max_sockets} connections.")
        return None

    def _refused(self, status: int, message: str, retry_after: int | None = None) -> Refusal:
        answer = self._failure(status, message, retry_after)
        assert isinstance(answer.body, bytes)
        headers = dict(answer.headers)
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        return Refusal(status, answer.body, headers)

    def _end(self, number: int, why: Farewell) -> None:
        evicted = why is Farewell.EVICTED
        code, reason = (EVICTED, "more sockets than the account may have") if evicted else (_GOING_AWAY, "")
        self._venue.sockets[number].end(self._last_words(why), code, reason)

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_tell)
        self._tasks.append(task)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the simulator has stopped sending", exc_info=error)
