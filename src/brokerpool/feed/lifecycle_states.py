"""Where a connection and a symbol stand; the values are what statistics, logs and clients show."""

from __future__ import annotations

from enum import Enum


class ConnectionState(Enum):
    """The life of a connection; one that is lost goes back to dialling, however often."""

    IDLE = "idle"
    DIALLING = "dialling"
    #: Open, and the broker has not answered the login that it wants to hear first.
    GREETING = "greeting"
    LIVE = "live"
    #: Open, and silent or mute for longer than it may be; about to be replaced.
    STALE = "stale"
    #: Between two dials.
    WAITING = "waiting"
    #: Refused by the broker's login (401, 403): no dial until there are new credentials.
    PARKED = "parked"
    CLOSED = "closed"


class SymbolState(Enum):
    """How far a wanted symbol has come."""

    #: It has a place; the broker has not been asked yet, or has to be asked again on a new socket.
    ACCEPTED = "accepted"
    SENT = "sent"
    #: Its first tick on the present socket has come.
    LIVE = "live"
    #: Sent some time ago, and no tick yet: a closed market, a quiet symbol, or a silent refusal.
    SILENT = "silent"
    #: The broker refused it by name on the present socket; it is asked for again on the next one.
    REFUSED = "refused"
    #: It ticked, and has been silent for twice as long as it ever is, while its market is open.
    STALE = "stale"
    #: Its connection is out and no other one has room for it: first in line for the next free place.
    DEGRADED = "degraded"


#: From worst to best: a symbol on two connections is as well off as on the better one.
PROGRESS = (
    SymbolState.DEGRADED,
    SymbolState.REFUSED,
    SymbolState.ACCEPTED,
    SymbolState.SENT,
    SymbolState.SILENT,
    SymbolState.LIVE,
)
