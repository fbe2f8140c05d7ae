"""One broker socket: dials, restores, reports, and dials again; what it must carry is given by its lane."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from typing import Any, Protocol

from brokerpool.brokers.base import BrokerFeed, Farewell, FeedCodec, NoticeKind
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.feed.account import Account
from brokerpool.feed.arrivals import Arrivals
from brokerpool.feed.backoff import PROVEN_SECONDS, Backoff
from brokerpool.feed.dialling import Seat
from brokerpool.feed.liveness import Liveness, Verdict
from brokerpool.feed.pacing import Pacer
from brokerpool.feed.reconcile import Reconciler
from brokerpool.feed.states import ConnectionState, SymbolState
from brokerpool.feed.traffic import Traffic
from brokerpool.instruments import Instrument, Token
from brokerpool.monitor.journal import Event
from brokerpool.ticks import Mode, Tick
from brokerpool.transport import DialError, Link, LinkHandler

logger = logging.getLogger("brokerpool.feed")

DIAL_SECONDS = 10.0
_TOO_MANY_REQUESTS = 429


class ConnectionObserver(Protocol):
    """Whom a connection tells: its lane."""

    def ticked(self, connection: Connection, ticks: list[Tick]) -> None: ...
    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None: ...
    def arrived(self, connection: Connection, instruments: list[Instrument]) -> None: ...
    def symbols_lost(self, instruments: list[Instrument], reason: str, connection: Connection) -> None: ...
    def connection_changed(self, connection: Connection, event: Event | None, reason: str) -> None: ...


class Dial(Protocol):
    """How a socket is opened: `transport.dial`, or a stand-in with the same promises."""

    def __call__(
        self, url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Awaitable[Link]: ...


class Connection(LinkHandler):
    """Keeps one socket open for as long as it is wanted and makes the broker serve exactly `wanted`."""

    def __init__(
        self,
        name: str,
        feed: BrokerFeed,
        account: Account,
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
        self._targets = Reconciler()
        self._instruments: dict[Token, Instrument] = {}
        #: What the broker has been asked for on the present socket: only its ticks are passed on.
        self._routes: dict[Token, Instrument] = {}
        #: What the message is about that waits for its turn.
        self._in_flight: Container[Token] = ()
        self._arrivals = Arrivals()
        self._liveness = Liveness(feed.limits.silence_seconds, self._monotonic())
        self._pacer = Pacer()
        self._codec: FeedCodec = feed.codec()
        self._link: Link | None = None
        self._seat: Seat | None = None
        self._changed = asyncio.Event()
        self._down = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    # -- for the lane -------------------------------------------------------------------------------------

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
        again = token in self._targets.sent and token not in self._instruments
        self._instruments[token] = instrument
        self._targets.want(token, mode)
        if again and token not in self._in_flight:
            self._expect([token])  # given up and wanted again before the broker was told
        self._changed.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"brokerpool {self.name}")

    def drop(self, token: Token) -> None:
        """Stop carrying the token; ticks that are still under way are not passed on."""
        del self._instruments[token]
        instrument = self._routes.pop(token, None)
        if instrument is not None:
            self._arrivals.drop(instrument)
        self._targets.drop(token)
        self._changed.set()

    def symbol_state(self, token: Token) -> SymbolState:
        """Tell how far a carried token has come on the present socket."""
        instrument = self._routes.get(token)
        if instrument is None:
            return SymbolState.ACCEPTED
        return self._arrivals.state(instrument, self._monotonic())

    def sent_at(self, token: Token) -> float:
        """Return when the broker was asked for a token that has not ticked yet; raises KeyError otherwise."""
        return self._arrivals.sent_at(self._routes[token])

    def carried(self) -> list[Instrument]:
        """Return the instruments that the broker has been asked for on the present socket."""
        return list(self._routes.values())

    def watch(self, now: float, *, trading: bool) -> None:
        """Judge the socket's silence; to be called every second or so while it is open."""
        if self._link is None or not self.live:
            return
        silent = self._arrivals.overdue(now)
        if silent:
            self._observer.symbols_changed(silent, SymbolState.SILENT)
        match self._liveness.verdict(now, trading=trading and bool(self._targets.sent)):
            case Verdict.PROBE if self._may_ping():
                self._link.ping()
                self._liveness.probed()
                self._count_control_frame()
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
            "symbols": len(self._targets.wanted),
            "sent": len(self._targets.sent),
            **self.traffic.stats(self._monotonic()),
            "skipped_packets": dict(self._codec.skipped),
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
            seat = await self._account.seat()
            if seat is None:
                self._become(ConnectionState.PARKED, Event.PARKED, "no dial until there are new credentials")
                await self._account.usable()
                continue
            if await self._dial_once(seat):
                await self._serve(seat)
            # In doubt the account spaces the dials, one at a time for all of its connections.
            if not (self._account.budget.doubt or self._account.login.refused):
                await asyncio.sleep(self._backoff.next())

    async def _dial_once(self, seat: Seat) -> bool:
        """Dial, and tell whether a socket is open now; the seat is given back if not."""
        self._become(ConnectionState.DIALLING, Event.DIALLED, "")
        self._codec = self._feed.codec()
        self._pacer = Pacer(self._feed.limits.control_messages)
        self._down.clear()
        self.version = self._account.login.version
        self.traffic.dials += 1
        retry_after, busy, parks = 0.0, False, False
        try:
            endpoint = await self._feed.endpoint()
            link = await self._dial(endpoint.url, self, headers=endpoint.headers, timeout=DIAL_SECONDS)
        except DialError as error:
            fault, parks = str(error), error.status in (401, 403)
            retry_after, busy = error.retry_after or 0.0, error.status == _TOO_MANY_REQUESTS
        except BrokerError as error:
            fault, parks = str(error), error.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
        except asyncio.CancelledError:
            self._account.withdraw(seat)
            raise
        except Exception:  # a fault of ours must not end the supervision of the socket
            logger.exception("%s: unexpected error", self.name, extra={"connection": self.name})
            fault = "unexpected error, see the log"
        else:
            if not self._down.is_set():
                self._opened(link, seat)
                return True
            fault, busy = f"accepted and closed at once: {self.last_fault}", True
        self.traffic.refusals += 1
        self.last_fault = fault
        self._went_down()
        self._become(ConnectionState.WAITING, Event.REFUSED, fault)
        if parks:
            self._account.withdraw(seat)
            self._account.login.refuse(self.version)
        else:
            self._account.failed(seat, retry_after=retry_after, busy=busy)
        return False

    def _opened(self, link: Link, seat: Seat) -> None:
        now = self._monotonic()
        self._link, self._seat = link, seat
        self.opened_at = now
        self.out_since = None
        self.down = False
        self._liveness.opened(now)
        self._account.opened(seat)
        self._become(ConnectionState.LIVE, Event.LIVE, f"connected to {link.peer}")

    async def _serve(self, seat: Seat) -> None:
        """Keep the open socket until it ends; the seat is given back when it is really gone."""
        link = self._link
        assert link is not None
        try:
            await self._write(link)
        except Exception:  # as above
            logger.exception("%s: unexpected error", self.name, extra={"connection": self.name})
            self.last_fault = "unexpected error, see the log"
            self._went_down()
        finally:
            link.close()
            await self._down.wait()  # bounded: the link drops the TCP connection when the peer is slow
            self._link = self._seat = None
            lived = self._monotonic() - self.opened_at
            if lived >= PROVEN_SECONDS:
                self._backoff.reset()
            if self._closing:
                self._account.withdraw(seat)
            else:
                self._account.lost(seat, lived)

    async def _write(self, link: Link) -> None:
        """Send what the broker must be told, in batches and at its pace, until the link is down."""
        while not self._down.is_set():
            self._changed.clear()
            batch = self._targets.next_batch(self._feed.limits.batch_size)
            if batch is None:
                await self._changed.wait()
                continue
            self._in_flight = batch.add
            for number, message in enumerate(self._codec.requests(batch)):
                await self._may_send()
                if self._down.is_set():
                    return
                if number == 0:
                    self._in_flight = ()
                    self._expect(batch.add)
                link.send_text(message)
                self.traffic.control_messages += 1

    def _expect(self, tokens: Iterable[Token]) -> None:
        """Expect ticks from now on, and not before: what is under way belongs to an earlier subscription."""
        added = {token: self._instruments[token] for token in tokens if token in self._instruments}
        if added:
            self._routes.update(added)
            self._arrivals.sent(list(added.values()), self._monotonic())
            self._observer.symbols_changed(list(added.values()), SymbolState.SENT)

    async def _may_send(self) -> None:
        """Wait until one more control message may leave, and count it."""
        while True:
            delay = self._message_delay()
            if not delay:
                return self._spend_message()
            await asyncio.sleep(delay)

    def _spend_message(self) -> None:
        now = self._monotonic()
        self._pacer.spend(now)
        self._account.messages.spend(now)

    def _may_ping(self) -> bool:
        return not self._feed.limits.pings_counted or not self._message_delay()

    def _message_delay(self) -> float:
        now = self._monotonic()
        return max(self._pacer.delay(now), self._account.messages.delay(now))

    def _count_control_frame(self) -> None:
        if self._feed.limits.pings_counted:
            self._spend_message()

    def _give_up(self, link: Link, reason: str) -> None:
        """Drop a socket that is silent or mute: a broker that cannot be reached would never close it."""
        self.last_fault = reason
        self._went_down()
        self._become(ConnectionState.STALE, Event.STALE, reason)
        # Told before anything is moved: afterwards it would look as if these had been served elsewhere.
        self._observer.symbols_lost(self.carried(), reason, self)
        link.abort()

    def _went_down(self) -> None:
        self.down = True
        if self.out_since is None:
            self.out_since = self._monotonic()

    def _become(self, state: ConnectionState, event: Event | None, reason: str) -> None:
        self.state = state
        self._observer.connection_changed(self, event, reason)

    # -- LinkHandler --------------------------------------------------------------------------------------

    def binary(self, message: bytes | memoryview) -> None:
        now = self._monotonic()
        ticks = self._codec.decode(message, self._routes, int(self._wall_clock() * 1000))
        if not ticks:
            self._liveness.heard(now)
            self.traffic.heartbeats += 1
            return
        self._liveness.ticked(now)
        self.traffic.ticks += len(ticks)
        self.traffic.last_tick_at = now
        first = self._arrivals.arrived(ticks)
        if first:
            self._observer.arrived(self, first)
        self._observer.ticked(self, ticks)

    def text(self, message: str) -> None:
        self._liveness.heard(self._monotonic())
        notice = self._codec.notice(message)
        if notice.kind is NoticeKind.REFUSAL:
            self.traffic.refusals += 1
            self.last_fault = notice.text
            self._observer.connection_changed(self, Event.REFUSED, notice.text)
            told = {"connection": self.name}
            logger.warning("%s: the broker refused a request: %s", self.name, notice.text, extra=told)

    def control_frame(self, *, answered: bool) -> None:
        self._liveness.heard(self._monotonic())
        if answered:
            self._count_control_frame()

    def closed(self, code: int, reason: str) -> None:
        carried = self.carried()
        self._routes.clear()
        self._in_flight = ()
        self._targets.reset()
        self._arrivals.clear()
        self._down.set()
        self._changed.set()
        if self._closing:
            return
        if not self.down:
            self.last_fault = f"socket closed with {code} {reason}".rstrip()
            self._went_down()
        event = Event.LOST
        match self._codec.farewell(code, reason):
            case Farewell.EVICTED:
                event = Event.EVICTED
                if self._seat is not None:
                    self._account.evicted(self._seat)
            case Farewell.CREDENTIALS:
                self._account.login.refuse(self.version)
        self._become(ConnectionState.WAITING, event, self.last_fault)
        self._observer.symbols_changed(list(self._instruments.values()), SymbolState.ACCEPTED)
        self._observer.symbols_lost(carried, self.last_fault, self)
