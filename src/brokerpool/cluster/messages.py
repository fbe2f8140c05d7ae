"""What is said on the bus: arrays in MessagePack, each with the version of its format first."""

from __future__ import annotations

from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.symbol_explanation import AccountStatus, Carrier

#: The version of all formats here; what has another one is not for this program, and is left alone.
FORMAT = 1

#: An instrument: exchange and symbol.
Name: TypeAlias = tuple[str, str]
#: A symbol of an account's list: exchange, symbol, token, and the fields of `Details` where it has any.
Listed: TypeAlias = tuple[str, str, int | str, tuple[Any, ...] | None]

T = TypeVar("T")


class Message(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What they all begin with."""

    format: int


class LeaseValue(Message, frozen=True, gc=False):
    """Who holds an account; the store's revision of it is the fence."""

    #: Empty while nobody holds it: it was let go of, with every socket closed.
    node: str
    #: Grows with every holder.
    epoch: int
    #: Grows with every renewal, so that its writer knows its own write again.
    count: int
    #: How many seconds before this was written each dial left that counts in a window of the broker's.
    dials: tuple[float, ...] = ()
    #: Sockets that the holder before may have open until it says that it has gone, or its time is over.
    left_open: int = 0
    #: The holder before where it handed the account over, else empty.
    handed_over_by: str = ""


class NodeSign(Message, frozen=True, gc=False):
    """A node lives, and can hold these accounts."""

    node: str
    #: Grows with every sign.
    count: int
    accounts: tuple[str, ...]
    #: True from the moment at which it hands over what it holds, to end.
    leaving: bool = False


class GatewaySign(Message, frozen=True, gc=False):
    """A gateway lives, and so does its demand."""

    gateway: str
    #: Grows with every sign.
    count: int
    #: Whether it wants a connection kept open for what it tells of orders.
    hears_orders: bool = False


class DemandSlice(Message, frozen=True, gc=False):
    """A part of what a gateway wants of an account: all of that part, each time."""

    gateway: str
    number: int
    #: Grows with every change of the slice.
    version: int
    #: Exchange, symbol, mode, priority, and whether it is a guest, whose own account is out.
    wanted: tuple[tuple[str, str, int, int, bool], ...] = ()


class SliceAnswer(Message, frozen=True, gc=False):
    """What became of one version of a slice; what is not refused is accepted."""

    account: str
    epoch: int
    number: int
    version: int
    #: Exchange, symbol, mode, the code of the error, and the reason in words.
    refused: tuple[tuple[str, str, int, str, str], ...] = ()


class Batch(Message, frozen=True, gc=False):
    """Ticks and news of one shard in their order; without rows a sign of life."""

    epoch: int
    #: Grows by one with each batch that has rows; a sign of life repeats the last.
    sequence: int
    #: Epoch milliseconds at which the first tick of the batch was received.
    received_ms: int
    #: Numbers by which rows name instruments from here on: number, exchange, symbol.
    names: tuple[tuple[int, str, str], ...] = ()
    #: See `tick_codec`; the first of each is its kind.
    rows: tuple[tuple[Any, ...], ...] = ()


class Snapshot(Message, frozen=True, gc=False):
    """How a shard stands after the batch with this sequence."""

    shard: int
    epoch: int
    sequence: int
    names: tuple[tuple[int, str, str], ...]
    rows: tuple[tuple[Any, ...], ...]


class SnapshotRequest(Message, frozen=True, gc=False):
    """Asks whoever holds the account for how a shard stands."""

    shard: int


class BookRequest(Message, frozen=True, gc=False):
    """Asks for one part of an account's instrument list."""

    #: 0 for whichever there is now.
    version: int
    part: int


class BookPart(Message, frozen=True, gc=False):
    """A part of an account's instrument list."""

    #: Another one once another list is in use.
    version: int
    part: int
    parts: int
    takes_unlisted: bool
    symbols: tuple[Listed, ...]


class ExplainRequest(Message, frozen=True, gc=False):
    """Asks whoever holds the account what it knows of one instrument."""

    instrument: Name


class Explained(Message, frozen=True, gc=False):
    """What a gateway cannot know of a symbol of an account, see `Explanation`."""

    node: str
    #: Whether there would be a place for it.
    fits: bool
    state: SymbolState | None
    carriers: tuple[Carrier, ...]
    usual_pause: float
    #: Where the node has several accounts as one: which of them carries it and why.
    route: str


class OperatorOrder(Message, frozen=True, gc=False):
    """An operator has a connection rotated or drained."""

    order: str
    connection: str


class Status(Message, frozen=True, gc=False):
    """How an account stands; the newest is all that counts."""

    account: str
    node: str
    epoch: int
    #: Grows with every status of the epoch.
    number: int
    broker: str
    depth_levels: int
    #: Of the instrument list that is in use.
    book: int
    connected: bool
    symbols_down: int
    symbols_unserved: int
    #: Of each of its accounts, in order of preference.
    accounts: tuple[AccountStatus, ...]
    #: The numbers under `websocket`, see `Upstream.get_pool_stats`.
    statistics: dict[str, Any]


_encoder = msgspec.msgpack.Encoder()


def encode(message: Message) -> bytes:
    """Return the message's bytes."""
    return _encoder.encode(message)


class Decoder(Generic[T]):
    """Reads messages of one kind from bytes that anybody may have sent."""

    def __init__(self, kind: type[T]) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        #: Messages that were no such thing, or of another version.
        self.faults = 0

    def __call__(self, payload: bytes) -> T | None:
        """Return the message, None for what is none, or has another format."""
        try:
            message = self._decoder.decode(payload)
        except msgspec.DecodeError:
            self.faults += 1
            return None
        # Every message has its format first, which a type variable cannot say.
        if message.format != FORMAT:  # type: ignore[attr-defined]
            self.faults += 1
            return None
        return message
