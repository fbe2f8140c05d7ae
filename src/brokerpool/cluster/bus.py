"""Bus: what the cluster needs of a message system, whichever it is; all of it is bounded in time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeAlias

from brokerpool.errors import BrokerpoolError, ErrorCode

#: Is told the subject and the payload of each message; called on the event loop, must return quickly.
Handler: TypeAlias = Callable[[str, bytes], None]
#: Answers a request: subject and payload in, payload out; what it raises is no answer.
Answerer: TypeAlias = Callable[[str, bytes], Awaitable[bytes]]


class BusError(BrokerpoolError):
    """The bus is away, or did not answer in time; whether it has done what was asked is not known."""

    code = ErrorCode.BUS_UNREACHABLE


class Entry(NamedTuple):
    """One key of a store at one moment."""

    key: str
    #: None where the key was deleted.
    value: bytes | None
    #: Grows with every change of the store; a later change of a key has a higher one.
    revision: int


class Subscription(Protocol):
    """What is told to a handler until it is closed."""

    def close(self) -> None:
        """Tell the handler no more; a second call does nothing."""
        ...


class Store(Protocol):
    """Small values by key, each change with a revision by which writers fence each other.

    Every call raises BusError within a few seconds where the store does not answer; the write may have
    happened then. A cancelled write may have happened as well.
    """

    async def get(self, key: str) -> Entry | None:
        """Return the key's entry, None where there is none or it was deleted."""
        ...

    async def create(self, key: str, value: bytes) -> int | None:
        """Write a key that does not exist and return its revision; None, and no change, where it exists."""
        ...

    async def put(self, key: str, value: bytes) -> int:
        """Write the key, whatever it was, and return its revision."""
        ...

    async def update(self, key: str, value: bytes, revision: int) -> int | None:
        """Write the key if its last revision is this one; None, and no change, where it is another one."""
        ...

    async def delete(self, key: str, revision: int | None = None) -> bool:
        """Delete the key, where `revision` is given only if it is the last; tell whether it was done."""
        ...

    def watch(self, prefix: str, handler: Callable[[Entry], None]) -> Subscription:
        """Tell the handler every key that begins with the prefix, and from then on every change.

        A key may be told twice, and a value that another one has followed may be left out, but what a key is
        at last is told once the bus can: after an outage of the bus everything is told again.
        """
        ...


class Bus(Protocol):
    """Carries messages by subject, at most once and in a sender's order; everything on one event loop.

    A subject has parts between dots; in a pattern `*` stands for any one part and a last `>` for the rest.
    """

    @property
    def connected(self) -> bool:
        """True while messages can leave."""
        ...

    def on_connection(self, handler: Callable[[bool], None]) -> Subscription:
        """Tell the handler each time that `connected` has changed."""
        ...

    def publish(self, subject: str, payload: bytes) -> None:
        """Send a message, in the order of the calls; never waits and never raises for want of a connection.

        What does not fit into a bounded buffer, or was held when the connection broke, is dropped: receivers
        tell by the sender's own numbers.
        """
        ...

    def subscribe(self, pattern: str, handler: Handler) -> Subscription:
        """Tell the handler every message from now on, over reconnects as well."""
        ...

    def serve(self, subject: str, answer: Answerer) -> Subscription:
        """Answer the requests on the subject, each in a task of its own, from now on."""
        ...

    async def request(self, subject: str, payload: bytes, timeout: float) -> bytes:
        """Return the first answer.

        Raises BusError after `timeout` seconds, and at once where nobody serves the subject.
        """
        ...

    def store(self, bucket: str) -> Store:
        """Return the store of this name, see `subjects.BUCKETS`; it is made where it is missing."""
        ...
