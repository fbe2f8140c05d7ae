"""One broker socket: dials, restores, reports, and dials again; what it must carry is given by the pool."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from brokerpool.brokers.base import BrokerFeed, FeedCodec, NoticeKind
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.feed.backoff import PROVEN_SECONDS, Backoff
from brokerpool.feed.liveness import Liveness
from brokerpool.feed.pacing import Pacer
from brokerpool.feed.reconcile import Reconciler
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, Tick
from brokerpool.transport import DialError, Link, LinkHandler

logger = logging.getLogger("brokerpool.feed")

DIAL_SECONDS = 10.0
#: A symbol whose first tick has not come this long after it was sent is reported as silent.
SILENT_SECONDS = 10.0


class ConnectionState(Enum):
    """Where a connection stands; the value is what statistics and logs show."""

    IDLE = "idle"
    DIALLING = "dialling"
    LIVE = "live"
    #: Open, and silent for longer than the broker ever is; about to be replaced.
    STALE = "stale"
    #: Between two dials.
    WAITING = "waiting"
    #: Refused by the broker's login (401, 403): no dial until there are new credentials.
    PARKED = "parked"
    CLOSED = "closed"


class SymbolState(Enum):
    """How far a wanted symbol has come; the value is what statistics and logs show."""

    ACCEPTED = "accepted"
    SENT = "sent"
    #: Its first tick has come.
    LIVE = "live"
    #: Sent some time ago, and no tick yet: a closed market, a quiet symbol, or a silent refusal.
    SILENT = "silent"


class ConnectionObserver(Protocol):
    """Whom a connection tells: the pool."""

    def ticked(self, ticks: list[Tick]) -> None: ...
    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None: ...
    def connection_changed(self, connection: Connection, reason: str) -> None: ...


class Dial(Protocol):
    """How a socket is opened: `transport.dial`, or a stand-in with the same promises."""

    def __call__(
        self, url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Awaitable[Link]: ...


@dataclass(slots=True)
class Traffic:
    """What went over a connection since it was made; sockets come and go below it."""

    dials: int = 0
    refusals: int = 0
    control_messages: int = 0
    ticks: int = 0
    #: Frames without ticks: the broker's heartbeats.
    heartbeats: int = 0
    #: Monotonic seconds of the last tick, None before the first.
    last_tick_at: float | None = None


class Connection(LinkHandler):
    """Keeps one socket open for as long as it is wanted and makes the broker serve exactly `wanted`."""

    def __init__(
        self,
        name: str,
        feed: BrokerFeed,
        observer: ConnectionObserver,
        *,
        dial: Dial,
        backoff: Backoff,
        permits: asyncio.Semaphore,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.state = ConnectionState.IDLE
        self.traffic = Traffic()
        #: Why the last socket ended or was refused, for people.
        self.last_fault = ""
        #: True from the loss of a socket, or a refusal, until the next socket is open.
        self.down = False
        self._feed = feed
        self._observer = observer
        self._dial = dial
        self._backoff = backoff
        self._permits = permits
        self._wall_clock = wall_clock
        self._monotonic = asyncio.get_running_loop().time
        self._targets = Reconciler()
        self._routes: dict[Token, Instrument] = {}
        self._awaiting: dict[Instrument, float] = {}  # sent, no tick yet -> when
        self._silence_checks: deque[tuple[float, list[Instrument]]] = deque()
        self._liveness = Liveness(feed.limits.silence_seconds, self._monotonic())
        self._codec: FeedCodec = feed.codec()
        self._changed = asyncio.Event()
        self._down = asyncio.Event()
        self._renewed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # -- for the pool -------------------------------------------------------------------------------------

    def want(self, token: Token, instrument: Instrument, mode: Mode) -> None:
        """Carry the instrument in this mode from now on; returns at once."""
        self._routes[token] = instrument
        self._targets.want(token, mode)
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"brokerpool {self.name}")

    def drop(self, token: Token) -> None:
        """Stop carrying the token; ticks that are still under way are not passed on."""
        instrument = self._routes.pop(token, None)
        if instrument is not None:
            self._awaiting.pop(instrument, None)
        self._targets.drop(token)
        self._changed.set()

    def renew(self) -> None:
        """Dial again if parked: there are new credentials."""
        self._renewed.set()

    def symbol_state(self, token: Token) -> SymbolState:
        """Tell how far a carried token has come."""
        if token not in self._targets.sent:
            return SymbolState.ACCEPTED
        sent_at = self._awaiting.get(self._routes[token])
        if sent_at is None:
            return SymbolState.LIVE
        silent = self._monotonic() - sent_at >= SILENT_SECONDS
        return SymbolState.SILENT if silent else SymbolState.SENT

    def stats(self) -> dict[str, Any]:
        """Return the connection's numbers: symbols wanted and sent, traffic, faults."""
        traffic = self.traffic
        at = traffic.last_tick_at
        return {
            "name": self.name,
            "state": self.state.value,
            "symbols": len(self._targets.wanted),
            "sent": len(self._targets.sent),
            "dials": traffic.dials,
            "refusals": traffic.refusals,
            "control_messages": traffic.control_messages,
            "ticks": traffic.ticks,
            "heartbeats": traffic.heartbeats,
            "last_tick_age_seconds": None if at is None else round(self._monotonic() - at, 3),
            "skipped_packets": dict(self._codec.skipped),
            "last_fault": self.last_fault,
        }

    async def close(self) -> None:
        """End the socket and the task; takes a few seconds at most and leaves nothing behind."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        self._become(ConnectionState.CLOSED, "closed by the pool")

    # -- the life of the socket ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            # A permit is held until the socket is really gone, so that the broker never counts one too many.
            async with self._permits:
                try:
                    retry_after = await self._one_socket()
                except Exception:  # a fault of ours must not end the supervision of the socket
                    logger.exception("%s: unexpected error", self.name)
                    self._refused("unexpected error, see the log", parks=False)
                    retry_after = 0.0
            if self.state is ConnectionState.PARKED:
                await self._renewed.wait()
                continue
            delay = max(self._backoff.next(), retry_after)
            self._become(ConnectionState.WAITING, f"{self.last_fault}; next dial in {delay:.1f} s")
            await asyncio.sleep(delay)

    async def _one_socket(self) -> float:
        """Dial once and keep the socket until it ends; return the seconds that the broker asked to wait."""
        self._renewed.clear()
        self._become(ConnectionState.DIALLING, "")
        self._codec = self._feed.codec()
        self._down.clear()
        self.traffic.dials += 1
        try:
            endpoint = await self._feed.endpoint()
            link = await self._dial(endpoint.url, self, headers=endpoint.headers, timeout=DIAL_SECONDS)
        except DialError as error:
            self._refused(str(error), parks=error.status in (401, 403))
            return error.retry_after or 0.0
        except BrokerError as error:
            self._refused(str(error), parks=error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS)
            return 0.0
        up_since = self._monotonic()
        self._liveness = Liveness(self._feed.limits.silence_seconds, up_since)
        self.down = False
        self._become(ConnectionState.LIVE, f"connected to {link.peer}")
        try:
            await self._write(link)
        finally:
            link.close()
            await self._down.wait()  # bounded: the link drops the TCP connection when the peer is slow
        if self._monotonic() - up_since >= PROVEN_SECONDS:
            self._backoff.reset()
        return 0.0

    async def _write(self, link: Link) -> None:
        """Send what the broker must be told, in batches and at its pace, until the link is down."""
        limits = self._feed.limits
        pacer = Pacer(limits.control_messages_per_second, limits.control_burst)
        while not self._down.is_set():
            if self._liveness.dead(self._monotonic()):
                self._give_up(link)
                return
            self._changed.clear()
            batch = self._targets.next_batch(limits.batch_size)
            if batch is None:
                await self._rest()
                continue
            self._await_first_ticks([self._routes[token] for token in batch.add])
            for message in self._codec.requests(batch):
                if delay := pacer.delay(self._monotonic()):
                    await asyncio.sleep(delay)
                if self._down.is_set():
                    return
                pacer.spend(self._monotonic())
                link.send_text(message)
                self.traffic.control_messages += 1

    async def _rest(self) -> None:
        """Wait for a change or the socket's deadline; meanwhile report symbols whose first tick stays out."""
        due = self._liveness.deadline
        if self._silence_checks:
            due = min(due, self._silence_checks[0][0])
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._changed.wait()
        while self._silence_checks and self._silence_checks[0][0] <= self._monotonic():
            due, instruments = self._silence_checks.popleft()
            silent = [i for i in instruments if self._awaiting.get(i, due) + SILENT_SECONDS <= due]
            if silent:
                self._observer.symbols_changed(silent, SymbolState.SILENT)

    def _give_up(self, link: Link) -> None:
        """Drop a socket that is silent: a broker that cannot be reached would never close it."""
        self.last_fault = f"nothing came for {self._liveness.limit:g} s, not even a heartbeat"
        self.down = True
        self._become(ConnectionState.STALE, self.last_fault)
        link.abort()

    def _refused(self, reason: str, *, parks: bool) -> None:
        self.traffic.refusals += 1
        self.last_fault = reason
        self.down = True
        if parks:
            self._become(ConnectionState.PARKED, f"{reason}; no dial until there are new credentials")

    def _await_first_ticks(self, instruments: list[Instrument]) -> None:
        if not instruments:
            return
        now = self._monotonic()
        self._awaiting.update(dict.fromkeys(instruments, now))
        self._silence_checks.append((now + SILENT_SECONDS, instruments))
        self._observer.symbols_changed(instruments, SymbolState.SENT)

    def _become(self, state: ConnectionState, reason: str) -> None:
        self.state = state
        self._observer.connection_changed(self, reason)

    # -- LinkHandler --------------------------------------------------------------------------------------

    def binary(self, message: bytes | memoryview) -> None:
        now = self._monotonic()
        self._liveness.heard(now)
        ticks = self._codec.decode(message, self._routes, int(self._wall_clock() * 1000))
        if not ticks:
            self.traffic.heartbeats += 1
            return
        self.traffic.ticks += len(ticks)
        self.traffic.last_tick_at = now
        if self._awaiting:
            awaiting = self._awaiting
            first = [t.instrument for t in ticks if awaiting.pop(t.instrument, None) is not None]
            if first:
                self._observer.symbols_changed(first, SymbolState.LIVE)
        self._observer.ticked(ticks)

    def text(self, message: str) -> None:
        self._liveness.heard(self._monotonic())
        notice = self._codec.notice(message)
        if notice.kind is NoticeKind.REFUSAL:
            self.traffic.refusals += 1
            self.last_fault = notice.text
            logger.warning("%s: the broker refused a request: %s", self.name, notice.text)

    def closed(self, code: int, reason: str) -> None:
        lost = list(self._routes.values())
        if not self.down:
            self.last_fault = f"socket closed with {code} {reason}".rstrip()
            self.down = True
        self._targets.reset()
        self._awaiting.clear()
        self._silence_checks.clear()
        self._down.set()
        self._changed.set()
        self._observer.symbols_changed(lost, SymbolState.ACCEPTED)
