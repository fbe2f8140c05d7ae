"""Whether demand is served: what speaks against it, since when, and what to do; pure, the clock injected."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

from brokerpool.monitor.health_reasons import Code, Condition, Facts, found

#: Symbols may be without a live connection for so long, as in a reconnect, before it counts.
GRACE_SECONDS = 10.0


class Status(Enum):
    """The whole in one word."""

    OK = "ok"
    #: Something is wrong, and part of what is wanted is still served.
    DEGRADED = "degraded"
    #: Nothing of what is wanted is served, or nothing could be.
    DOWN = "down"


class Reason(NamedTuple):
    """One thing that speaks against health."""

    code: Code
    text: str
    #: Epoch seconds since when it holds.
    since: float
    #: The account that it is about; empty for the gateway as a whole, and where there is one account only.
    account: str = ""

    @property
    def condition(self) -> Condition:
        """What it is, whatever the numbers of the moment."""
        return Condition(self.code, self.account)

    @property
    def action(self) -> str:
        """What to do about it, in a sentence."""
        return self.condition.action


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
        self._since: dict[Condition, tuple[float, float]] = {}  # monotonic and epoch seconds

    def judge(self, facts: Facts) -> Verdict:
        """Return the verdict on the facts of this moment."""
        now, wall = self._clock(), self._wall_clock()
        present = found(facts)
        self._since = {condition: self._since.get(condition, (now, wall)) for condition in present}
        due = {c: text for c, text in present.items() if c.code not in _PATIENT or self._held(c, now)}
        reasons = tuple(Reason(c.code, text, self._since[c][1], c.account) for c, text in due.items())
        codes = {reason.code for reason in reasons}
        # One account of several whose login was refused takes nothing away that the others have.
        unready = _UNREADY - (set() if facts.login_refused else {Code.LOGIN_REFUSED})
        return Verdict(_status(facts, codes), not unready.intersection(codes), reasons)

    def _held(self, condition: Condition, now: float) -> bool:
        return now - self._since[condition][0] >= GRACE_SECONDS


#: These are told after a while: a reconnect and a takeover are everyday life, and their holes are told to the
#: clients that they concern.
_PATIENT = frozenset(
    {
        Code.DEMAND_NOT_SERVED,
        Code.DATA_STALE,
        Code.DATABASE_AWAY,
        Code.ACCOUNT_OUT,
        Code.ACCOUNT_UNHELD,
    },
)

#: While one of these holds, no new client should be sent here.
_UNREADY = frozenset(
    {
        Code.STOPPING,
        Code.BUS_AWAY,
        Code.INSTRUMENTS_MISSING,
        Code.LOGIN_REFUSED,
        Code.DEMAND_NOT_SERVED,
    },
)


def _status(facts: Facts, due: set[Code]) -> Status:
    nothing_served = Code.DEMAND_NOT_SERVED in due and facts.unserved >= facts.symbols
    # With a refused token, sockets that are open go on until the broker ends them.
    unusable = facts.login_refused and facts.unserved >= facts.symbols
    if nothing_served or unusable or {Code.STOPPING, Code.INSTRUMENTS_MISSING}.intersection(due):
        return Status.DOWN
    return Status.DEGRADED if due else Status.OK
