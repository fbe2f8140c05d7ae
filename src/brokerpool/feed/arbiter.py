"""One symbol on several sockets: the first tick wins, and the others' copies of it are dropped."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from brokerpool.ticks import DepthTick, QuoteTick, Tick

#: How many copies of what other sockets brought a socket is expected to bring yet; the oldest are given up.
MOST_PENDING = 64
#: A volume that fell is a late tick within this time, and a new trading day after it.
_LATE_MS = 10_000


@dataclass(slots=True)
class _Source:
    """One socket."""

    #: What passed from other sockets, and is still to come on this one.
    pending: deque[Tick] = field(default_factory=lambda: deque(maxlen=MOST_PENDING))
    #: How many more were to come before those, up to as many again: the socket is that far behind.
    fallen: int = 0
    #: True until the first tick after it was replaced, a snapshot: of the newest state or one a little older.
    fresh: bool = False

    def expect(self, tick: Tick) -> None:
        if len(self.pending) == MOST_PENDING:
            self.fallen = min(MOST_PENDING, self.fallen + 1)
        self.pending.append(tick)


class Arbiter:
    """Lets each tick pass once, whichever socket brings it first.

    Brokers number no ticks, so copies are told by their content, in the order of the feed. A tick whose
    volume or exchange time lies before what has passed is late, and dropped. LTP packets carry neither: when
    a socket loses ticks, or the broker samples each socket at other moments, an older price may follow a
    newer one by as much as the sockets are apart. No socket can be silenced by what another one brought, or
    did not bring, for more than 64 ticks.
    """

    def __init__(self, last: Tick | None) -> None:
        """`last` is the tick that passed before: a socket that joins may repeat it as its first answer."""
        self._last = last
        self._sources: dict[str, _Source] = {}
        self._ending = False

    def serve(self, sources: Collection[str]) -> None:
        """Expect the symbol from exactly these sockets from now on."""
        for name in sources:
            if name not in self._sources:
                self._join(name)
        for name in [name for name in self._sources if name not in sources]:
            del self._sources[name]
        self._ending = False

    def rejoin(self, name: str) -> None:
        """Note that a socket was replaced by a new one, which begins with a snapshot of what is now."""
        source = self._sources.get(name)
        if source is not None:
            source.fresh, source.fallen = True, 0
            if self._last is not None and (not source.pending or source.pending[-1] is not self._last):
                source.pending.append(self._last)

    def over(self) -> bool:
        """Tell whether nothing is left to decide: only one socket, and time enough for its copies to come.

        To be asked every second or so; the first time it is said of one socket the answer is still no.
        """
        if len(self._sources) > 1:
            return False
        over, self._ending = self._ending, True
        return over

    def admits(self, source: str, tick: Tick) -> bool:
        """Tell whether the tick is new; it counts as passed if so."""
        own = self._sources.get(source)
        if own is None:
            return False  # a socket that has left
        copies = (position for position, passed in enumerate(own.pending) if _same(passed, tick))
        position = max(copies, default=None) if own.fresh else next(copies, None)
        own.fresh = False
        if position is not None:
            for _ in range(position + 1):
                own.pending.popleft()
            own.fallen = 0
            return False
        if self._last is not None:
            if _before(tick, self._last):
                return False
            if own.fallen and not _before(self._last, tick):
                own.fallen -= 1
                return False
        # A socket brings ticks in order: it has skipped what is still pending, and will not bring it.
        own.pending.clear()
        own.fallen = 0
        self._last = tick
        for name, other in self._sources.items():
            if name != source:
                other.expect(tick)
        return True

    def _join(self, name: str) -> None:
        self._sources[name] = source = _Source()
        if self._last is not None:
            source.expect(self._last)


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


def _before(tick: Tick, last: Tick) -> bool:
    if not (isinstance(tick, QuoteTick) and isinstance(last, QuoteTick)):
        return False
    if isinstance(tick, DepthTick) and isinstance(last, DepthTick) and tick.timestamp != last.timestamp:
        return tick.timestamp < last.timestamp  # the exchange's own times
    return tick.volume < last.volume and tick.timestamp - last.timestamp < _LATE_MS
