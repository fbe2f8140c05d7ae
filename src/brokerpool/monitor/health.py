"""Whether demand is served: what speaks against it, since when, and what to do; pure, the clock injected."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

#: Symbols may be without a live connection for so long, as in a reconnect, before it counts.
GRACE_SECONDS = 10.0
#: An event loop that came so late has held up ticks for everybody.
LAG_SECONDS = 0.5


class Status(Enum):
    """The whole in one word."""

    OK = "ok"
    #: Something is wrong, and part of what is wanted is still served.
    DEGRADED = "degraded"
    #: Nothing of what is wanted is served, or nothing could be.
    DOWN = "down"


class Facts(NamedTuple):
    """What is known at one moment."""

    instruments: int
    #: Why a newer list of them is not in use, empty when there is none.
    instruments_fault: str
    login_refused: bool
    #: Symbols that are wanted, and those of them that no live connection carries.
    symbols: int
    unserved: int
    gaps_open: int
    connections_allowed: int
    max_connections: int
    #: "host group" of every breaker that is not closed.
    breakers: tuple[str, ...]
    #: The longest lag of the event loop within the last minute, in seconds.
    lag: float
    stopping: bool
    #: The error code for which the database is not read or not written; empty while it is, or there is none.
    database: str = ""


class Code(Enum):
    """What may speak against health; the value is what readers see."""

    STOPPING = "stopping"
    INSTRUMENTS_MISSING = "instruments_missing"
    INSTRUMENTS_STALE = "instruments_stale"
    LOGIN_REFUSED = "login_refused"
    DEMAND_NOT_SERVED = "demand_not_served"
    DATA_STALE = "data_stale"
    CONNECTIONS_TAKEN = "connections_taken"
    BREAKER_OPEN = "breaker_open"
    LOOP_LATE = "loop_late"
    DATABASE_AWAY = "database_away"

    @property
    def action(self) -> str:
        """What to do about it, in a sentence."""
        return _ACTIONS[self]


_ACTIONS = {
    Code.STOPPING: "Nothing: it will be back, or another one is.",
    Code.INSTRUMENTS_MISSING: "Check the broker's status page and BROKERPOOL_BROKER_HTTP_URL, then restart.",
    Code.INSTRUMENTS_STALE: (
        "Nothing at first: it is asked for again, on SIGHUP at once. If the broker lists no more, restart."
    ),
    Code.LOGIN_REFUSED: "Log in at the broker and put the new access token into the .env file; no restart.",
    Code.DEMAND_NOT_SERVED: "See the connections' last faults in `brokerpool stats`, and check the network.",
    Code.DATA_STALE: "Ask `brokerpool explain SYMBOL`; a quiet symbol is normal, many at once are not.",
    Code.CONNECTIONS_TAKEN: "Find the other program that uses the account's connections, and stop it.",
    Code.BREAKER_OPEN: "Check the broker's status page; calls are tried again by themselves.",
    Code.LOOP_LATE: "Give the gateway a processor of its own, or fewer clients.",
    Code.DATABASE_AWAY: "Run `brokerpool db check`, and look up the code with `brokerpool errors`.",
}


class Reason(NamedTuple):
    """One thing that speaks against health."""

    code: Code
    text: str
    #: Epoch seconds since when it holds.
    since: float


class Verdict(NamedTuple):
    """What was found; the gateway is ready while nothing that is wanted goes unserved."""

    status: Status
    ready: bool
    reasons: tuple[Reason, ...]


class Health:
    """Judges facts, and remembers since when each reason holds; to be asked every second or so."""

    def __init__(self, clock: Callable[[], float], wall_clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._since: dict[Code, tuple[float, float]] = {}  # monotonic and epoch seconds

    def judge(self, facts: Facts) -> Verdict:
        """Return the verdict on the facts of this moment."""
        now, wall = self._clock(), self._wall_clock()
        found = _found(facts)
        self._since = {code: self._since.get(code, (now, wall)) for code in found}
        # A reconnect is everyday life, and its holes are told to the clients that they concern.
        patient = {Code.DEMAND_NOT_SERVED, Code.DATA_STALE, Code.DATABASE_AWAY}
        due = {c: text for c, text in found.items() if c not in patient or self._held(c, now)}
        reasons = tuple(Reason(code, text, self._since[code][1]) for code, text in due.items())
        return Verdict(_status(facts, due), not _UNREADY.intersection(due), reasons)

    def _held(self, code: Code, now: float) -> bool:
        return now - self._since[code][0] >= GRACE_SECONDS


#: While one of these holds, no new client should be sent here.
_UNREADY = frozenset(
    {Code.STOPPING, Code.INSTRUMENTS_MISSING, Code.LOGIN_REFUSED, Code.DEMAND_NOT_SERVED},
)


def _status(facts: Facts, due: dict[Code, str]) -> Status:
    nothing_served = Code.DEMAND_NOT_SERVED in due and facts.unserved >= facts.symbols
    # With a refused token, sockets that are open go on until the broker ends them.
    unusable = Code.LOGIN_REFUSED in due and facts.unserved >= facts.symbols
    if nothing_served or unusable or {Code.STOPPING, Code.INSTRUMENTS_MISSING}.intersection(due):
        return Status.DOWN
    return Status.DEGRADED if due else Status.OK


def _found(facts: Facts) -> dict[Code, str]:
    found: dict[Code, str] = {}
    if facts.stopping:
        found[Code.STOPPING] = "The gateway is stopping."
    if not facts.instruments:
        found[Code.INSTRUMENTS_MISSING] = "The broker's instrument list is empty, so no symbol can be had."
    if facts.instruments_fault:
        found[Code.INSTRUMENTS_STALE] = (
            f"The instrument list in use is not the newest: {facts.instruments_fault.removesuffix('.')}."
        )
    if facts.login_refused:
        found[Code.LOGIN_REFUSED] = "The broker refused the access token, and is not asked again with it."
    if facts.unserved:
        found[Code.DEMAND_NOT_SERVED] = (
            f"{facts.unserved} of {facts.symbols} wanted symbols are on no live connection."
        )
    if facts.gaps_open:
        found[Code.DATA_STALE] = f"The data of {facts.gaps_open} symbols has stopped."
    if facts.connections_allowed < facts.max_connections:
        found[Code.CONNECTIONS_TAKEN] = (
            f"The broker closed connections in favour of others: {facts.connections_allowed} of"
            f" {facts.max_connections} are used for now."
        )
    if facts.breakers:
        found[Code.BREAKER_OPEN] = f"The broker failed several calls in a row: {', '.join(facts.breakers)}."
    if facts.lag >= LAG_SECONDS:
        found[Code.LOOP_LATE] = f"The event loop came {facts.lag:.2f} s late within the last minute."
    if facts.database:
        found[Code.DATABASE_AWAY] = (
            f"The database is not read or not written ({facts.database}); keys that are known stay valid, and"
            " what is to be kept waits in memory."
        )
    return found
