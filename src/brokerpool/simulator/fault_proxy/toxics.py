"""The toxics: what a fault proxy can do to a connection, as data; pure.

Names, attributes and units are those of toxiproxy, so that its users need not learn others. A toxic is
written as JSON in the control endpoint and as words on the command line:
`latency latency=20 jitter=5 stream=upstream toxicity=0.5 name=slow`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

#: Upstream is from the client to the server, downstream from the server to the client.
Stream = Literal["upstream", "downstream"]

_Whole = Annotated[int, Meta(ge=0)]
_Positive = Annotated[int, Meta(ge=1)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]

#: The words with which `--faults` asks for a clean proxy, and for one that is down.
CLEAN, DOWN = "none", "down"


class Toxic(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all toxics have: the direction that they spoil, and the share of connections that they hit."""

    stream: Stream = "downstream"
    toxicity: _Share = 1.0


class Latency(Toxic, frozen=True, tag="latency"):
    """Everything is `latency` ± `jitter` milliseconds late, in order."""

    latency: _Whole
    jitter: _Whole = 0


class Bandwidth(Toxic, frozen=True, tag="bandwidth"):
    """At most `rate` kilobytes (of 1000 bytes) a second pass."""

    rate: _Positive


class Slicer(Toxic, frozen=True, tag="slicer"):
    """Data leaves in pieces of `average_size` ± `size_variation` bytes, `delay` microseconds apart."""

    average_size: _Positive
    size_variation: _Whole = 0
    delay: _Whole = 0

    def __post_init__(self) -> None:
        if self.size_variation >= self.average_size:
            raise ValueError(
                f"size_variation {self.size_variation} must be smaller than average_size {self.average_size}"
            )


class ResetPeer(Toxic, frozen=True, tag="reset_peer"):
    """The connection is reset after `timeout` milliseconds, during which it works."""

    timeout: _Whole = 0


class Timeout(Toxic, frozen=True, tag="timeout"):
    """Data stops; the connection is closed after `timeout` milliseconds, and never when it is 0."""

    timeout: _Whole = 0


class SlowClose(Toxic, frozen=True, tag="slow_close"):
    """The end of a stream is told `delay` milliseconds late."""

    delay: _Whole


class LimitData(Toxic, frozen=True, tag="limit_data"):
    """The connection is closed once `bytes` have passed."""

    bytes: _Whole


#: Every toxic that can be asked for, as msgspec wants to see them.
AnyToxic = Latency | Bandwidth | Slicer | ResetPeer | Timeout | SlowClose | LimitData

_COMMON = "each has stream (upstream, downstream), toxicity (0 to 1) and a name as well"

_BY_TYPE: dict[str, type[Toxic]] = {kind.__struct_config__.tag: kind for kind in get_args(AnyToxic)}


class ToxicOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A toxic and what it is called, in the form in which JSON brings it."""

    type: str
    name: _Name | None = None
    stream: Stream = "downstream"
    toxicity: _Share = 1.0
    attributes: dict[str, Any] = {}

    @classmethod
    def parse(cls, body: bytes) -> tuple[str, Toxic]:
        """Read a toxic and its name from JSON. Raises ValueError, which tells what there is."""
        try:
            return msgspec.json.decode(body, type=cls).toxic()
        except (msgspec.MsgspecError, RecursionError) as error:
            fields = ", ".join(cls.__struct_fields__)
            raise ValueError(f"{error}. A toxic has {fields}; toxics: {_known()}.") from None

    def toxic(self) -> tuple[str, Toxic]:
        """Return what is ordered. Raises ValueError, which names the toxics or their attributes."""
        kind = _BY_TYPE.get(self.type)
        if kind is None:
            raise ValueError(f"{self.type!r} is not a toxic. Toxics: {_known()}.")
        try:
            for name in self.attributes:
                if name not in _attributes(kind):
                    raise ValueError(f"{name!r} is not an attribute of it")
            fields = {**self.attributes, "type": self.type, "stream": self.stream, "toxicity": self.toxicity}
            # Words bring numbers as text.
            toxic = msgspec.convert(fields, kind, strict=False)
        except ValueError as error:
            names = ", ".join(_attributes(kind))
            raise ValueError(f"{self.type}: {error}. Its attributes: {names}; {_COMMON}.") from None
        return self.name or f"{self.type}_{self.stream}", toxic


class ProxyOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the proxy as a whole is told."""

    enabled: bool

    @classmethod
    def parse(cls, body: bytes) -> ProxyOrder:
        """Read an order from JSON. Raises ValueError, which says what to send."""
        try:
            return msgspec.json.decode(body, type=cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f'{error}. Send {{"enabled": true}} or {{"enabled": false}}.') from None


def parse(text: str) -> tuple[str, Toxic]:
    """Read a toxic and its name from words. Raises ValueError, which tells what there is."""
    kind, *words = text.split() or [""]
    given: dict[str, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        if not (name and value):
            raise ValueError(f"{word!r} in {text!r} is not of the form attribute=value")
        if name in given:
            raise ValueError(f"{name} is given twice in {text!r}")
        given[name] = value
    fields: dict[str, object] = {"type": kind, "attributes": given}
    for name in ("name", "stream", "toxicity"):
        if name in given:
            fields[name] = given.pop(name)
    try:
        order = msgspec.convert(fields, ToxicOrder, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"{text!r}: {error}. Toxics: {_known()}.") from None
    return order.toxic()


def parse_all(texts: Iterable[str]) -> dict[str, Toxic]:
    """Read toxics from words, in order; the words `none` and `down` are not toxics and are left out."""
    toxics: dict[str, Toxic] = {}
    for text in texts:
        if text in (CLEAN, DOWN):
            continue
        name, toxic = parse(text)
        if name in toxics:
            raise ValueError(f"two toxics are called {name!r}; give one of them another name=")
        toxics[name] = toxic
    return toxics


def describe(name: str, toxic: Toxic) -> dict[str, Any]:
    """Return a toxic in the form in which JSON shows it."""
    fields: dict[str, Any] = msgspec.to_builtins(toxic)
    head = {key: fields.pop(key) for key in ("type", "stream", "toxicity")}
    return {"name": name, **head, "attributes": fields}


def _attributes(kind: type[Toxic]) -> list[str]:
    return [name for name in kind.__struct_fields__ if name not in Toxic.__struct_fields__]


def _known() -> str:
    named = ", ".join(f"{name} ({', '.join(_attributes(kind))})" for name, kind in _BY_TYPE.items())
    return f"{named}; {_COMMON}"
