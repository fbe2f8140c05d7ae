"""What one account may do on a broker's WebSocket feed; from the broker's `limits.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from importlib import resources
from types import MappingProxyType
from typing import Any, NamedTuple, Self

from brokerpool.brokers.capacity import Capacity, ModeRule, mode_rule

_NOTHING: Mapping[str, Mapping[str, Any]] = MappingProxyType({})


class RateWindow(NamedTuple):
    """At most so many of something within any so many seconds."""

    most: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """What one account may do on a broker's WebSocket feed."""

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
    #: Seconds after which the broker wants the wire's `heartbeat` again; 0 when it wants none.
    heartbeat_seconds: float = 0.0
    #: What one socket carries in each mode, None where modes count alike.
    modes: ModeRule | None = None

    @classmethod
    def parse(
        cls, table: Mapping[str, Mapping[str, Any]], modes: Mapping[str, Mapping[str, Any]] = _NOTHING
    ) -> Self:
        """Return the limits of a `[websocket]` table and, where modes do not count alike, a `[capacity]` one.

        Each figure has a `value`, its source and its date. Raises KeyError for one that has to be there and
        is not.
        """
        given = {f.name: table[f.name]["value"] for f in fields(cls) if _stands(f.name, f.default, table)}
        windows = {n: tuple(RateWindow(*w) for w in v) for n, v in given.items() if isinstance(v, list)}
        return cls(**{**given, **windows}, modes=mode_rule(modes, given["symbols_per_connection"]))

    @property
    def capacity(self) -> Capacity:
        """What the account's sockets may carry, as the broker publishes it."""
        return Capacity(self.symbols_per_connection, self.max_connections, self.modes)

    @classmethod
    def load(cls, package: str, feed: str = "websocket") -> Self:
        """Read `limits.toml` of an adapter's package, as in "brokerpool.brokers.NAME".

        `feed` is the table of limits; another one than `websocket` has no `[capacity]`, so modes count alike.
        """
        text = resources.files(package).joinpath("limits.toml").read_text("utf-8")
        tables: dict[str, dict[str, Any]] = tomllib.loads(text)
        modes = tables.get("capacity", _NOTHING) if feed == "websocket" else _NOTHING
        return cls.parse(tables[feed], modes)


def _stands(name: str, default: object, table: Mapping[str, object]) -> bool:
    return name in table or default is MISSING
