"""The simulated Zerodha: Kite's WebSocket and HTTP API on loopback, with Kite's limits and faults on command.

What the broker does not document is assumed here, and in `subscriptions`: a subscribe and a change of
mode are answered at once with the last known packet (`snapshot=False` turns that off); a token that
expires leaves open sockets alone unless told otherwise; the order in which dials are checked is
fault, credentials, number of sockets.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

import msgspec
from msgspec import UNSET

from brokerpool.brokers.limits import RateWindow
from brokerpool.brokers.rest import RestLimits
from brokerpool.simulator.broadcast import MarketBroadcast, TapeBroadcast
from brokerpool.simulator.client_socket import ClientSocket, Venue
from brokerpool.simulator.control import control_app
from brokerpool.simulator.exchange import Market
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import Toxic
from brokerpool.simulator.faults import FaultOrder, Faults
from brokerpool.simulator.history import History
from brokerpool.simulator.http_listener import HttpListener
from brokerpool.simulator.ledger import Ledger
from brokerpool.simulator.listings import listings, with_recorded
from brokerpool.simulator.metronome import Metronome
from brokerpool.simulator.orders import OrderBook
from brokerpool.simulator.rates import RequestRates
from brokerpool.simulator.tape import TapeReader
from brokerpool.simulator.zerodha.http import KiteApi
from brokerpool.simulator.zerodha.login import KiteLogin
from brokerpool.transport import Link, LinkHandler, LinkServer, Refusal, UpgradeRequest, serve

logger = logging.getLogger("brokerpool.simulator")

#: The broker's own figures (its documentation, 2026).
MAX_SOCKETS, MAX_TOKENS, HEARTBEAT_SECONDS = 3, 3000, 2.0

#: How a socket is closed that makes place for a newer one; Kite refuses the newer one, others do this.
EVICTED = 4805

_LOOPBACK = "127.0.0.1"
_GOING_AWAY = 1001
_STEP_TICKS = 500
_DRAIN_SECONDS = 1.0
_SWITCHING_PROTOCOLS = 101

_PUBLISHED_RATES = RestLimits.load("brokerpool.brokers.zerodha").windows


class KiteSimulator:
    """A broker on this machine that speaks Kite's protocol; `async with` opens and closes it.

    `rate` is in ticks a second over the whole market; with 0 it trades only in `step`. The market is
    the same for the same `symbols`, `seed` and `clock`. With `replay`, the frames of a tape take the
    market's place (again from the start when `repeat`), and every token may be subscribed to. With
    `toxics`, none of them included, clients come to the WebSocket port through a `FaultProxy`. `http_rates`
    are windows by group of endpoints, those that the broker publishes when not given; `clock` times them.
    `redirect_url` is where its login page leads. A block that is cancelled closes it; `start` and `down`
    are not to be cancelled, for a listener may stay behind.
    """

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
        max_sockets: int = MAX_SOCKETS,
        max_tokens: int = MAX_TOKENS,
        http_rates: Mapping[str, Sequence[RateWindow]] | None = None,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
        snapshot: bool = True,
        latency_ms: float = 0.0,
        replay: Path | None = None,
        repeat: bool = True,
        toxics: Mapping[str, Toxic] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.api_key = api_key or f"sim{secrets.token_hex(6)}"
        self.access_token = access_token or secrets.token_hex(16)
        self.api_secret = secrets.token_hex(16)
        #: The switches; all but `token_expired` and `down` may be set as they are.
        self.faults = Faults(latency_ms=latency_ms)
        metronome = Metronome(rate)
        rows = listings(symbols, date.fromtimestamp(clock()))
        tape = TapeReader(replay) if replay else None
        self.listings = with_recorded(rows, tape.header.instruments if tape else ())
        self.market = Market(self.listings, seed=seed, clock=clock)
        self._source = TapeBroadcast(tape, repeat) if tape else MarketBroadcast(self.market, metronome)
        self._ledger = Ledger()
        self._venue = Venue(self._source, self.faults, self._ledger, max_tokens, snapshot)
        self._clock = clock
        #: Stands in front of the WebSocket port from the start on, when there are `toxics`.
        self.proxy: FaultProxy | None = None
        self._toxics = None if toxics is None else dict(toxics)
        self._random = Random(seed)
        self._front_port = port
        #: Where the broker itself listens.
        self._port = port if toxics is None else 0
        self._max_sockets = max_sockets
        self._heartbeat_seconds = heartbeat_seconds
        self._numbers = itertools.count(1)
        self._server: LinkServer | None = None
        self._switching = asyncio.Lock()
        #: What was ordered over HTTP.
        self.orders = OrderBook(clock)
        api = KiteApi(
            self.listings,
            self.market.quotes,
            history=History(self.listings, seed=seed, clock=clock),
            orders=self.orders,
            rates=RequestRates(_PUBLISHED_RATES if http_rates is None else http_rates, clock),
            faults=self.faults,
            ledger=self._ledger,
            accepts=self._accepts,
            login=KiteLogin(
                self.api_key,
                self.api_secret,
                redirect_url=redirect_url,
                clock=clock,
                accepts=self._accepts,
                began=self.renew_token,
                ended=self.expire_token,
            ),
        )
        self._http = HttpListener(api.app(), self.faults.resets_unread)
        self._control = HttpListener(control_app(self))
        self._tasks: list[asyncio.Task[None]] = []
        self._started = 0.0

    # -- life ---------------------------------------------------------------------------------------------

    @property
    def ws_url(self) -> str:
        """Where to dial, without the query that carries the credentials."""
        return f"ws://{_LOOPBACK}:{self.proxy.port if self.proxy else self._port}/"

    @property
    def http_url(self) -> str:
        """The base of the HTTP API."""
        return f"http://{_LOOPBACK}:{self._http.port}"

    @property
    def login_url(self) -> str:
        """The page on which a person logs in, without its query."""
        return f"{self.http_url}/connect/login"

    @property
    def control_url(self) -> str:
        """The base of the control endpoint."""
        return f"http://{_LOOPBACK}:{self._control.port}"

    async def start(self) -> None:
        """Listen on its ports and let the market trade. Raises OSError when the address is taken."""
        loop = asyncio.get_running_loop()
        self._started = loop.time()
        try:
            await self.up()
            if self._toxics is not None:
                self.proxy = FaultProxy(_LOOPBACK, self._port, port=self._front_port, random=self._random)
                for name, toxic in self._toxics.items():
                    self.proxy.add(name, toxic)
                await self.proxy.start()
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
        if self.proxy is not None:
            await self.proxy.close()
        await self._http.close()
        async with self._switching:
            server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<KiteSimulator {len(self.listings)} instruments, {len(self._venue.sockets)} sockets>"

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
        patience = asyncio.get_running_loop().time() + _DRAIN_SECONDS
        while ticks > 0:
            now = min(ticks, _STEP_TICKS)
            self._source.trade(self._venue, now)
            ticks -= now
            await asyncio.sleep(0)
            if self._venue.full:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(patience):
                        await self._venue.room.wait()

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
        self._link(number).abort()

    def close_socket(self, number: int) -> None:
        """Close a socket with the WebSocket handshake. Raises LookupError when no such socket is open."""
        self._link(number).close(_GOING_AWAY)

    def drop_newest(self, count: int) -> None:
        """Close the `count` youngest sockets."""
        for number in sorted(self._venue.sockets)[-count:]:
            self.close_socket(number)

    def expire_token(self, *, close_sockets: bool = False) -> None:
        """Let the access token die: dials and quotes get 403 until `renew_token`."""
        self.faults.token_expired = True
        for number in list(self._venue.sockets) if close_sockets else ():
            self.close_socket(number)

    def renew_token(self, access_token: str) -> None:
        """Make this the only valid access token."""
        self.access_token = access_token
        self.faults.token_expired = False

    async def down(self) -> None:
        """Abort every socket and stop listening for new ones: TCP is refused; HTTP answers 503."""
        async with self._switching:
            self.faults.down = True
            server, self._server = self._server, None
            if server is not None:
                for number in list(self._venue.sockets):
                    self.kill(number)
                # An aborted connection is gone in the loop's next turn; until then `close` would still
                # say goodbye to it.
                await asyncio.sleep(0)
                await server.close()

    async def up(self) -> None:
        """Listen again, on the same port. Raises OSError when another program has taken it."""
        async with self._switching:
            if self._server is None:
                self._server = await serve(self._accept, _LOOPBACK, self._port)
                self._port = self._server.port
            self.faults.down = False

    # -- inside -------------------------------------------------------------------------------------------

    def _accept(self, request: UpgradeRequest) -> LinkHandler | Refusal:
        answer = self._refusal(request) or ClientSocket(next(self._numbers), self._venue, self._clock())
        at = asyncio.get_running_loop().time() - self._started
        self._ledger.dialled(at, answer.status if isinstance(answer, Refusal) else _SWITCHING_PROTOCOLS)
        return answer

    def _refusal(self, request: UpgradeRequest) -> Refusal | None:
        refuse = self.faults.dial_refusal()
        if refuse is not None:
            return _refused(refuse.status, "NetworkException", "Refused on command.", refuse.retry_after)
        if not self._accepts(request.query.get("api_key", ""), request.query.get("access_token", "")):
            return _refused(403, "TokenException", "Incorrect `api_key` or `access_token`.")
        if len(self._venue.sockets) >= self._max_sockets and self.faults.evict_eldest:
            self._link(min(self._venue.sockets)).close(EVICTED, "more sockets than the account may have")
        elif len(self._venue.sockets) >= self._max_sockets:
            self._ledger.violations["sockets"] += 1
            return _refused(429, "NetworkException", f"More than {self._max_sockets} connections.")
        return None

    def _accepts(self, api_key: str, access_token: str) -> bool:
        right = (api_key, access_token) == (self.api_key, self.access_token)
        return right and not self.faults.token_expired

    def _link(self, number: int) -> Link:
        socket = self._venue.sockets.get(number)
        if socket is None or socket.link is None:
            raise LookupError(f"no socket {number} is open; open are {sorted(self._venue.sockets)}")
        return socket.link

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_tell)
        self._tasks.append(task)


def _refused(status: int, kind: str, message: str, retry_after: int | None = None) -> Refusal:
    headers = {"Content-Type": "application/json"}
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    body = msgspec.json.encode({"status": "error", "message": message, "error_type": kind})
    return Refusal(status, body, headers)


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("the simulator has stopped sending", exc_info=error)
