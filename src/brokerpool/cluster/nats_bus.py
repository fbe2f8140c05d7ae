"""The bus of a cluster over NATS: subjects for what is told, JetStream buckets for what is kept."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from brokerpool.callback_isolation import Fence
from brokerpool.cluster.bus import Answerer, BusError, Handler, Store, Subscription
from brokerpool.cluster.nats_connection import Connection, connection_options, servers
from brokerpool.cluster.nats_store import NatsStore
from brokerpool.cluster.subjects import BUCKETS
from brokerpool.settings import ClusterSettings

logger = logging.getLogger("brokerpool.cluster")
T = TypeVar("T")

#: What opening the bus may take until it gives up.
OPEN_SECONDS = 10.0
#: Bytes that wait for a server which takes them too slowly; what is published beyond is lost, and counted.
WAITING_BYTES = 4 * 1024 * 1024
#: What waits for one handler here; what comes beyond is lost, and counted.
_INCOMING_MESSAGES = 65_536
_INCOMING_BYTES = 64 * 1024 * 1024
#: Requests on one subject that are being answered; one beyond gets no answer, and is counted.
_MOST_ANSWERING = 1000
#: Different faults that are logged in one time without a server.
_MOST_TOLD = 10
#: Between two measurements of the way to the server.
_MEASURE_SECONDS = 1.0
#: Between two tries to have the buckets again.
_RETRY_SECONDS = 0.5


@dataclass(slots=True)
class BusCounts:
    """What the bus has done since it was opened."""

    published: int = 0
    published_bytes: int = 0
    received: int = 0
    received_bytes: int = 0
    #: What was to be published while no server was connected, or took it too slowly.
    lost: int = 0
    #: What came faster than its handler took it.
    overrun: int = 0
    reconnects: int = 0


class NatsBus:
    """A `Bus` on NATS, which redials for ever once it was opened.

    Nothing is kept back for a server that is away: what came late would say what is true no more.
    """

    def __init__(self, settings: ClusterSettings, name: str) -> None:
        """`name` is how the servers' own statistics name this process. Raises SettingsError."""
        self._settings = settings
        self._options = connection_options(settings)
        self._name = name
        self._client = Connection()
        self._stores: dict[str, NatsStore] = {}
        self._handlers: list[Callable[[bool], None]] = []
        self._fence = Fence("cluster")
        self._restoring: asyncio.Task[None] | None = None
        self._connected = False
        #: What was said against the servers, since the start or the last time without one.
        self._told: list[str] = []
        self._measuring: asyncio.Task[None] | None = None
        self.counts = BusCounts()
        #: Seconds of the last way to the server and back, behind all that waited; None without a server.
        self.round_trip: float | None = None

    # -- its life -----------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect, and make the buckets that the cluster has not yet.

        Raises BusError after OPEN_SECONDS. Cancelled, it leaves nothing open.
        """
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await self._client.connect(
                    **self._options,
                    name=self._name,
                    # More than `publish` lets wait, so that nothing here ever waits for it.
                    pending_size=2 * WAITING_BYTES,
                    error_cb=self._failed,
                    disconnected_cb=self._disconnected,
                    reconnected_cb=self._reconnected,
                )
                await self._have_stores()
        except (TimeoutError, OSError, nats.errors.Error) as error:
            await self._end()
            said = self._told[-1] if self._told else _said(error)
            text = f"No NATS server at {servers(self._settings)} serves within {OPEN_SECONDS:g} s: {said}."
            raise BusError(text) from None
        except BaseException:
            await self._end()
            raise
        self._connected = True
        self._measuring = asyncio.create_task(self._measure(), name="brokerpool bus round trip")

    async def close(self) -> None:
        """Send what waits, as far as a second allows, and end, with every subscription."""
        with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
            await self._client.flush(timeout=1)
        await self._end()

    @property
    def connected(self) -> bool:
        """True while a server is connected and its buckets answer."""
        return self._connected

    def on_connection(self, handler: Callable[[bool], None]) -> Subscription:
        """Tell the handler each time that `connected` has changed."""
        self._handlers.append(handler)
        return Until(lambda: self._handlers.remove(handler))

    # -- what is told -------------------------------------------------------------------------------------

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a message to whoever listens now; never waits, and never raises for want of a connection."""
        client, counts = self._client, self.counts
        if not client.is_connected or client.pending_data_size + len(payload) > WAITING_BYTES:
            counts.lost += 1
            return
        try:
            client.tell(subject, payload)
        except nats.errors.Error as error:  # larger than the server takes
            counts.lost += 1
            self._fence.caught(f"publishing on {subject}", error)
            return
        counts.published += 1
        counts.published_bytes += len(payload)

    def subscribe(self, pattern: str, handler: Handler) -> Subscription:
        """Tell the handler every message from now on, over reconnects as well."""
        counts = self.counts

        async def received(message: Msg) -> None:
            counts.received += 1
            counts.received_bytes += len(message.data)
            try:
                handler(message.subject, message.data)
            except Exception as error:
                self._fence.caught(pattern, error)

        return self._subscribed(pattern, received)

    def serve(self, subject: str, answer: Answerer) -> Subscription:
        """Answer the requests on the subject, each in a task of its own; one that raises gives no answer."""
        answering: set[asyncio.Task[None]] = set()

        async def respond(message: Msg) -> None:
            try:
                said = await answer(message.subject, message.data)
            except Exception as error:
                self._fence.caught(subject, error)
                return
            self.publish(message.reply, said)

        async def received(message: Msg) -> None:
            if not message.reply:
                return  # nobody waits for an answer, and one to nowhere ends the connection
            if len(answering) == _MOST_ANSWERING:
                self.counts.overrun += 1
                return
            task = asyncio.create_task(respond(message), name=f"brokerpool answer on {subject}")
            answering.add(task)
            task.add_done_callback(answering.discard)

        subscription = self._subscribed(subject, received)

        def end() -> None:
            subscription.close()
            for task in answering:
                task.cancel()

        return Until(end)

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        """Return the first answer. Raises BusError after `timeout` seconds, at once where nobody serves."""
        if not self._client.is_connected:
            raise BusError("No NATS server is connected.")
        try:
            message = await self._client.request(subject, payload, timeout=timeout)
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise BusError(
                f"Nobody has answered on {subject} within {timeout:g} s: {_said(error)}."
            ) from None
        return bytes(message.data)

    def store(self, bucket: str) -> Store:
        """Return the store of this name, one of `BUCKETS`."""
        return self._stores[bucket]

    # -- inside -------------------------------------------------------------------------------------------

    def _subscribed(self, pattern: str, received: Callable[[Msg], Awaitable[None]]) -> Until:
        made: NatsSubscription = _at_once(
            self._client.subscribe(
                pattern,
                cb=received,
                pending_msgs_limit=_INCOMING_MESSAGES,
                pending_bytes_limit=_INCOMING_BYTES,
            )
        )

        def end() -> None:
            with contextlib.suppress(nats.errors.Error):
                _at_once(made.unsubscribe())

        return Until(end)

    async def _have_stores(self) -> None:
        """Return once all buckets answer, those included that had to be made."""
        stream = self._client.jetstream(timeout=1)
        missing = list(BUCKETS)
        while missing:
            name = f"{self._settings.cluster}-{missing[0]}"
            store = self._stores.setdefault(missing[0], NatsStore(name, lambda: self._client.is_connected))
            try:
                await store.open(stream, self._settings.nats_replicas)
                del missing[0]
            except (nats.errors.Error, TimeoutError, OSError) as error:
                self._note(f"there is no bucket {name}: {_said(error)}")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _measure(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                await self._client.flush(timeout=5)
                # Without a server it has nothing to wait for.
                self.round_trip = clock() - began if self._client.is_connected else None
            except (nats.errors.Error, TimeoutError, OSError):
                self.round_trip = None
            await asyncio.sleep(_MEASURE_SECONDS)

    async def _failed(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            self.counts.overrun += 1
        self._note(_said(error))

    def _note(self, said: str) -> None:
        if said not in self._told and len(self._told) < _MOST_TOLD:
            self._told.append(said)
            logger.warning("NATS: %s", said)

    async def _disconnected(self) -> None:
        self._client.drop_what_waits()
        self.round_trip = None
        self._tell(connected=False)

    async def _reconnected(self) -> None:
        self.counts.reconnects += 1
        if self._restoring is not None:
            self._restoring.cancel()
        self._restoring = asyncio.create_task(self._restore(), name="brokerpool bus restored")

    async def _restore(self) -> None:
        """Have the buckets again, and all that watches them; then the bus is connected."""
        await self._have_stores()
        self._tell(connected=True)

    def _tell(self, *, connected: bool) -> None:
        if connected == self._connected:
            return
        self._connected = connected
        if connected:
            self._told.clear()
            logger.info("NATS is connected again")
        else:
            logger.warning("NATS is not connected; redialling %s", servers(self._settings))
        for handler in [*self._handlers]:
            try:
                handler(connected)
            except Exception as error:
                self._fence.caught("a change of the connection", error)

    async def _end(self) -> None:
        self._connected = False
        for task in (self._restoring, self._measuring):
            if task is not None:
                task.cancel()
        for store in self._stores.values():
            store.close()
        await self._client.end()


class Until:
    """A `Subscription` that ends with a call."""

    def __init__(self, end: Callable[[], object]) -> None:
        self._end: Callable[[], object] | None = end

    def close(self) -> None:
        """Tell the handler no more; a second call does nothing."""
        end, self._end = self._end, None
        if end is not None:
            end()


def _at_once(call: Coroutine[Any, Any, T]) -> T:
    """Return what a call does that only writes into a buffer, without a task for each message."""
    try:
        call.send(None)
    except StopIteration as done:
        return done.value  # type: ignore[no-any-return]  # typeshed knows not whose return it carries
    call.close()
    raise nats.errors.OutboundBufferLimitError


def _said(error: BaseException) -> str:
    return str(error).removeprefix("nats: ").rstrip(".") or type(error).__name__
