"""What a simulated broker's folder brings to what all of them share: its wire, its names, its limits.

A front is a subclass of `broker.SimulatedBroker` in `simulator/NAME/broker.py`, known there as `Simulator`;
`fronts` finds it by the folder's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.ticks import Mode

if TYPE_CHECKING:
    from brokerpool.simulator.exchange import Quote
    from brokerpool.simulator.fault_switches import Malformation

_NOTHING: list[int] = []


class Grace(NamedTuple):
    """How long a socket may be open without something, and how it is closed then."""

    seconds: float
    code: int
    reason: str


class Pings(NamedTuple):
    """How often a client is pinged, and how long it has for its answer; without one it is closed."""

    seconds: float
    patience: float


class Limits(NamedTuple):
    """What the broker publishes: sockets of an account, tokens of a socket, heartbeats, rates of calls.

    `math.inf` where there is no limit, or no heartbeat.
    """

    max_sockets: float
    max_tokens: float
    heartbeat_seconds: float
    #: By group of endpoints.
    http_rates: Mapping[str, Sequence[RateWindow]]
    #: None where the dial itself brings the credentials.
    login: Grace | None = None
    #: How long a client may say nothing of itself, not even a ping; None where that is no matter.
    silence: Grace | None = None
    pings: Pings = Pings(20.0, 20.0)
    #: True: a socket too many is let in, and the eldest is ended for it.
    evicts: bool = False


class Wire(Protocol):
    """The messages that carry ticks; a module of functions is one.

    A packet is what a message tells of one instrument, a record is a packet as it stands in a message.
    """

    #: Whether ticks come as text messages.
    TEXT: bool
    #: Sent when a socket was idle: what clients take as a sign of life.
    HEARTBEAT: bytes
    #: A larger burst leaves in several messages, so that none grows without bound.
    PACKETS_PER_FRAME: int

    def record(self, quote: Quote, mode: Mode, /) -> bytes:
        """Return the record of a quote in a mode."""
        ...

    def records(self, quote: Quote, modes: Collection[Mode], /) -> Mapping[Mode, Sequence[bytes]]:
        """Return what clients of several modes get of a quote, by their mode."""
        ...

    def frame(self, records: Sequence[bytes], /) -> bytes:
        """Return the message that carries the records."""
        ...

    def malformed(self, kind: Malformation, records: Sequence[bytes], /) -> bytes:
        """Return the message of the records, spoilt in one way."""
        ...

    def packets(self, message: bytes, /) -> Iterator[bytes]:
        """Yield the packets of a recorded message, whatever its bytes are."""
        ...

    def packet_token(self, packet: bytes, /) -> int | None:
        """Return the token of a packet, None when it has none."""
        ...

    def trimmed(self, packet: bytes, mode: Mode, /) -> bytes:
        """Return the record of a packet in a lower mode."""
        ...

    def error(self, text: str, /) -> bytes:
        """Return the text message that tells a client what is wrong with its request; empty for none."""
        ...


class Outcome(NamedTuple):
    """What a client's request changed; with an `error` nothing did."""

    added: list[int] = _NOTHING
    removed: list[int] = _NOTHING
    #: Tokens whose mode is another one than before.
    remoded: list[int] = _NOTHING
    error: str | None = None
    #: True when the request would have crossed the limit.
    over_limit: bool = False
    #: Text messages for the client.
    answers: Sequence[bytes] = ()
    #: Seconds after which they leave and the next request is looked at.
    after: float = 0.0
    #: True: until then no client at all is served.
    alone: bool = False
    #: Messages of the wire's kind for the client, before anything else.
    messages: Sequence[bytes] = ()
    #: True: they are the last, and the socket is closed.
    ends: bool = False


class Subscriptions(Protocol):
    """The tokens of one socket; `handle` takes the messages of its client."""

    @property
    def modes(self) -> Mapping[int, Mode]:
        """What is subscribed to."""
        ...

    @property
    def logged_in(self) -> bool:
        """Whether the client has said who it is."""
        ...

    @property
    def entries(self) -> int:
        """Subscribe entries that count against the limit."""
        ...

    @property
    def largest_batch(self) -> int:
        """The most tokens that one request named."""
        ...

    def handle(self, message: str | bytes) -> Outcome:
        """Carry out one request, or tell what is wrong with it; never raises, whatever the message is."""
        ...

    def report(self) -> dict[str, str]:
        """Return the mode of every token in the broker's words, ready for JSON."""
        ...
