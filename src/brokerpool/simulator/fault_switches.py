"""The fault switches: what is refused, muted, expired, spoilt or late; pure state.

A `FaultOrder` is what the control interface takes: a JSON object with any of its fields. A field that
is left out changes nothing; null turns a fault off.
"""

from __future__ import annotations

from enum import Enum
from http import HTTPStatus
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

_Positive = Annotated[int, Meta(ge=1)]
_Text = Annotated[str, Meta(min_length=1)]
_Prefix = Annotated[str, Meta(pattern="^/")]
_Method = Literal["GET", "POST", "PUT", "DELETE"]

#: Longer delays would only look like a dead broker.
MAX_LATENCY_MS = 60_000


class RefuseDial(msgspec.Struct, forbid_unknown_fields=True):
    """Answer dials with an HTTP error, `count` times or until cleared."""

    status: Annotated[int, Meta(ge=400, le=599)]
    #: Seconds in a Retry-After header, when given.
    retry_after: Annotated[int, Meta(ge=0)] | None = None
    count: _Positive | None = None

    def __post_init__(self) -> None:
        if self.status not in {status.value for status in HTTPStatus}:
            raise ValueError(f"{self.status} is not a registered HTTP status")


class Refuse(RefuseDial, forbid_unknown_fields=True):
    """Answer HTTP requests with an HTTP error, `count` times or until cleared.

    All of them, or those with this method and this beginning of the path.
    """

    path: _Prefix | None = None
    method: _Method | None = None
    #: True: the request is carried out, and the answer is the error all the same.
    carried_out: bool = False
    #: Plain text in place of the broker's JSON; Angel's 403 that means "too fast" comes so.
    text: _Text | None = None


class BreakHttp(msgspec.Struct, forbid_unknown_fields=True):
    """Break the connection instead of answering, `count` times or until cleared.

    `reset-before-read` resets a new connection as soon as it is accepted, and an open one as soon as
    anything comes on it; nothing is read, so it knows neither path nor method. In all the others the
    request is read and carried out. Then `reset-after-read` resets and `close-after-read` closes without a
    byte of the answer, `reset-mid-body` resets after the headers and half of the body (64 KiB at most), and
    `no-answer` says nothing until the client gives up.
    """

    kind: Literal["reset-before-read", "reset-after-read", "reset-mid-body", "close-after-read", "no-answer"]
    count: _Positive | None = None
    path: _Prefix | None = None
    method: _Method | None = None

    def __post_init__(self) -> None:
        if self.kind == "reset-before-read" and (self.path or self.method):
            raise ValueError("reset-before-read reads nothing, so it can have neither a path nor a method")


class Mute(msgspec.Struct, forbid_unknown_fields=True):
    """Sockets stay open and say nothing but heartbeats, and not even these when `heartbeats` is false."""

    sockets: list[int] | Literal["all"] = "all"
    heartbeats: bool = True
    #: Only these tokens are mute, when given; the others tick on.
    tokens: list[int] | None = None


class Malformation(Enum):
    """Ways in which a frame can be wrong; the value is its name in the control interface."""

    #: The last packet ends before its length.
    TRUNCATED = "truncated"
    #: Every packet is of a token that nobody lists.
    UNKNOWN_TOKEN = "unknown_token"
    #: No packet is as long as any layout.
    WRONG_LENGTH = "wrong_length"


class Malformed(msgspec.Struct, forbid_unknown_fields=True):
    """Spoil the next frames that carry ticks, over all sockets."""

    kind: Malformation
    frames: _Positive = 1


class ExpireToken(msgspec.Struct, forbid_unknown_fields=True):
    """The access token dies: dials and quotes get 403. Whether open sockets end is the caller's choice."""

    close_sockets: bool = False


class FaultOrder(msgspec.Struct, forbid_unknown_fields=True):
    """Switches to be thrown together: all of them are understood before the first takes effect."""

    refuse: RefuseDial | UnsetType | None = UNSET
    refuse_http: Refuse | UnsetType | None = UNSET
    http_break: BreakHttp | UnsetType | None = UNSET
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
    def parse(cls, body: bytes) -> Self:
        """Read an order from JSON. Raises ValueError, which says what is wrong and which switches exist."""
        try:
            order = msgspec.json.decode(body, type=cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f"{error}. Switches: {', '.join(cls.__struct_fields__)}.") from None
        return order


class Faults:
    """Which faults are on."""

    #: The switches that are only state; the others need a broker to carry them out.
    STATES: ClassVar[tuple[str, ...]] = (
        "refuse",
        "refuse_http",
        "http_break",
        "mute",
        "malformed",
        "latency_ms",
        "life_ms",
        "evict_eldest",
    )

    def __init__(self, latency_ms: float = 0.0) -> None:
        self.refuse: RefuseDial | None = None
        self.refuse_http: Refuse | None = None
        self.http_break: BreakHttp | None = None
        self.mute: Mute | None = None
        self.malformed: Malformed | None = None
        self.token_expired = False
        self.down = False
        self.latency_ms = latency_ms
        self.life_ms: int | None = None
        self.evict_eldest = False

    def take(self, order: FaultOrder) -> None:
        """Set the switches of an order that are only state."""
        for name in order.__struct_fields__:
            value = getattr(order, name)
            if name in self.STATES and value is not UNSET:
                setattr(self, name, value)

    def dial_refusal(self) -> RefuseDial | None:
        """Return the refusal of the next dial and count it."""
        refuse = self.refuse
        self.refuse = _one_less(refuse)
        return refuse

    def http_refusal(self, method: str, path: str) -> Refuse | None:
        """Return the refusal of the next HTTP request and count it, None when it is not refused."""
        refuse = self.refuse_http
        if refuse is None or not _concerns(refuse, method, path):
            return None
        self.refuse_http = _one_less(refuse)
        return refuse

    def broken_answer(self, method: str, path: str) -> BreakHttp | None:
        """Return how the answer to a request that was read breaks off and count it, None when it does not."""
        broken = self.http_break
        if broken is None or broken.kind == "reset-before-read" or not _concerns(broken, method, path):
            return None
        self.http_break = _one_less(broken)
        return broken

    def resets_unread(self) -> bool:
        """Tell whether an HTTP connection is reset before anything more is read from it, and count it."""
        broken = self.http_break
        if broken is None or broken.kind != "reset-before-read":
            return False
        self.http_break = _one_less(broken)
        return True

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


_Counted = TypeVar("_Counted", RefuseDial, Refuse, BreakHttp)


def _one_less(fault: _Counted | None) -> _Counted | None:
    if fault is None or fault.count is None:
        return fault
    return msgspec.structs.replace(fault, count=fault.count - 1) if fault.count > 1 else None


def _concerns(fault: Refuse | BreakHttp, method: str, path: str) -> bool:
    return fault.method in (None, method) and path.startswith(fault.path or "/")
