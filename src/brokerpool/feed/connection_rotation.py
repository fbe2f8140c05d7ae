"""Which live connection is to be emptied: its socket is old, or its credentials, or it is one too many."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from brokerpool.brokers.login import Login
from brokerpool.feed.connection import Connection
from brokerpool.feed.placement import Placement

#: A socket with a known end is emptied this long before it, or a tenth of its life if that is less.
MOST_AHEAD_SECONDS = 600.0


class Order(NamedTuple):
    """One connection that is to be emptied."""

    connection: str
    reason: str
    #: Whether other connections may be opened for what it carries.
    opens: bool


class Rotation:
    """Names one connection at a time, and each socket once; times are monotonic seconds."""

    def __init__(self, placement: Placement, login: Login, *, life: float, linger: float) -> None:
        """`life` is after how many seconds the broker ends a socket, 0 if it does not.

        A connection is one too many when the others have had room for all of it for `linger` seconds.
        """
        self._placement = placement
        self._login = login
        self._life = life
        self._linger = linger
        self._rotated: dict[str, float] = {}  # -> when the socket was opened that was emptied
        self._spare_since: float | None = None

    def due(self, connections: Mapping[str, Connection], now: float) -> Order | None:
        """Return the connection that is to be emptied now; to be asked while none is."""
        for name, connection in connections.items():
            if not connection.live or self._rotated.get(name) == connection.opened_at:
                continue
            reason = self._outdated(connection, now)
            if reason is not None:
                self._rotated[name] = connection.opened_at
                return Order(name, reason, opens=True)
        return self._spare(connections, now)

    def forget(self, name: str) -> None:
        """Drop what is known of a connection that is closed."""
        self._rotated.pop(name, None)

    def _outdated(self, connection: Connection, now: float) -> str | None:
        age = now - connection.opened_at
        if self._life and age >= self._life - min(MOST_AHEAD_SECONDS, self._life / 10):
            return f"the broker ends a socket after {self._life:g} s, and this one is {age:.0f} s old"
        if connection.version != self._login.version and not self._login.refused:
            return "there are newer credentials"
        return None

    def _spare(self, connections: Mapping[str, Connection], now: float) -> Order | None:
        """Return the smallest connection when the others have had room for it for as long as one lingers."""
        name = self._placement.spare() if all(c.live for c in connections.values()) else None
        if name is None:
            self._spare_since = None
        elif self._spare_since is None:
            self._spare_since = now
        elif now - self._spare_since >= self._linger:
            self._spare_since = None
            return Order(name, "the other connections have room for all of it", opens=False)
        return None
