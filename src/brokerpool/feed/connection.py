"""One broker socket: dials, restores, reports, and dials again; its replica says what it must carry."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from brokerpool.brokers.base import BrokerFeed, Farewell, FeedCodec, Notice, NoticeKind
from brokerpool.complaints import Complaints
from brokerpool.feed.account_limits import AccountLimits
from brokerpool.feed.backlog import Backlog
from brokerpool.feed.backoff import PROVEN_SECONDS, Backoff
from brokerpool.feed.dial import Dial, Failure, attempt
from brokerpool.feed.dial_budget import DialPermit
from brokerpool.feed.liveness import Liveness, Verdict
from brokerpool.feed.pacing import Allowance
from brokerpool.feed.states import ConnectionState, SymbolState
from brokerpool.feed.subscriptions import Subscriptions
from brokerpool.fence import name_of
from brokerpool.foreign import remembered
from brokerpool.instruments import Instrument, Token
from brokerpool.journal import Event
from brokerpool.ticks import Mode, Tick
from brokerpool.transport import Link, LinkHandler


@dataclass(slots=True)
class Traffic:
    """Counters over all sockets of one connection."""

    dials: int = 0
    refusals: int = 0
    control_messages: int = 0
    ticks: int = 0
    #: Frames without ticks: the broker's heartbeats.
    heartbeats: int = 0
    #: Monotonic seconds of the last tick, None before the first.
    last_tick_at: float | None = None

    def stats(self, now: float) -> dict[str, Any]:
        """Return the numbers as statistics show them."""
        age = None if self.last_tick_at is None else round(now - self.last_tick_at, 3)
        return {
            "dials": self.dials,
            "refusals": self.refusals,
            "control_messages": self.control_messages,
            "ticks": self.ticks,
            "heartbeats": self.heartbeats,
            "last_tick_age_seconds": age,
        }


logger = logging.getLogger("brokerpool.feed")

#: A message up to this size is decoded at once: 800 prices, or 40 order books.
SMALL_BYTES = 8192

_UNKNOWN = Notice(NoticeKind.UNKNOWN, "")


class ConnectionObserver(Protocol):
    """Whom a connection tells: its replica."""

    def ticked(self, connection: Connection, ticks: list[Tick]) -> None: ...
    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None: ...
    def arrived(self, connection: Connection, instruments: list[Instrument]) -> None: ...
    def symbols_lost(self, instruments: list[Instrument], reason: str, connection: Connection) -> None: ...
    def connection_changed(self, connection: Connection, event: Event | None, reason: str) -> None: ...


class Connection(LinkHandler):
    """Keeps one socket open for as long as it is wanted and makes the broker serve exactly what is wanted."""

    def __init__(
        self,
        name: str,
        feed: BrokerFeed,
        account: AccountLimits,
        observer: ConnectionObserver,
        *,
        dial: Dial,
        backoff: Backoff,
        wall_clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.state = ConnectionState.IDLE
        self.traffic = Traffic()
        #: Why the last socket ended or was refused, for people.
        self.last_fault = ""
        #: True from the loss of a socket, or a refusal, until the next socket is open.
        self.down = False
        self._feed = feed
        self._account = account
        self._observer = observer
        self._dial = dial
        self._backoff = backoff
        self._wall_clock = wall_clock
        self._monotonic = asyncio.get_running_loop().time
        #: Monotonic seconds since which nothing has been delivered; None while the socket is live.
        self.out_since: float | None = self._monotonic()
        #: Monotonic seconds at which the present socket was opened.
        self.opened_at = 0.0
        #: The version of the credentials with which it was opened.
        self.version = 0
        self._subscriptions = Subscriptions(feed.limits.capacity)
        self._liveness = Liveness(feed.limits.silence_seconds, self._monotonic())
        self._allowance = Allowance(feed.limits, account.messages)
        self._codec: FeedCodec  # a new one for each socket, made at the dial
        self._skipped: Mapping[str, int] = {}
        self._backlog = Backlog(self._read, account.fence)
        self._complaints = Complaints()
        self._link: Link | None = None
        self._permit: DialPermit | None = None
        self._changed = asyncio.Event()
        self._down = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    # -- for the replica -------------------------------------------------------------------------------------

    @property
    def live(self) -> bool:
        """True while the socket is open and nothing speaks against it."""
        return self.state is ConnectionState.LIVE and not self.down

    @property
    def data_at(self) -> float:
        """Monotonic seconds of the newest data, of the beginning of the socket that had none."""
        return self._liveness.data_at

    @property
    def fading(self) -> bool:
        """True when the open socket may be dead: nothing has come for unusually long."""
        return self._liveness.fading(self._monotonic())

    def want(self, token: Token, instrument: Instrument, mode: Mode) -> None:
        """Carry the instrument in this mode from now on; returns at once."""
        self._expected(self._subscriptions.want(token, instrument, mode, self._monotonic()))
        self._changed.set()
        if self._task is None:
            kept = self._account.fence.supervise(self._run, self._backoff.next, name="connection")
            self._task = asyncio.create_task(kept, name=f"brokerpool {self.name}")

    def drop(self, token: Token) -> None:
        """Stop carrying the token; ticks that are still under way are not passed on."""
        self._subscriptions.drop(token)
        self._changed.set()

    def symbol_state(self, token: Token) -> SymbolState:
        """Tell how far a carried token has come on the present socket."""
        return self._subscriptions.state(token, self._monotonic())

    def sent_at(self, token: Token) -> float:
        """Return when the broker was asked for a token that has not ticked yet; raises KeyError otherwise."""
        return self._subscriptions.arrivals.sent_at(self._subscriptions.routes[token])

    def carried(self) -> list[Instrument]:
        """Return the instruments that the broker has been asked for on the present socket."""
        return list(self._subscriptions.routes.values())

    def watch(self, now: float, *, trading: bool) -> None:
        """Judge the socket's silence, and say what it refused; to be called every second or so."""
        if refusals := self._complaints.summary(now):
            self._complain(refusals)
        if self._link is None or not self.live:
            return
        silent = self._subscriptions.arrivals.overdue(now)
        if silent:
            self._observer.symbols_changed(silent, SymbolState.SILENT)
        match self._liveness.verdict(now, trading=trading and bool(self._subscriptions.sent)):
            case Verdict.PROBE if self._allowance.may_ping(self._monotonic()):
                self._link.ping()
                self._liveness.probed()
                self._allowance.spend_control_frame(self._monotonic())
            case Verdict.SILENT:
                limit = self._liveness.silence_seconds
                self._give_up(self._link, f"nothing came for {limit:g} s, not even a heartbeat")
            case Verdict.MUTE:
                limit = self._liveness.mute_limit
                self._liveness.gave_up()
                self._give_up(self._link, f"signs of life and no data for {limit:.0f} s in an open market")

    def forgive(self, now: float) -> None:
        """Let every silence begin now: it was this process that stood still."""
        self._liveness.forgive(now)

    def stats(self) -> dict[str, Any]:
        """Return the connection's numbers: symbols wanted and sent, traffic, faults."""
        return {
            "name": self.name,
            "state": self.state.value,
            "symbols": len(self._subscriptions),
            "sent": self._subscriptions.sent,
            **self.traffic.stats(self._monotonic()),
            "skipped_packets": dict(self._skipped),
            "last_fault": self.last_fault,
        }

    def end(self, reason: str) -> None:
        """Begin to end the socket and the task; takes a few seconds at most and leaves nothing behind."""
        if not self._closing:
            self._closing = True
            self._become(ConnectionState.CLOSED, Event.CLOSED, reason)
            if self._task is not None:
                self._task.cancel()

    @property
    def ended(self) -> bool:
        """True once nothing is left of a connection that was ended."""
        return self._closing and (self._task is None or self._task.done())

    async def gone(self) -> None:
        """Return once nothing is left of a connection that was ended."""
        if self._task is not None:
            await asyncio.wait({self._task})

    # -- the life of the socket ---------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            permit = await self._account.permit()
            if permit is None:
                self._become(ConnectionState.PARKED, Event.PARKED, "no dial until there are new credentials")
                await self._account.usable()
                continue
            try:
                link = await self._dial_once(permit)
                if link is not None:
                    await self._serve(link, permit)
            except Exception:  # told by the supervisor, which begins anew after a rest
                self._went_down("unexpected error, see the log")
                self._become(ConnectionState.WAITING, None, self.last_fault)
                raise
            finally:
                self._account.withdraw(permit)
            # In doubt the account spaces the dials, one at a time for all of its connections.
            if not (self._account.budget.doubt or self._account.login.refused):
                await asyncio.sleep(self._backoff.next())

    async def _dial_once(self, permit: DialPermit) -> Link | None:
        """Dial, and return the socket that is open now; without one the account is told why."""
        self._become(ConnectionState.DIALLING, Event.DIALLED, "")
        self._codec = self._feed.codec()
        self._skipped = self._codec.skipped
        self._allowance = Allowance(self._feed.limits, self._account.messages)
        self._down.clear()
        self.version = self._account.login.version
        self.traffic.dials += 1
        link = await attempt(self._feed, self, self._dial, self._account.fence)
        if isinstance(link, Failure):
            failure = link
        elif not self._down.is_set():
            return link
        else:
            failure = Failure(f"accepted and closed at once: {self.last_fault}", busy=True)
        self.traffic.refusals += 1
        self._went_down(failure.fault)
        self._become(ConnectionState.WAITING, Event.REFUSED, failure.fault)
        if failure.parks:
            self._account.login.refuse(self.version)
        else:
            self._account.failed(permit, retry_after=failure.retry_after, busy=failure.busy)
        return None

    def _opened(self, link: Link, permit: DialPermit) -> None:
        now = self._monotonic()
        self._link, self._permit = link, permit
        self.opened_at = now
        self.out_since = None
        self.down = False
        self._liveness.opened(now)
        self._account.opened(permit)
        self._become(ConnectionState.LIVE, Event.LIVE, f"connected to {link.peer}")

    async def _serve(self, link: Link, permit: DialPermit) -> None:
        """Keep the open socket until it ends; the permit is given back when it is really gone."""
        try:
            self._opened(link, permit)
            await self._write(link)
        finally:
            link.close()
            await self._down.wait()  # bounded: the link drops the TCP connection when the peer is slow
            self._link = self._permit = None
            lived = self._monotonic() - self.opened_at
            if lived >= PROVEN_SECONDS:
                self._backoff.reset()
            if not self._closing:
                self._account.lost(permit, lived)

    async def _write(self, link: Link) -> None:
        """Send what the broker must be told, in batches and at its pace, until the link is down."""
        while not self._down.is_set():
            self._changed.clear()
            batch = self._subscriptions.next_batch(self._feed.limits.batch_size)
            if batch is None:
                await self._changed.wait()
                continue
            for number, message in enumerate(self._codec.requests(batch)):
                await self._may_send()
                if self._down.is_set():
                    return
                if number == 0:
                    self._interrupted(self._subscriptions.interrupted())
                    self._expected(self._subscriptions.told(batch, self._monotonic()))
                link.send_text(message)
                self.traffic.control_messages += 1
            await asyncio.sleep(0)  # where the broker sets no pace, ticks pass between two batches still

    def _expected(self, instruments: list[Instrument]) -> None:
        if instruments:
            self._observer.symbols_changed(instruments, SymbolState.SENT)

    def _interrupted(self, instruments: list[Instrument]) -> None:
        if instruments:
            self._observer.symbols_changed(instruments, SymbolState.ACCEPTED)
            self._observer.symbols_lost(instruments, "dropped for a moment: modes change places", self)

    async def _may_send(self) -> None:
        """Wait until one more control message may leave, and count it."""
        while True:
            delay = self._allowance.delay(self._monotonic())
            if not delay:
                return self._allowance.spend(self._monotonic())
            await asyncio.sleep(delay)

    def _give_up(self, link: Link, reason: str) -> None:
        """Drop a socket that is silent or mute: a broker that cannot be reached would never close it."""
        self._went_down(reason)
        self._become(ConnectionState.STALE, Event.STALE, reason)
        # Told before anything is moved: afterwards it would look as if these had been served elsewhere.
        self._observer.symbols_lost(self.carried(), reason, self)
        link.abort()

    def _went_down(self, fault: str) -> None:
        self.last_fault = fault
        self.down = True
        if self.out_since is None:
            self.out_since = self._monotonic()

    def _complain(self, refusal: str) -> None:
        self._observer.connection_changed(self, Event.REFUSED, refusal)
        told = {"connection": self.name}
        logger.warning("%s: the broker refused a request: %s", self.name, refusal, extra=told)

    def _become(self, state: ConnectionState, event: Event | None, reason: str) -> None:
        self.state = state
        self._observer.connection_changed(self, event, reason)

    # -- LinkHandler --------------------------------------------------------------------------------------

    def binary(self, message: bytes | memoryview) -> None:
        if len(message) > SMALL_BYTES:
            self._backlog.put(self._codec.parts, bytes(message), self._link)
        elif self._backlog:
            self._backlog.put(_whole, bytes(message), self._link)
        else:
            self._read(message)

    def _read(self, message: bytes | memoryview) -> None:
        now = self._monotonic()
        try:
            ticks = self._codec.decode(message, self._subscriptions.routes, int(self._wall_clock() * 1000))
            if not ticks:
                self._liveness.heard(now)
                self.traffic.heartbeats += 1
                return
            self._liveness.ticked(now)
            self.traffic.ticks += len(ticks)
            self.traffic.last_tick_at = now
            if first := self._subscriptions.arrivals.arrived(ticks):
                self._observer.arrived(self, first)
            self._observer.ticked(self, ticks)
        except BaseException as error:  # it costs this message, and not the socket
            self._account.fence.caught(name_of(self._codec.decode), error)

    def text(self, message: str) -> None:
        now = self._monotonic()
        self._liveness.heard(now)
        notice = self._account.fence.call(self._codec.notice, message, otherwise=_UNKNOWN)
        if notice.kind is NoticeKind.REFUSAL:
            self.traffic.refusals += 1
            self.last_fault = remembered(notice.text)
            if self._complaints.heard(self.last_fault, now):
                self._complain(self.last_fault)

    def control_frame(self, *, answered: bool) -> None:
        self._liveness.heard(self._monotonic())
        if answered:
            self._allowance.spend_control_frame(self._monotonic())

    def closed(self, code: int, reason: str) -> None:
        carried = self.carried()
        self._backlog.clear()
        self._subscriptions.reset()
        self._down.set()
        self._changed.set()
        if self._closing:
            return
        if not self.down:
            self._went_down(f"socket closed with {code} {reason}".rstrip())
        event = Event.LOST
        match self._account.fence.call(self._codec.farewell, code, reason, otherwise=Farewell.LOST):
            case Farewell.EVICTED:
                event = Event.EVICTED
                if self._permit is not None:
                    self._account.evicted(self._permit)
            case Farewell.CREDENTIALS:
                self._account.login.refuse(self.version)
        self._become(ConnectionState.WAITING, event, self.last_fault)
        self._observer.symbols_changed(self._subscriptions.wanted(), SymbolState.ACCEPTED)
        self._observer.symbols_lost(carried, self.last_fault, self)


def _whole(message: bytes) -> tuple[bytes]:
    return (message,)
