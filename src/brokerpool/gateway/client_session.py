"""One client of the gateway: authenticates, asks, and is let go when it cannot keep up."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

from brokerpool.brokers import registry
from brokerpool.errors import AccessError, ErrorCode
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway import client_actions, client_replies
from brokerpool.gateway.client_actions import RequestError
from brokerpool.gateway.clients import Clients, client_name
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.deep_books import DeepBooks
from brokerpool.gateway.departed_clients import DeferredCleanup
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.gatekeeper import Caller, Gatekeeper
from brokerpool.gateway.lockout import network
from brokerpool.gateway.order_updates import OrderUpdates
from brokerpool.gateway.refusal_log import RefusalLog
from brokerpool.gateway.request_queue import RequestQueue, Steps
from brokerpool.gateway.stranger_log import StrangerLog
from brokerpool.gateway.subscriber_groups import Subscriber
from brokerpool.gateway.subscriptions import ANSWER_SECONDS, Room, Subscriptions
from brokerpool.http.recent_sum import SlidingSum
from brokerpool.store.keys import Scope
from brokerpool.transport import Link, LinkHandler
from brokerpool.transport.frames import POLICY_VIOLATION, TOO_BIG, TRY_AGAIN_LATER

#: Close codes of our own (RFC 6455 leaves 4000-4999 to applications); 4401 is OpenAlgo's.
AUTH_TIMEOUT = 4401
KEY_REVOKED = 4403
SLOW_CONSUMER = 4408
LOCKED_OUT = 4429

#: OpenAlgo names a user in some replies; one gateway serves one account.
USER_ID = "default"
#: Looked up once: that reads the disk.
SUPPORTED_BROKERS = tuple(registry.names())

_client_numbers = itertools.count(1)

#: Characters of a message from a client that has not authenticated: a key with room for what is around it.
STRANGERS_MESSAGE = 4096
#: Messages of such a client that are carried out within a second; more of them wait their turn.
STRANGERS_MESSAGES = 20
#: Characters of a message whose decoding is a slice of work of its own.
_LONG_MESSAGE = 16 * 1024


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one client may do and how long it may take."""

    auth_seconds: float
    buffer_bytes: int
    stuck_seconds: float
    max_symbols: int

    @property
    def max_entries(self) -> int:
        """Symbols in one request: at least all that a client may hold, for it asks so when it comes back."""
        return max(client_actions.MOST_ENTRIES, self.max_symbols)


class Session(LinkHandler):
    """Carries out one client's requests, strictly in order; none waits for more than the upstream's answer.

    A client that does not read is not read: nothing is carried out for it and nothing is written to it until
    its buffer has drained, and two timers end what takes too long: one for authentication, one for reading.
    """

    def __init__(
        self,
        upstream: Upstream,
        fanout: Fanout,
        deep_books: DeepBooks,
        refusals: RefusalLog,
        gatekeeper: Gatekeeper,
        limits: SessionLimits,
        cleanup: DeferredCleanup,
        slots: ConnectionSlots[Session],
        strangers: StrangerLog,
        clients: Clients,
        order_updates: OrderUpdates,
        *,
        user_agent: str = "",
        came: Callable[[str], str] = str,
        make_room: Callable[[], bool] = lambda: False,
    ) -> None:
        """`user_agent` is what the client calls itself; `came` tells where a client is whose TCP connection
        comes from an address; `make_room` lets go of symbols that no client holds, and tells whether there
        were any.
        """
        self._number = next(_client_numbers)
        self.name = client_name(self._number)
        self._upstream = upstream
        self._fanout = fanout
        self._deep_books = deep_books
        self._refusals = refusals
        self._gatekeeper = gatekeeper
        self._limits = limits
        self._cleanup = cleanup
        self._slots = slots
        self._strangers = strangers
        self._stranger = SlidingSum(1.0)
        self._clients = clients
        self._order_updates = order_updates
        self._user_agent = user_agent
        self._came = came
        self._make_room = make_room
        #: Whose key the client has shown, None before.
        self._caller: Caller | None = None
        self._link: Link
        self._subscriber: Subscriber
        self._subscriptions: Subscriptions
        self._requests: RequestQueue
        self._until_authenticated: asyncio.TimerHandle
        self._until_read: asyncio.TimerHandle | None = None

    # -- LinkHandler --------------------------------------------------------------------------------------

    def opened(self, link: Link) -> None:
        self._link = link
        self._subscriber = Subscriber(link, self._number)
        self._requests = RequestQueue(
            link,
            self._carry_out,
            delay=self._delay,
            overflow=lambda: link.close(POLICY_VIOLATION, "too many requests at once"),
            patience=ANSWER_SECONDS,
        )
        self._subscriptions = Subscriptions(
            self.name,
            self._subscriber,
            self._upstream,
            self._fanout,
            self._deep_books,
            self._refusals,
            room=self._room,
            make_room=self._make_room,
            later=self._cleanup.add,
            reply=link.send_text,
        )
        self._until_authenticated = self._close_in(self._limits.auth_seconds, AUTH_TIMEOUT, "auth timeout")
        leaves = self._slots.enter(self, network(self._came(link.address)))
        if leaves is not None:
            leaves.give_way()
        link.limit_buffer(self._limits.buffer_bytes)
        link.limit_socket_buffer(self._limits.buffer_bytes)

    def text(self, message: str) -> None:
        self._requests.put(message)

    def binary(self, message: bytes | memoryview) -> None:
        self._requests.put(bytes(message))

    def paused(self) -> None:
        self._requests.hold()
        self._fanout.pause(self._subscriber)
        self._order_updates.pause(self._link)
        seconds = self._limits.stuck_seconds
        self._until_read = self._close_in(seconds, SLOW_CONSUMER, "the client does not read")

    def resumed(self) -> None:
        if self._until_read is not None:
            self._until_read.cancel()
        self._order_updates.resume(self._link)
        self._requests.go_on(self._fanout.slow_clients.resume(self._subscriber))

    def closed(self, code: int, reason: str) -> None:
        if self._caller is None:
            self._strangers.note(f"left: {code} {reason}")
        else:
            self._clients.left(self._number, code, reason)
        self._slots.leave(self)
        self._until_authenticated.cancel()
        if self._until_read is not None:
            self._until_read.cancel()
        self._requests.close()
        self._order_updates.unsubscribe(self._link)
        if self._caller is not None:
            self._gatekeeper.leave(self._caller, self)
        self._cleanup.add(self._fanout.forget(self._subscriber))
        self._fanout.dropped += code == SLOW_CONSUMER
        self._cleanup.add(self._subscriptions.leave())

    def give_way(self) -> None:
        """End a client that has not authenticated, because another needs its place."""
        self._link.close(TRY_AGAIN_LATER, "too many clients that have not authenticated")
        self._link.abort()

    # -- KeyHolder ----------------------------------------------------------------------------------------

    @property
    def symbols(self) -> int:
        return self._subscriptions.symbols

    def dismiss(self) -> None:
        self._link.close(KEY_REVOKED, "the API key was revoked")

    # -- requests -----------------------------------------------------------------------------------------

    def _delay(self) -> float:
        if self._caller is not None:
            return self._gatekeeper.delay(self._caller)
        now = time.monotonic()
        if self._stranger.total(now) >= STRANGERS_MESSAGES:
            return self._stranger.frees(1, now)
        self._stranger.add(1, now)
        return 0.0

    def _carry_out(self, message: str | bytes) -> Steps:
        if self._caller is None and len(message) > STRANGERS_MESSAGE:
            self._link.close(TOO_BIG, f"message above {STRANGERS_MESSAGE} bytes before authentication")
            return
        try:
            request = client_actions.parse(message, self._limits.max_entries)
            if self._caller is None:
                _check_allowed_before_authentication(request)
            if len(message) > _LONG_MESSAGE:
                yield None
            yield from self._steps(request)
        except RequestError as error:
            if self._caller is not None:
                self._refusals.complain(self._number, f"a request: {error.code.name}: {error.message}")
            self._reply(client_replies.error(error.code, error.message))

    def _steps(self, request: client_actions.Request) -> Steps:
        match request:
            case client_actions.Authenticate():
                self._authenticate(request.api_key)
            case client_actions.Subscribe():
                yield from self._subscriptions.subscribe(request)
            case client_actions.Unsubscribe():
                yield from self._subscriptions.unsubscribe(request)
            case client_actions.UnsubscribeAll():
                yield from self._subscriptions.unsubscribe_all(request)
            case client_actions.ListSubscriptions():
                yield from self._subscriptions.tell(request)
            case client_actions.Ping():
                self._reply(client_replies.pong(request, time.time_ns() // 1_000_000))
            case client_actions.BrokerInfo():
                connected = self._upstream.connected
                self._reply(client_replies.broker_info(self._upstream.name, USER_ID, connected=connected))
            case client_actions.SupportedBrokers():
                self._reply(client_replies.supported_brokers(SUPPORTED_BROKERS))
            case client_actions.Orders():
                self._want_orders(request)

    def _authenticate(self, api_key: str | None) -> None:
        if api_key is None:
            self._reply(client_replies.refused_key("No API key was sent"))
            return
        try:
            address = self._came(self._link.address)
            caller = self._gatekeeper.admit(address, api_key, Scope.DATA)
            if caller != self._caller:
                self._gatekeeper.enter(caller, self)
        except AccessError as error:
            self._reply(client_replies.refused_key(error.fault, error.code))
            if error.code is ErrorCode.ADDRESS_LOCKED_OUT:
                self._link.close(LOCKED_OUT, "too many wrong keys")
            return
        if self._caller is not None and caller != self._caller:
            self._gatekeeper.leave(self._caller, self)
        if caller != self._caller:
            self._clients.came(self._number, caller.name, address, self._user_agent)
        self._caller = caller
        if Scope.ORDERS not in caller.scopes:
            self._order_updates.unsubscribe(self._link)
        self._slots.answer(self)
        self._fanout.admit(self._subscriber)
        self._until_authenticated.cancel()
        self._reply(client_replies.authenticated(self._upstream.name, USER_ID))

    def _want_orders(self, request: client_actions.Orders) -> None:
        if not request.wanted:
            self._order_updates.unsubscribe(self._link)
        elif self._caller is None or Scope.ORDERS not in self._caller.scopes:
            self._reply(client_replies.orders_refused(request))
            return
        self._reply(client_replies.orders(request))
        if request.wanted:
            self._order_updates.subscribe(self._link)

    def _room(self) -> Room:
        held, most = self.symbols, self._limits.max_symbols
        message = f"a client may hold {most} symbols and this one holds {held}"
        own = max(0, most - held), ErrorCode.CLIENT_SYMBOL_LIMIT, message
        shared = self._gatekeeper.room(self._caller) if self._caller else None
        if shared is None or shared >= own[0]:
            return own
        message = f"all clients with this API key together may hold {shared} symbols more"
        return shared, ErrorCode.KEY_SYMBOL_LIMIT, message

    # -- inside -------------------------------------------------------------------------------------------

    def _reply(self, message: bytes) -> None:
        self._link.send_text(message)

    def _close_in(self, seconds: float, code: int, reason: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(seconds, self._link.close, code, reason)


def _check_allowed_before_authentication(request: client_actions.Request) -> None:
    if not isinstance(
        request, client_actions.Authenticate | client_actions.Ping | client_actions.SupportedBrokers
    ):
        raise RequestError(ErrorCode.NOT_AUTHENTICATED, "authenticate first")
