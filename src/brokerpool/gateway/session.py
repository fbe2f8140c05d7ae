"""One client of the gateway: authenticates, subscribes, and is let go when it cannot keep up."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from brokerpool.db.keys import Scope
from brokerpool.errors import AccessError, ErrorCode
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.refusals import Subscribed
from brokerpool.gateway import feed_status, protocol
from brokerpool.gateway.audience import Subscriber
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.gatekeeper import Caller, Gatekeeper
from brokerpool.gateway.protocol import Entry, Outcome, RequestError
from brokerpool.gateway.refusals import RefusalLog
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from brokerpool.transport import Link, LinkHandler

logger = logging.getLogger("brokerpool.gateway")

#: Close codes of our own (RFC 6455 leaves 4000-4999 to applications); 4401 is OpenAlgo's.
AUTH_TIMEOUT = 4401
KEY_REVOKED = 4403
SLOW_CONSUMER = 4408
LOCKED_OUT = 4429
POLICY_VIOLATION = 1008

#: OpenAlgo names a user in some replies; one gateway serves one account.
USER_ID = "default"
SUPPORTED_BROKERS = ("zerodha",)

_CLIENT = "client-"
_client_numbers = itertools.count(1)

T = TypeVar("T")
_DONE = object()
#: Symbols of one request that are dealt with before ticks and other clients have their turn: about 2 ms.
_SLICE = 250
#: Requests that may wait behind a long one.
_INBOX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one client may do and how long it may take."""

    auth_seconds: float
    buffer_bytes: int
    stuck_seconds: float
    max_symbols: int


class Session(LinkHandler):
    """Carries out one client's requests, strictly in order; none of them waits for the network.

    A long list of symbols is worked off in slices, one a turn of the event loop, so that nobody's ticks
    wait for it; what the client sends meanwhile waits its turn.
    """

    def __init__(
        self,
        pool: WebSocketPool,
        fanout: Fanout,
        refusals: RefusalLog,
        gatekeeper: Gatekeeper,
        limits: SessionLimits,
        *,
        came: Callable[[str], str] = str,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        """`came` tells where a client is whose TCP connection comes from an address; `make_room` lets go of
        symbols that no client holds, and tells whether there were any.
        """
        self._number = next(_client_numbers)
        self.name = f"{_CLIENT}{self._number}"
        self._pool = pool
        self._fanout = fanout
        self._refusals = refusals
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._came = came
        self._make_room = make_room
        #: Whose key the client has shown, None before.
        self._caller: Caller | None = None
        self._slow = False
        self._unread = 0  # bytes of replies to a client that is slow
        self._link: Link
        self._subscriber: Subscriber
        self._deadline: asyncio.TimerHandle | None = None
        self._inbox: deque[str | bytes] = deque()
        self._inbox_bytes = 0
        self._steps: Iterator[None] | None = None  # what is left of the present request
        self._turn: asyncio.Handle | None = None  # when it goes on

    # -- LinkHandler --------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        self._link = link
        self._subscriber = Subscriber(link, self._number)
        link.limit_buffer(self._limits.buffer_bytes)
        link.limit_socket_buffer(self._limits.buffer_bytes)
        self._close_in(self._limits.auth_seconds, AUTH_TIMEOUT, "auth timeout")

    def text(self, message: str) -> None:
        self._take(message)

    def binary(self, message: bytes | memoryview) -> None:
        self._take(bytes(message))

    def paused(self) -> None:
        self._slow = True
        self._fanout.pause(self._subscriber)
        if self._caller is not None:
            self._close_in(self._limits.stuck_seconds, SLOW_CONSUMER, "the client does not read")

    def resumed(self) -> None:
        self._slow = False
        self._unread = 0
        if self._caller is not None:
            self._cancel_deadline()
        self._fanout.resume(self._subscriber)

    def closed(self, code: int, reason: str) -> None:
        told = {"client": self.name, "close_code": code}
        logger.info("%s left: %d %s", self.name, code, reason, extra=told)
        self._cancel_deadline()
        if self._turn is not None:
            self._turn.cancel()
        if self._caller is not None:
            self._gatekeeper.leave(self._caller, self)
        self._fanout.forget(self._subscriber)
        self._fanout.dropped += code == SLOW_CONSUMER
        self._pool.let_go(self.name)

    # -- Guest --------------------------------------------------------------------------------------------

    @property
    def symbols(self) -> int:
        return self._pool.demand.count(self.name)

    def dismiss(self) -> None:
        self._link.close(KEY_REVOKED, "the API key was revoked")

    # -- requests -----------------------------------------------------------------------------------------

    def _take(self, message: str | bytes) -> None:
        """Carry out a message now, or when those before it are done."""
        self._inbox.append(message)
        self._inbox_bytes += len(message)
        if self._turn is None:
            self._go_on()
        elif self._inbox_bytes > _INBOX_BYTES:
            self._link.close(POLICY_VIOLATION, "too many requests at once")

    def _go_on(self) -> None:
        """Work until a long request has had its share of this turn of the loop; the rest waits."""
        self._turn = None
        while self._steps is not None or self._inbox:
            if self._steps is None:
                if wait := self._gatekeeper.delay(self._caller) if self._caller else 0.0:
                    self._turn = asyncio.get_running_loop().call_later(wait, self._go_on)
                    return
                message = self._inbox.popleft()
                self._inbox_bytes -= len(message)
                self._steps = self._begin(message)
            if next(self._steps, _DONE) is _DONE:
                self._steps = None
            else:
                self._turn = asyncio.get_running_loop().call_soon(self._go_on)
                return

    def _begin(self, message: str | bytes) -> Iterator[None]:
        try:
            request = protocol.parse(message)
            if self._caller is None:
                _check_allowed_before_authentication(request)
            yield from self._carry_out(request)
        except RequestError as error:
            self._reply(protocol.error(error.code, error.message))

    def _carry_out(self, request: protocol.Request) -> Iterator[None]:
        match request:
            case protocol.Authenticate():
                self._authenticate(request.api_key)
            case protocol.Subscribe():
                yield from self._subscribe(request)
            case protocol.Unsubscribe():
                yield from self._unsubscribe(request)
            case protocol.UnsubscribeAll():
                yield from self._unsubscribe_all(request)
            case protocol.Ping():
                self._reply(protocol.pong(request, time.time_ns() // 1_000_000))
            case protocol.BrokerInfo():
                connected = self._pool.connected
                self._reply(protocol.broker_info(self._pool.name, USER_ID, connected=connected))
            case protocol.SupportedBrokers():
                self._reply(protocol.supported_brokers(SUPPORTED_BROKERS))
            case protocol.Orders():
                self._reply(protocol.orders(request))

    def _authenticate(self, api_key: str | None) -> None:
        if api_key is None:
            self._reply(protocol.refused_key("No API key was sent"))
            return
        try:
            caller = self._gatekeeper.admit(self._came(self._link.address), api_key, Scope.DATA)
            if caller != self._caller:
                self._gatekeeper.enter(caller, self)
        except AccessError as error:
            self._reply(protocol.refused_key(error.fault, error.code))
            if error.code is ErrorCode.ADDRESS_LOCKED_OUT:
                self._link.close(LOCKED_OUT, "too many wrong keys")
            return
        if self._caller is not None and caller != self._caller:
            self._gatekeeper.leave(self._caller, self)
        self._caller = caller
        self._fanout.admit(self._subscriber)
        self._cancel_deadline()
        self._reply(protocol.authenticated(self._pool.name, USER_ID))

    def _subscribe(self, request: protocol.Subscribe) -> Iterator[None]:
        refused: dict[Instrument, tuple[ErrorCode, str]] = {}
        wanted = dict.fromkeys(entry.instrument for entry in request.entries if not entry.fault)
        demand = self._pool.demand
        fresh = [instrument for instrument in wanted if not demand.holds(self.name, instrument)]
        room, code, message = self._room()
        for instrument in fresh[room:]:
            refused[instrument] = code, message
            del wanted[instrument]
        accepted: list[Instrument] = []
        for part in _slices([*wanted]):
            result = self._want(part, request)
            refused.update((r.instrument, (r.code, r.message)) for r in result.refused)
            for instrument in result.accepted:
                self._fanout.add(self._subscriber, instrument, request.mode)
            accepted += result.accepted
            if len(part) == _SLICE:
                yield
        self._refusals.note(self._number, refused)
        outcomes = [_outcome(entry, refused) for entry in request.entries]
        self._reply(protocol.subscribed(request, outcomes, self._pool.depth_levels, self._pool.name))
        gaps = {i: gap for i in accepted if (gap := self._pool.gap(i)) is not None}
        known = self._fanout.snapshot(((i, request.mode) for i in accepted), gaps.__contains__)
        known += b"".join(feed_status.stale(self._pool.name, gap) for gap in gaps.values())
        if known and not self._slow:
            self._link.send_frames(known)

    def _room(self) -> tuple[int, ErrorCode, str]:
        """Return how many more symbols the client may hold, and with what one more is refused."""
        held, most = self.symbols, self._limits.max_symbols
        message = f"a client may hold {most} symbols and this one holds {held}"
        own = max(0, most - held), ErrorCode.CLIENT_SYMBOL_LIMIT, message
        shared = self._gatekeeper.room(self._caller) if self._caller else None
        if shared is None or shared >= own[0]:
            return own
        message = f"all clients with this API key together may hold {shared} symbols more"
        return shared, ErrorCode.KEY_SYMBOL_LIMIT, message

    def _want(self, instruments: Sequence[Instrument], request: protocol.Subscribe) -> Subscribed:
        while True:
            result = self._pool.subscribe(
                instruments, request.mode, owner=self.name, priority=request.priority, partial=True
            )
            full = any(r.code is ErrorCode.MAX_CAPACITY_REACHED for r in result.refused)
            if not full or not self._make_room():
                return result

    def _unsubscribe(self, request: protocol.Unsubscribe) -> Iterator[None]:
        for part in _slices(request.entries):
            for entry in part:
                if not entry.fault:
                    self._give_up(entry.instrument, tuple(Mode) if entry.mode is None else (entry.mode,))
            if len(part) == _SLICE:
                yield
        outcomes = [_outcome(entry, {}) for entry in request.entries]
        self._reply(protocol.unsubscribed(request, outcomes, self._pool.name))

    def _unsubscribe_all(self, request: protocol.UnsubscribeAll) -> Iterator[None]:
        instruments = sorted(self._pool.demand.instruments(self.name))
        for part in _slices(instruments):
            for instrument in part:
                self._give_up(instrument, tuple(Mode))
            if len(part) == _SLICE:
                yield
        outcomes = [Outcome(Entry(i.symbol, i.exchange, None, i)) for i in instruments]
        self._reply(protocol.unsubscribed(request, outcomes, self._pool.name))

    def _give_up(self, instrument: Instrument, modes: Iterable[Mode]) -> None:
        for mode in modes:
            self._fanout.remove(self._subscriber, instrument, mode)
            self._pool.unsubscribe(instrument, mode, owner=self.name)

    # -- inside -------------------------------------------------------------------------------------------

    def _reply(self, message: bytes) -> None:
        # Ticks are held back by the fan-out; replies are bounded here, or a client could fill our memory
        # by asking without ever reading.
        if self._slow:
            self._unread += len(message)
            if self._unread > self._limits.buffer_bytes:
                self._link.close(SLOW_CONSUMER, "replies are not read")
                return
        self._link.send_text(message)

    def _close_in(self, seconds: float, code: int, reason: str) -> None:
        self._cancel_deadline()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(seconds, self._link.close, code, reason)

    def _cancel_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def client_number(owner: str) -> int:
    """Return the number that a client has in the log, 0 for an owner that is no client of the gateway."""
    number = owner.removeprefix(_CLIENT)
    return int(number) if number != owner and number.isdigit() else 0


def _check_allowed_before_authentication(request: protocol.Request) -> None:
    if not isinstance(request, protocol.Authenticate | protocol.Ping | protocol.SupportedBrokers):
        raise RequestError(ErrorCode.NOT_AUTHENTICATED, "authenticate first")


def _slices(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + _SLICE] for start in range(0, len(items), _SLICE))


def _outcome(entry: Entry, refused: Mapping[Instrument, tuple[ErrorCode, str]]) -> Outcome:
    if entry.fault:
        return Outcome(entry, ErrorCode.INVALID_PARAMETERS, entry.fault)
    return Outcome(entry, *refused.get(entry.instrument, ()))
