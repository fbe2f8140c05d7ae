"""What a broker must provide so that the pool can keep its feed: limits, an address and a codec."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import Enum
from importlib import resources
from typing import Any, NamedTuple, Protocol

from brokerpool.brokers.capacity import Capacity, ModeRule, mode_rule
from brokerpool.brokers.login import Login
from brokerpool.instruments import Instrument, Token, TokenBook
from brokerpool.ticks import Mode, Tick


class RateWindow(NamedTuple):
    """At most so many of something within any so many seconds."""

    most: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """What one account may do on a broker's WebSocket feed; from the broker's `limits.toml`."""

    #: Instruments that one socket carries.
    symbols_per_connection: int
    #: Sockets open at the same time.
    max_connections: int
    #: Instruments named in one control message.
    batch_size: int
    #: Control messages on one socket.
    control_messages: tuple[RateWindow, ...]
    #: Control messages over all sockets of the account.
    account_messages: tuple[RateWindow, ...]
    #: Whether the broker counts pings and pongs as control messages.
    pings_counted: bool
    #: Dials of the account, those that are refused included.
    dials: tuple[RateWindow, ...]
    #: Seconds after which the broker ends a socket of its own accord; 0 when it does not.
    socket_life_seconds: float
    #: Seconds without any message, heartbeats included, after which a socket counts as dead.
    silence_seconds: float
    #: Levels of the order book on each side.
    depth_levels: int
    #: What one socket carries in each mode, None where modes count alike.
    modes: ModeRule | None = None

    @classmethod
    def load(cls, broker: str) -> FeedLimits:
        """Read the broker's `limits.toml`: each figure with source and date; `[capacity]` may be left out."""
        text = resources.files(f"brokerpool.brokers.{broker}").joinpath("limits.toml").read_text("utf-8")
        tables: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(text)
        table = tables["websocket"]
        values = {f.name: table[f.name]["value"] for f in fields(cls) if f.name != "modes"}
        windows = {n: tuple(RateWindow(*w) for w in v) for n, v in values.items() if isinstance(v, list)}
        modes = mode_rule(tables.get("capacity", {}), values["symbols_per_connection"])
        return cls(**{**values, **windows}, modes=modes)

    @property
    def capacity(self) -> Capacity:
        """What the account's sockets may carry, as the broker publishes it."""
        return Capacity(self.symbols_per_connection, self.max_connections, self.modes)


class Endpoint(NamedTuple):
    """Where to dial and with which headers; both may carry secrets, so `repr` shows the host only."""

    url: str
    headers: Mapping[str, str]

    def __repr__(self) -> str:
        return f"<Endpoint {self.url.partition('?')[0]}>"


@dataclass(frozen=True, slots=True)
class ControlBatch:
    """One step from what the broker serves to what is wanted; each token stands in at most one part."""

    drop: Sequence[Token] = ()
    add: Mapping[Token, Mode] = field(default_factory=dict)
    #: Tokens that are already subscribed and change their mode.
    remode: Mapping[Token, Mode] = field(default_factory=dict)


class NoticeKind(Enum):
    """What a broker's text message is about."""

    #: The broker refused something on a socket that stays open.
    REFUSAL = "refusal"
    #: Information for people, or an event (an order update) that this pool does not carry.
    MESSAGE = "message"
    #: Not understood; counted and skipped.
    UNKNOWN = "unknown"


class Notice(NamedTuple):
    """A broker's text message, classified."""

    kind: NoticeKind
    text: str


class Farewell(Enum):
    """Why the broker ended a socket, as far as it said so."""

    #: Nothing that calls for more than another dial.
    LOST = "lost"
    #: Another socket of the account took its place: whoever dials again at once throws that one out.
    EVICTED = "evicted"
    #: The credentials are not valid any more.
    CREDENTIALS = "credentials"


class FeedCodec(Protocol):
    """The wire format of one socket: pure, and private to that socket, so that it may keep state."""

    #: Packets that were left out, by reason; they never stop the packets after them.
    skipped: dict[str, int]

    def requests(self, batch: ControlBatch) -> list[str]:
        """Return the text messages that carry out the batch, in the order in which they must leave."""
        ...

    def parts(self, payload: bytes) -> Iterable[bytes | memoryview]:
        """Return a long binary message as shorter ones that `decode` reads as well, in order.

        Each is read in a turn of its own, which should be done with it in a millisecond: 250 ticks or so.
        """
        ...

    def decode(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        """Return the ticks of one binary message, or of a part, in order.

        Only tokens in `routes` become ticks. What is malformed or unknown is counted in `skipped`;
        this never raises, whatever the bytes are. An empty list may be a heartbeat.
        """
        ...

    def notice(self, text: str) -> Notice:
        """Classify one text message; never raises."""
        ...

    def farewell(self, code: int, reason: str) -> Farewell:
        """Classify the end of the socket, from its close frame and from what was decoded before."""
        ...


class BrokerFeed(Protocol):
    """One account's market-data feed at one broker."""

    @property
    def name(self) -> str:
        """The broker's name as clients see it, in lower case."""
        ...

    @property
    def limits(self) -> FeedLimits: ...

    @property
    def book(self) -> TokenBook: ...

    @property
    def login(self) -> Login:
        """The account's credentials; `endpoint` uses the present version."""
        ...

    async def endpoint(self) -> Endpoint:
        """Return where to dial now; asked for again before every dial, so that fresh credentials are used."""
        ...

    def codec(self) -> FeedCodec:
        """Return a new codec for a new socket."""
        ...
