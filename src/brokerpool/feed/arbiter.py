"""One symbol on several sockets: the first tick wins, and the others' copies of it are dropped."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from enum import Enum
from typing import NamedTuple

from brokerpool.ticks import DepthTick, QuoteTick, Tick

#: A socket that is further behind than this has nothing new to say.
MOST_PENDING = 64
#: What was held up on the way comes at once when it is let go; what is late for longer is not late.
BACKLOG_SECONDS = 1.0
_PAST_KEPT = 8
_RECENT_KEPT = 8
#: A volume that fell is a late tick within this time, and a new trading day after it.
_LATE_MS = 10_000


class Verdict(Enum):
    """What a tick is."""

    NEW = "new"
    #: Passed before, or older than what has passed.
    COPY = "copy"
    #: Missed by the sockets that others' ticks came from, and too late now.
    LATE = "late"


class _Stint(NamedTuple):
    """One socket's service from its first tick on."""

    at: float
    #: When the symbol ticked last before that; None when there was no hole.
    before: float | None
    #: The sockets that served already, as far as was known.
    beside: frozenset[str]


class Arbiter:
    """Lets each tick pass once, whichever socket brings it first, and knows which socket served when.

    Brokers number no ticks, so copies are told by their content, in the order of the feed. What a socket
    brings while others' ticks are still to come on it, and that is none of these, lies before them: it is
    late, and dropped. A broker that samples each socket at other moments is followed on one of them.
    Times are monotonic seconds.
    """

    def __init__(self, last: Tick | None, serving: Collection[str] = ()) -> None:
        """`serving` are the sockets that have served so far, and `last` is the tick that passed before."""
        self._last = last
        #: What passed of late and can be told from other ticks.
        self._recent: deque[tuple[float, QuoteTick]] = deque(maxlen=_RECENT_KEPT)
        #: What had passed last when a socket joined: it may repeat that as its first answer.
        self._before: dict[str, Tick | None] = dict.fromkeys(serving)
        #: The newest tick that had volume and times, by which a later one can be told from a late one.
        self._newest = last if isinstance(last, QuoteTick) else None
        #: What passed from other sockets, and when, and is still to come on this one.
        self._pending: dict[str, deque[tuple[float, Tick]]] = {}
        #: Which sockets serve, and since when.
        self._began: dict[str, _Stint] = dict.fromkeys(serving, _Stint(-math.inf, None, frozenset()))
        #: The same of sockets that are gone: they may have covered up that another one was dead.
        self._past: deque[_Stint] = deque(maxlen=_PAST_KEPT)
        self._fresh: set[str] = set()
        self._late_since: dict[str, float] = {}

    def serve(self, sources: Collection[str]) -> None:
        """Expect the symbol from exactly these sockets from now on."""
        for source in sources:
            if source not in self._pending:
                self._pending[source] = deque(maxlen=MOST_PENDING)
                self._before[source] = self._last
        for source in [source for source in self._pending if source not in sources]:
            self.lost(source)
            del self._pending[source], self._before[source]

    def began(self, source: str, now: float, before: float | None) -> None:
        """Note that a socket is about to bring its first tick; the symbol ticked last at `before`."""
        self._began[source] = _Stint(now, before, frozenset(self._began) - {source})
        self._fresh.add(source)

    def lost(self, source: str) -> None:
        """Note that a socket is gone; it may join again."""
        began = self._began.pop(source, None)
        if began is not None:
            self._past.append(began)
        self._fresh.discard(source)
        self._late_since.pop(source, None)
        self._pending[source].clear()
        self._before[source] = self._last

    def since(self, source: str) -> float | None:
        """Return when the socket brought its first tick, None before that."""
        began = self._began.get(source)
        return began.at if began else None

    def holes(self, dark: str, since: float) -> list[tuple[float, float]]:
        """Return the holes, each as (from, to), that a socket leaves which brought nothing after `since`.

        There is none when it never served, or when another one served already: then the data went on. There
        are several when others began, and were lost, more than once.
        """
        waiting = self._pending.get(dark)
        if waiting:  # of this symbol it has not even brought what others brought then
            since = min(since, math.nextafter(waiting[0][0], -math.inf))
        serving = [stint for source, stint in self._began.items() if source != dark]
        if dark not in self._began or any(stint.at <= since for stint in serving):
            return []
        # Who began beside one that was alive covered up nothing.
        alone = [s for s in (*self._past, *serving) if s.at > since and s.beside <= {dark}]
        return sorted((s.before, s.at) for s in alone if s.before is not None)

    def led(self, dark: str, since: float) -> bool:
        """Tell whether all passed from a socket that brought nothing after `since`, the others' being late.

        Then nobody knows whether what they brought, and what was dropped, was late or not.
        """
        others = self._began.keys() - {dark}
        return bool(others) and all(self._late_since.get(other, -math.inf) > since for other in others)

    def over(self) -> bool:
        """Tell whether nothing is left to decide: only one socket, and no copies still to come on it."""
        return len(self._pending) < 2 and not any(self._pending.values())

    def repeats(self, tick: Tick) -> bool:
        """Tell whether the tick is the one that passed last, once more."""
        return self._last is not None and _same(self._last, tick)

    def judge(self, source: str, tick: Tick, now: float, *, told: bool = False) -> Verdict:
        """Tell whether the tick is new; it counts as passed if so.

        `told` says that a gap is open already, which the tick will close if it is new.
        """
        pending = self._pending.get(source)
        if pending is None:
            return Verdict.COPY  # of a socket that has left
        fresh = source in self._fresh
        self._fresh.discard(source)
        verdict = self._verdict(source, tick, pending, fresh=fresh)
        if verdict is Verdict.LATE and now - self._late_since.setdefault(source, now) > BACKLOG_SECONDS:
            verdict = Verdict.NEW  # nothing is held up for so long: it is the other one that is behind
        was_late = verdict is not Verdict.LATE and self._late_since.pop(source, None) is not None
        if verdict is Verdict.NEW:
            if was_late:  # what was dropped may have been new: until now all rested on the other one
                before = None if told or not pending else pending[-1][0]
                self._began[source] = _Stint(now, before, frozenset(self._began) - {source})
            pending.clear()
            self._last = tick
            if isinstance(tick, QuoteTick):
                self._newest = tick
                self._recent.append((now, tick))
            for other, queue in self._pending.items():
                if other != source:
                    queue.append((now, tick))
        elif fresh:  # it begins with what has passed: there is no hole before it
            self._began[source] = self._began[source]._replace(before=None)
        return verdict

    def told(self) -> None:
        """Note that the holes were told: they are none any more."""
        self._no_hole_before(float("inf"))

    def _verdict(
        self, source: str, tick: Tick, pending: deque[tuple[float, Tick]], *, fresh: bool
    ) -> Verdict:
        before = self._before[source]
        if fresh and before is not None and _same(before, tick):
            return Verdict.COPY
        if fresh and isinstance(tick, QuoteTick):
            known = [n for n, (_, passed) in enumerate(self._recent) if _same(passed, tick)]
            if known:  # what passed after it is still to come here
                pending.clear()
                pending.extend(list(self._recent)[known[-1] + 1 :])
                return Verdict.COPY
        for position, (passed_at, passed) in enumerate(pending):
            if _same(passed, tick):
                for _ in range(position + 1):
                    pending.popleft()
                # This socket has gone on without a break until then: whoever began before covered up nothing.
                self._no_hole_before(passed_at, but=source)
                return Verdict.COPY
        order = _order(tick, self._newest)
        if order < 0:
            return Verdict.COPY if fresh or not pending else Verdict.LATE
        if order == 0 and not fresh and pending and len(self._began) > 1:
            return Verdict.LATE
        return Verdict.NEW

    def _no_hole_before(self, moment: float, but: str = "") -> None:
        for source, stint in self._began.items():
            if source != but and stint.at <= moment:
                self._began[source] = stint._replace(before=None)
        while self._past and self._past[0].at <= moment:
            self._past.popleft()


def _same(one: Tick, other: Tick) -> bool:
    """Compare what both carry; the moment of reception is no part of it."""
    if one.ltp != other.ltp:
        return False
    if not (isinstance(one, QuoteTick) and isinstance(other, QuoteTick)):
        return True
    if (
        one.volume != other.volume
        or one.total_buy_quantity != other.total_buy_quantity
        or one.total_sell_quantity != other.total_sell_quantity
    ):
        return False
    if not (isinstance(one, DepthTick) and isinstance(other, DepthTick)):
        return True
    return one.buy == other.buy and one.sell == other.sell and one.oi == other.oi


def _order(tick: Tick, newest: QuoteTick | None) -> int:
    """Return 1 for a tick that is newer than the newest that passed, -1 for one that is not, 0 if unknown."""
    if newest is None or not isinstance(tick, QuoteTick):
        return 0
    if isinstance(tick, DepthTick) and isinstance(newest, DepthTick) and tick.timestamp != newest.timestamp:
        return 1 if tick.timestamp > newest.timestamp else -1  # the exchange's own times
    if tick.volume < newest.volume:
        return -1 if tick.timestamp - newest.timestamp < _LATE_MS else 1
    if tick.volume > newest.volume:
        return 1
    return -1 if tick.volume and _same(tick, newest) else 0
