"""One broker socket: dials, restores, reports, and dials again; its replica says what it must carry."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from brokerpool.brokers.account import Account
from brokerpool.brokers.wire import Farewell, Signal, SignalKind, Wire
from brokerpool.event_journal import Event
from brokerpool.feed.account_limits import AccountLimits
from brokerpool.feed.backoff import PROVEN_SECONDS, Backoff
from brokerpool.feed.dial import DIAL_SECONDS, Dial, Failure, attempt
from brokerpool.feed.dial_permits import DialPermit
from brokerpool.feed.incoming_messages import Incoming
from brokerpool.feed.lifecycle_states import ConnectionState, SymbolState
from brokerpool.feed.message_pacing import Outgoing
from brokerpool.feed.socket_liveness import Liveness, Verdict
from brokerpool.feed.subscriptions import Subscriptions
from brokerpool.instruments import Instrument, Token
from brokerpool.repeated_log_messages import Complaints
from brokerpool.ticks import Mode, Tick
from brokerpool.transport import Link
from brokerpool.untrusted_text import remembered

logger = logging.getLogger("brokerpool.feed")


class ConnectionObserver(Protocol):
    """Whom a connection tells: its replica."""

    def ticked(self, connection: Connection, ticks: list[Tick]) -> None: ...
    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None: ...
    def arrived(self, connection: Connection, instruments: list[Instrument]) -> None: ...
    def symbols_refused(self, instruments: list[Instrument], reason: str, connection: Connection) -> None: ...
    def symbols_lost(self, instruments: list[Instrument], reason: str, connection: Connection) -> None: ...
    def paused_upstream(self, instruments: list[Instrument], reason: str, connection: Connection) -> None: ...
    def order_updated(self, update: str | bytes) -> None: ...
    def connection_changed(self, connection: Connection, event: Event | None, reason: str) -> None: ...


class Connection:
    """Keeps one socket open until it is ended, and makes the broker serve exactly what is wanted."""

    def __init__(
        self,
        name: str,
        feed: Account,
        account: AccountLimits,
        observer: ConnectionObserver,
        *,
        dial: Dial,
        backoff: Backoff,
        wall_clock: Callable[[], float],
    ) -> None:
        self.name = name
        self.state = ConnectionState.IDLE
        #: Counters over all sockets.
        self.dials = 0
        self.refusals = 0
        #: Why the last socket ended or was refused, for people.
        self.last_fault = ""
        #: True from the loss of a socket, or a refusal, until the next socket is open.
        self.down = False
        self._feed = feed
        self._account = account
        self._observer = observer
        self._dial = dial
        self._backoff = backoff
        self._monotonic = asyncio.get_running_loop().time
        #: Monotonic seconds since which nothing has been delivered; None while the socket is live.
        self.out_since: float | None = self._monotonic()
        #: Monotonic seconds at which the present socket was opened.
        self.opened_at = 0.0
        #: The version of the credentials with which it was opened.
        self.version = 0
        self._subscriptions = Subscriptions(feed.limits.capacity)
        self._liveness = Liveness(feed.limits.silence_seconds, self._monotonic())
        shared = account.messages, account.line, self._subscriptions, account.fence, self._monotonic
        self._outgoing = Outgoing(feed.limits, *shared, account.permission.holds)
        self._wire: Wire  # a new one for each socket, made at the dial
        self._incoming = Incoming(
            self, self._subscriptions, self._liveness, account.fence, self._monotonic, wall_clock
        )
        #: The answer to the wire's hello while it is waited for: None when the socket is live.
        self._greeting: asyncio.Future[Failure | None] | None = None
        self._complaints = Complaints()
        self._link: Link | None = None
        self._permit: DialPermit | None = None
        self._down = asyncio.Event()
        self._closing = False
        kept = account.fence.supervise(self._run, backoff.next, name="connection")
        self._task = asyncio.create_task(kept, name=f"brokerpool {name}")

    # -- for the replica ----------------------------------------------------------------------------------

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
        self._outgoing.changed()

    def drop(self, token: Token) -> None:
        """Stop carrying the token; ticks that are still under way are not passed on."""
        self._subscriptions.drop(token)
        self._outgoing.changed()

    def symbol_state(self, token: Token) -> SymbolState:
        """Tell how far a carried token has come on the present socket."""
        return self._subscriptions.state(token, self._monotonic())

    def sent_at(self, token: Token) -> float:
        """Return when a token was sent that has not ticked yet, or refused; raises KeyError for any other."""
        return self._subscriptions.sent_at(token)

    def refusal(self, token: Token) -> str:
        """Return why the broker refused a carried token on the present socket; empty when it did not."""
        refused = self._subscriptions.refused.get(token)
        return refused.reason if refused is not None else ""

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
        match self._liveness.verdict(now, trading=trading and self._subscriptions.expects(self.data_at)):
            case Verdict.PROBE if self._outgoing.ping(self._link):
                self._liveness.probed()
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
            "dials": self.dials,
            "refusals": self.refusals,
            "control_messages": self._outgoing.messages,
            **self._incoming.stats(self._monotonic()),
            "last_fault": self.last_fault,
        }

    def end(self, reason: str) -> None:
        """Begin to end the socket and the task; takes a few seconds at most and leaves nothing behind."""
        if not self._closing:
            self._closing = True
            self._become(ConnectionState.CLOSED, Event.CLOSED, reason)
            self._task.cancel()

    @property
    def ended(self) -> bool:
        """True once nothing is left of a connection that was ended."""
        return self._closing and self._task.done()

    async def gone(self) -> None:
        """Return once nothing is left of a connection that was ended."""
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
                await self._account.rest(self._backoff)

    async def _dial_once(self, permit: DialPermit) -> Link | None:
        """Dial, and return the socket that is open now; without one the account is told why."""
        self._become(ConnectionState.DIALLING, Event.DIALLED, "")
        until = self._monotonic() + DIAL_SECONDS
        self._wire = self._feed.wire()
        self._incoming.begin(self._wire)
        self._outgoing.begin(self._wire)
        self._down.clear()
        self.version = self._account.login.version
        self.dials += 1
        link = await attempt(self._feed, self._incoming, self._dial, self._account.fence)
        if isinstance(link, Failure):
            failure = link
        elif self._down.is_set():
            failure = Failure(f"accepted and closed at once: {self.last_fault}", busy=True)
        elif (refused := await self._greet(link, until)) is None:
            return link
        else:
            failure = refused
        self.refusals += 1
        self._went_down(failure.fault)
        self._become(ConnectionState.WAITING, Event.REFUSED, failure.fault)
        if failure.parks:
            self._account.login.refuse(self.version)
        else:
            self._account.failed(permit, retry_after=failure.retry_after, busy=failure.busy)
        return None

    async def _greet(self, link: Link, until: float) -> Failure | None:
        """Say what the broker wants to hear first, and return why the socket does not become live, if so."""
        hello = self._account.fence.call(self._wire.hello, otherwise=None)
        if hello is not None and not hello:
            return None
        greeting = self._greeting = asyncio.get_running_loop().create_future()
        failure: Failure | None = Failure(f"no answer to the login within {DIAL_SECONDS:g} s of the dial")
        try:
            if hello is None:  # it raised: without its login no socket is of use
                failure = Failure("no login to say, see the log")
                return failure
            self._become(ConnectionState.GREETING, None, "")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._outgoing.greet(link, hello)
                    failure = await greeting
            return failure
        finally:
            if failure is not None:
                self._went_down(failure.fault)
                self._leave(link)
                await self._down.wait()  # bounded, as in `_serve`
            self._greeting = None

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
            await self._outgoing.write(link, self._expected, self._interrupted)
        finally:
            self._leave(link)
            await self._down.wait()  # bounded: the link drops the TCP connection when the peer is slow
            self._link = self._permit = None
            lived = self._monotonic() - self.opened_at
            if lived >= PROVEN_SECONDS:
                self._backoff.reset()
            if not self._closing:
                self._account.lost(permit, lived)

    def _leave(self, link: Link) -> None:
        if self._account.permission.holds():
            link.close()
        else:
            link.abort()  # the account is another's: not even a farewell may leave

    def _expected(self, instruments: list[Instrument]) -> None:
        if instruments:
            self._observer.symbols_changed(instruments, SymbolState.SENT)

    def _interrupted(self, instruments: list[Instrument]) -> None:
        if instruments:
            self._observer.symbols_changed(instruments, SymbolState.ACCEPTED)
            self._observer.symbols_lost(instruments, "dropped for a moment: modes change places", self)

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

    def _refused(self, text: str, tokens: Sequence[Token]) -> None:
        now = self._monotonic()
        self.refusals += 1
        self.last_fault = text
        if self._complaints.heard(text, now):
            self._complain(text)
        if refused := self._subscriptions.refuse(tokens, text, now):
            self._observer.symbols_refused(refused, text, self)
        self._outgoing.changed()  # some may be asked for anew

    def _complain(self, text: str) -> None:
        self._observer.connection_changed(self, Event.REFUSED, text)
        told = {"connection": self.name}
        logger.warning("%s: the broker refused a request: %s", self.name, text, extra=told)

    def _become(self, state: ConnectionState, event: Event | None, reason: str) -> None:
        self.state = state
        self._observer.connection_changed(self, event, reason)

    # -- Receiver -----------------------------------------------------------------------------------------

    def ticked(self, ticks: list[Tick]) -> None:
        self._observer.ticked(self, ticks)

    def arrived(self, instruments: list[Instrument]) -> None:
        self._observer.arrived(self, instruments)

    def signalled(self, signal: Signal) -> None:
        """Heed what the broker said besides ticks."""
        match signal.kind:
            case SignalKind.READY | SignalKind.LOGIN_REFUSED:
                refused = signal.kind is SignalKind.LOGIN_REFUSED
                if self._greeting is not None and not self._greeting.done():
                    fault = f"the broker refused the login: {remembered(signal.words)}"
                    self._greeting.set_result(Failure(fault, parks=True) if refused else None)
                elif refused:
                    self._account.login.refuse(self.version)
            case SignalKind.REFUSED:
                self._refused(remembered(signal.words), signal.tokens)
            case SignalKind.GAP_BEGUN:
                dark = self._subscriptions.stop(signal.tokens, self._monotonic())
                self._observer.paused_upstream(dark, remembered(signal.words), self)
            case SignalKind.GAP_OVER:
                self._subscriptions.resume(signal.tokens)
            case SignalKind.ORDER_UPDATE:
                self._observer.order_updated(signal.text)
            case SignalKind.ANSWER:
                self._outgoing.answer(signal.text)

    def pong_sent(self) -> None:
        self._outgoing.pong_sent()

    def closed(self, code: int, reason: str) -> None:
        carried = self.carried()
        self._subscriptions.reset()
        self._down.set()
        self._outgoing.end()
        if self._closing:
            return
        if not self.down:
            self._went_down(f"socket closed with {code} {reason}".rstrip())
        farewell = self._account.fence.call(self._wire.farewell, code, reason, otherwise=Farewell.LOST)
        event = Event.EVICTED if farewell is Farewell.EVICTED else Event.LOST
        if farewell is Farewell.EVICTED and self._permit is not None:
            self._account.evicted(self._permit)
        elif farewell is Farewell.CREDENTIALS:
            self._account.login.refuse(self.version)
        if self._greeting is not None:  # told as a dial that was refused
            if not self._greeting.done():
                fault, busy = f"closed at the login: {self.last_fault}", farewell is Farewell.EVICTED
                self._greeting.set_result(Failure(fault, busy=busy))
            return
        self._become(ConnectionState.WAITING, event, self.last_fault)
        self._observer.symbols_changed(self._subscriptions.wanted(), SymbolState.ACCEPTED)
        self._observer.symbols_lost(carried, self.last_fault, self)
