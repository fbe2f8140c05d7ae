"""A store of the cluster in a JetStream bucket, and those who watch it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import nats.errors
from nats.aio.msg import Msg
from nats.js import JetStreamContext, api
from nats.js import errors as js_errors
from nats.js.kv import KV_OP, KeyValue

from brokerpool.callback_isolation import Fence
from brokerpool.cluster.bus import BusError, Entry

logger = logging.getLogger("brokerpool.cluster")
T = TypeVar("T")

#: What a server calls another revision than the one that was expected, in either of its ways.
_ANOTHER_REVISION = (10071, 10164)
#: A consumer that is silent for two of these is made anew.
_HEARTBEAT_SECONDS = 1.0
#: Between two tries to have a watch.
_RETRY_SECONDS = 0.5


class NatsStore:
    """A `Store` in one bucket, on disk, so that the servers' own restart forgets no lease."""

    def __init__(self, bucket: str, connected: Callable[[], bool]) -> None:
        """`connected` tells whether a server is connected; while none is, every question fails at once.

        It would wait for an answer until long after the server is back, and a write come when it is wrong.
        """
        self._name = bucket
        self._connected = connected
        self._stream: JetStreamContext | None = None
        self._kept: KeyValue | None = None
        self._watches: set[_Watch] = set()

    async def open(self, stream: JetStreamContext, replicas: int) -> None:
        """Have the bucket, which is made where it is missing, and tell all watches anew.

        Raises what nats-py raises.
        """
        try:
            self._kept = await stream.key_value(self._name)
        except js_errors.NotFoundError:
            config = api.KeyValueConfig(self._name, history=1, replicas=replicas)
            self._kept = await stream.create_key_value(config)
        self._stream = stream
        for watch in self._watches:
            watch.follow(stream)

    def close(self) -> None:
        """End every watch."""
        for watch in [*self._watches]:
            watch.close()

    async def get(self, key: str) -> Entry | None:
        """Return the key's entry, None where there is none or it was deleted. Raises BusError."""
        try:
            entry = await self._asked(lambda bucket: bucket.get(key))
        except js_errors.KeyNotFoundError:
            return None
        return Entry(key, bytes(entry.value or b""), entry.revision or 0)

    async def create(self, key: str, value: bytes) -> int | None:
        """Write a key that does not exist and return its revision; None where it exists. Raises BusError."""
        try:
            return await self._asked(lambda bucket: bucket.create(key, value))
        except js_errors.KeyWrongLastSequenceError:
            return None

    async def put(self, key: str, value: bytes) -> int:
        """Write the key, whatever it was, and return its revision. Raises BusError."""
        return await self._asked(lambda bucket: bucket.put(key, value))

    async def update(self, key: str, value: bytes, revision: int) -> int | None:
        """Write the key if its last revision is this one, else return None. Raises BusError."""
        try:
            return await self._asked(lambda bucket: bucket.update(key, value, last=revision))
        except js_errors.KeyWrongLastSequenceError:
            return None

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete the key, with a revision only if it is the last; tell whether it was. Raises BusError."""
        try:
            return await self._asked(lambda bucket: bucket.delete(key, last=revision))
        except js_errors.KeyWrongLastSequenceError:
            return False

    def watch(self, prefix: str, handler: Callable[[Entry], None]) -> _Watch:
        """Tell the handler every key that begins with the prefix, and every change from then on.

        The prefix ends with a dot, or is empty. After an outage everything is told again.
        """
        watch = _Watch(self._name, prefix, handler, self._watches.discard)
        self._watches.add(watch)
        if self._stream is not None:
            watch.follow(self._stream)
        return watch

    async def _asked(self, call: Callable[[KeyValue], Awaitable[T]]) -> T:
        """Return what the call does. Raises BusError in place of what says that the bus is at fault."""
        assert self._kept is not None  # the bus gives its stores away once they are open
        if not self._connected():
            raise BusError(f"The bucket {self._name} was not asked: no NATS server is connected.")
        try:
            return await call(self._kept)
        except js_errors.KeyValueError:
            raise
        except js_errors.APIError as error:
            if error.err_code in _ANOTHER_REVISION:
                raise js_errors.KeyWrongLastSequenceError(description=error.description) from None
            raise self._fault(error) from None
        except (nats.errors.Error, TimeoutError, OSError) as error:
            raise self._fault(error) from None

    def _fault(self, error: BaseException) -> BusError:
        return BusError(f"The bucket {self._name} has not answered: {_said(error)}.")


class _Watch:
    """One handler, and the consumer that tells it what happens in the bucket."""

    def __init__(
        self,
        bucket: str,
        prefix: str,
        handler: Callable[[Entry], None],
        ended: Callable[[_Watch], None],
    ) -> None:
        self._bucket = bucket
        self._before = f"$KV.{bucket}."
        self._pattern = f"{self._before}{prefix}>"
        self._handler = handler
        self._ended = ended
        self._fence = Fence("cluster")
        self._consumer: JetStreamContext.PushSubscription | None = None
        self._task: asyncio.Task[None] | None = None
        self._dropping: set[asyncio.Task[None]] = set()

    def follow(self, stream: JetStreamContext) -> None:
        """Tell everything from the beginning, in place of what was followed before."""
        self._drop()
        self._task = asyncio.create_task(self._follow(stream), name=f"brokerpool watch {self._bucket}")

    def close(self) -> None:
        """Tell the handler no more; a second call does nothing."""
        self._drop()
        self._ended(self)

    def _drop(self) -> None:
        if self._task is not None:
            self._task.cancel()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            task = asyncio.create_task(_unsubscribed(consumer), name="brokerpool watch ends")
            self._dropping.add(task)
            task.add_done_callback(self._dropping.discard)

    async def _follow(self, stream: JetStreamContext) -> None:
        while True:
            try:
                consumer = await stream.subscribe(
                    self._pattern,
                    stream=f"KV_{self._bucket}",
                    cb=self._received,
                    ordered_consumer=True,
                    deliver_policy=api.DeliverPolicy.LAST_PER_SUBJECT,
                    idle_heartbeat=_HEARTBEAT_SECONDS,
                )
            except (nats.errors.Error, TimeoutError, OSError) as error:
                logger.warning("the bucket %s is not watched yet: %s", self._bucket, _said(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._consumer = consumer
            return

    async def _received(self, message: Msg) -> None:
        gone = KV_OP in (message.headers or {})
        key, revision = message.subject.removeprefix(self._before), message.metadata.sequence.stream
        try:
            self._handler(Entry(key, None if gone else message.data, revision))
        except Exception as error:
            self._fence.caught(f"watching {self._bucket}", error)


async def _unsubscribed(consumer: JetStreamContext.PushSubscription) -> None:
    with contextlib.suppress(nats.errors.Error, TimeoutError, OSError):
        await consumer.unsubscribe()


def _said(error: BaseException) -> str:
    return str(error).removeprefix("nats: ").rstrip(".") or type(error).__name__
