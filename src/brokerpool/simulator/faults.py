"""The fault switches: what is refused, muted, expired, spoilt or late; pure state.

A `FaultOrder` is what the control interface takes: a JSON object with any of its fields. A field that
is left out changes nothing; null turns a fault off.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from brokerpool.simulator.kite_wire import Malformation

_Positive = Annotated[int, Meta(ge=1)]
_Text = Annotated[str, Meta(min_length=1)]

#: Longer delays would only look like a dead broker.
MAX_LATENCY_MS = 60_000


class Refuse(msgspec.Struct, forbid_unknown_fields=True):
    """Answer with an HTTP error, `count` times or until cleared."""

    status: Annotated[int, Meta(ge=400, le=599)]
    #: Seconds in a Retry-After header, when given.
    retry_after: Annotated[int, Meta(ge=0)] | None = None
    count: _Positive | None = None

    def __post_init__(self) -> None:
        if self.status not in {status.value for status in HTTPStatus}:
            raise ValueError(f"{self.status} is not a registered HTTP status")


class Mute(msgspec.Struct, forbid_unknown_fields=True):
    """Sockets stay open and say nothing but heartbeats, and not even these when `heartbeats` is false."""

    sockets: list[int] | Literal["all"] = "all"
    heartbeats: bool = True
    #: Only these tokens are mute, when given; the others tick on.
    tokens: list[int] | None = None


class Malformed(msgspec.Struct, forbid_unknown_fields=True):
    """Spoil the next frames that carry ticks, over all sockets."""

    kind: Malformation
    frames: _Positive = 1


class ExpireToken(msgspec.Struct, forbid_unknown_fields=True):
    """The access token dies: dials and quotes get 403. Whether open sockets end is the caller's choice."""

    close_sockets: bool = False


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Switches to be thrown together: all of them are understood before the first takes effect."""

    refuse: Refuse | UnsetType | None = UNSET
    refuse_http: Refuse | UnsetType | None = UNSET
    mute: Mute | UnsetType | None = UNSET
    malformed: Malformed | UnsetType | None = UNSET
    expire_token: ExpireToken | UnsetType = UNSET
    #: The only valid token from now on; ends an expiry.
    access_token: _Text | UnsetType = UNSET
    #: Close this many of the youngest sockets.
    drop_newest: _Positive | UnsetType = UNSET
    #: True: nothing listens on the WebSocket port, open sockets are aborted, HTTP answers 503.
    down: bool | UnsetType = UNSET
    #: Delay of control messages and HTTP answers.
    latency_ms: Annotated[float, Meta(ge=0, le=MAX_LATENCY_MS)] | UnsetType = UNSET
    #: Every new socket is closed after this long: a broker that flaps, or one that ends sockets daily.
    life_ms: _Positive | UnsetType | None = UNSET
    #: True: one socket too many is let in, and the eldest is closed with code 4805.
    evict_eldest: bool | UnsetType = UNSET

    @classmethod
    def parse(cls, body: bytes) -> FaultOrder:
        """Read an order from JSON. Raises ValueError, which says what is wrong and which switches exist."""
        try:
            order = msgspec.json.decode(body, type=cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"{error}. Switches: {', '.join(cls.__struct_fields__)}.") from None
        return order


class Faults:
    """Which faults are on."""

    def __init__(self, latency_ms: float = 0.0) -> None:
        self.refuse: Refuse | None = None
        self.refuse_http: Refuse | None = None
        self.mute: Mute | None = None
        self.malformed: Malformed | None = None
        self.token_expired = False
        self.down = False
        self.latency_ms = latency_ms
        self.life_ms: int | None = None
        self.evict_eldest = False

    def dial_refusal(self) -> Refuse | None:
        """Return the refusal of the next dial and count it."""
        refuse = self.refuse
        self.refuse = _one_less(refuse)
        return refuse

    def http_refusal(self) -> Refuse | None:
        """Return the refusal of the next HTTP request and count it."""
        refuse = self.refuse_http
        self.refuse_http = _one_less(refuse)
        return refuse

    def malformation(self) -> Malformation | None:
        """Return how the next frame is spoilt and count it, None when it is not."""
        malformed = self.malformed
        if malformed is None:
            return None
        left = malformed.frames - 1
        self.malformed = Malformed(malformed.kind, left) if left else None
        return malformed.kind

    def muted(self, socket: int) -> bool:
        """Tell whether a socket gets no ticks at all."""
        return self._hit(socket) and self.mute is not None and self.mute.tokens is None

    def muted_tokens(self, socket: int) -> frozenset[int]:
        """Return the tokens that a socket gets no ticks of though others tick."""
        if self.mute is None or not self.mute.tokens or not self._hit(socket):
            return frozenset()
        return frozenset(self.mute.tokens)

    def silent(self, socket: int) -> bool:
        """Tell whether a socket gets no heartbeats either."""
        return self.muted(socket) and self.mute is not None and not self.mute.heartbeats

    def _hit(self, socket: int) -> bool:
        return self.mute is not None and (self.mute.sockets == "all" or socket in self.mute.sockets)

    def report(self) -> dict[str, Any]:
        """Return every switch as it stands, ready for JSON."""
        state: dict[str, Any] = msgspec.to_builtins(vars(self))
        return state


def _one_less(refuse: Refuse | None) -> Refuse | None:
    if refuse is None or refuse.count is None:
        return refuse
    left = refuse.count - 1
    return Refuse(refuse.status, refuse.retry_after, left) if left else None
