"""When the next dial of an account may leave, and how many sockets it may have: decided, not done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.feed.backoff import PROVEN_SECONDS, Backoff
from brokerpool.feed.sliding_window_pacer import Pacer

#: With nothing live, the longest range of delays while the broker cannot be reached; short, because one
#: socket at a time tries on behalf of all, and every second longer is a second without prices.
OUTAGE_CAP_SECONDS = 6.0
#: A socket that is open this long has shown the others that they may follow.
FOLLOW_SECONDS = 1.0
#: After an eviction the account makes do with fewer sockets for so long; doubled with each further one.
EVICTED_SECONDS = 60.0
MOST_EVICTED_SECONDS = 900.0
#: An eviction that long ago says nothing about today.
FORGOTTEN_SECONDS = 3_600.0
#: Between two looks whether sockets of others are gone.
_OTHERS_SECONDS = 0.1
#: A Retry-After beyond this is taken for a mistake: it would stop the feed for the day.
MOST_RETRY_AFTER_SECONDS = 3_600.0


@dataclass(slots=True)
class DialPermit:
    """One socket's place in the account, from the dial until the socket is really gone."""

    #: True when it dials on behalf of all, because the account is in doubt.
    scout: bool
    #: True once its socket has stood for a second.
    trusted: bool = False
    #: True once another socket of the account has taken its socket's place.
    evicted: bool = False
    #: True once it is free for another socket.
    given_back: bool = False


class DialBudget:
    """The account's one budget for dials and sockets; times are monotonic seconds.

    - `windows` hold for all dials together, and a broker's Retry-After holds every dial.
    - A socket has its permit from the dial until it is really gone, so that the broker never counts one too
      many.
    - After a failure with nothing live the account is in doubt: one dial at a time, with a back-off of its
      own, until a socket has stood for a second.
    - An eviction takes the permit away; it is tried again only after a rest.
    """

    def __init__(self, windows: Iterable[RateWindow], max_sockets: int, random: Random) -> None:
        self.max_sockets = max_sockets
        #: Sockets that may be open now: `max_sockets` less what evictions took away.
        self.cap = max_sockets
        #: Permits in use: dialling, open, and closing.
        self.sockets = 0
        #: True while nothing is live and the last dial or socket failed.
        self.doubt = False
        self._pacer = Pacer(windows)
        self._backoff = Backoff(random)
        self._trusted = 0
        self._evicted = 0
        self._scout: DialPermit | None = None
        self._held_until = 0.0
        self._doubt_until = 0.0
        self._cap_grows_at = 0.0
        self._evicted_seconds = EVICTED_SECONDS
        self._evicted_at = 0.0

    def assume(self, at: float) -> None:
        """Count a dial that somebody else made, the oldest first."""
        self._pacer.spend(at)

    def wait(self, now: float, others: int = 0) -> float | None:
        """Return the seconds until a dial may leave, 0 for now; None until something else happens.

        `others` are sockets of the account that are not this budget's.
        """
        if self.cap < self.max_sockets and now >= self._cap_grows_at:
            self.cap += 1
            self._cap_grows_at = now + self._evicted_seconds
        if self.sockets < self.cap <= self.sockets + others:
            return _OTHERS_SECONDS
        if self.sockets >= self.cap:
            return self._cap_grows_at - now if self.cap < self.max_sockets else None
        if self._scout is not None:
            return None
        wait = max(self._pacer.delay(now), self._held_until - now)
        if self.doubt:
            wait = max(wait, self._doubt_until - now)
        return max(0.0, wait)

    def take(self, now: float) -> DialPermit:
        """Count a dial that leaves now."""
        self._pacer.spend(now)
        self.sockets += 1
        permit = DialPermit(scout=self.doubt)
        if permit.scout:
            self._scout = permit
        return permit

    def failed(self, permit: DialPermit, now: float, *, retry_after: float = 0.0, busy: bool = False) -> None:
        """Note that no socket came of a dial; `busy` when the broker asked for fewer (HTTP 429)."""
        self._free(permit)
        self._held_until = max(self._held_until, now + min(retry_after, MOST_RETRY_AFTER_SECONDS))
        self._lost_hope(now, busy=busy)

    def trust(self, permit: DialPermit) -> None:
        """Note that a socket has stood for a second: the others may follow."""
        permit.trusted = True
        self._trusted += 1
        self.doubt = False
        self._scout = None

    def ended(self, permit: DialPermit, now: float, *, lived: float) -> None:
        """Note that a socket is gone after `lived` seconds."""
        self._free(permit)
        if lived >= PROVEN_SECONDS:
            self._backoff.reset()
        else:
            self._lost_hope(now, busy=True)

    def withdraw(self, permit: DialPermit) -> None:
        """Note that a dial is not made, or that the socket was given up by us."""
        self._free(permit)

    def evict(self, permit: DialPermit, now: float) -> None:
        """Note that another socket of the account took the place of one that still has its permit.

        To dial again at once would throw that one out, round and round.
        """
        permit.evicted = True
        self._evicted += 1
        self.cap = max(0, min(self.cap, self.sockets - self._evicted))
        if now - self._evicted_at > FORGOTTEN_SECONDS:
            self._evicted_seconds = EVICTED_SECONDS
        self._evicted_at = now
        self._cap_grows_at = now + self._evicted_seconds
        self._evicted_seconds = min(MOST_EVICTED_SECONDS, self._evicted_seconds * 2)

    def forgive(self) -> None:
        """Forget evictions and doubt: somebody says that all is well. A Retry-After is the broker's word."""
        self.cap = self.max_sockets
        self._evicted_seconds = EVICTED_SECONDS
        self.doubt = False
        self._scout = None
        self._backoff.reset()

    def _free(self, permit: DialPermit) -> None:
        permit.given_back = True
        self.sockets -= 1
        self._trusted -= permit.trusted
        self._evicted -= permit.evicted
        if permit is self._scout:
            self._scout = None

    def _lost_hope(self, now: float, *, busy: bool) -> None:
        if self._trusted:
            return  # the broker is there: what failed is one connection's own affair
        self.doubt = True
        delay = self._backoff.next() if busy else self._backoff.next(OUTAGE_CAP_SECONDS)
        self._doubt_until = now + delay

    def __repr__(self) -> str:
        return f"<DialBudget {self.sockets} of {self.cap} sockets{' in doubt' if self.doubt else ''}>"
