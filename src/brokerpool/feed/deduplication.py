"""One symbol on several sockets: each tick passes once, in the order of the feed, and no hole in silence."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from brokerpool.feed.redundancy_progress import Agreement
from brokerpool.ticks import DepthTick, QuoteTick, Tick

#: How many of the ticks that passed are remembered, and how many are kept of a socket that is not in step.
REMEMBERED = 64
#: How long a socket that is not in step waits for the others to bring what it brings; and how long one that
#: was held up may go on bringing what is too late.
PATIENCE_SECONDS = 1.0
#: A volume that fell is an older tick within this time, and a new trading day after it.
_OLDER_MS = 10_000


class Passing(NamedTuple):
    """What a tick sets free: the ticks that pass now, and whether ticks may be missing before the first."""

    ticks: list[Tick]
    hole: bool = False


_NOTHING = Passing([])


@dataclass(slots=True)
class _Passed:
    """A tick that passed; monotonic seconds."""

    at: float
    tick: Tick
    #: Which socket has brought it, and when; empty for one that shows nothing of the others.
    source: str
    came: float
    #: Whether ticks may be missing between the one that passed before and this one, which was told.
    after_hole: bool


@dataclass(slots=True)
class _Socket:
    """How far one socket has come with the symbol."""

    name: str
    #: It cannot have brought any tick that passed before the one of this number.
    floor: int
    #: The number of the last tick that passed among those that it has brought; None while not in step.
    position: int | None = None
    #: What it has brought while not in step, the newest last, each with its monotonic seconds.
    waiting: deque[tuple[float, Tick]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    #: Since when it has brought the symbol without a break; None before its first tick.
    began: float | None = None
    #: Since when all that it brings is too late, and is dropped.
    late_since: float | None = None
    #: Until when, by its own time, those that are gone are known to have brought all that there was.
    covered_until: float = -math.inf


class Deduplication:
    """Makes one stream of the copies that several sockets bring of it.

    Brokers number no ticks, so a copy is told by its content. What passes is numbered here. A socket is in
    step when it is known which of the passed ticks it has brought last: it brings those after it next, and
    what it brings beyond the newest is new and passes at once, whichever socket is first. Of a socket that
    is not in step nobody knows whether its ticks lie before or after those that passed. They wait until it
    is: it brings one that passed, or one passes that it has brought. When no socket in step goes on, one that
    waits takes over, and where it may not have been there for all that went by, there is a hole.

    Within a hole that was told a socket in step may bring what nobody has had. It is late, and dropped.
    Times are monotonic seconds.
    """

    def __init__(
        self,
        agreement: Agreement,
        last: Tick | None = None,
        at: float = 0.0,
        serving: Collection[str] = (),
    ) -> None:
        """`serving` are the sockets that have brought all so far, up to `last`, which came `at` that time.

        The `agreement` is that of all symbols, which is noted here.
        """
        self._agreement = agreement
        #: The newest that passed; numbers count all that ever did.
        self._passed: deque[_Passed] = deque(maxlen=REMEMBERED)
        self._count = 0
        self._newest: QuoteTick | None = None  # the newest that can be told from older ones
        self._sockets: dict[str, _Socket] = {}
        self._hole_next = False
        if last is not None:
            self._note(last, at, "", at)
        for source in serving:
            self._sockets[source] = _Socket(source, self._count, self._count, began=at)

    # -- the sockets --------------------------------------------------------------------------------------

    def serve(self, sources: Collection[str], now: float) -> None:
        """Expect the symbol from exactly these sockets from now on; one that leaves has served until now."""
        for source in sources:
            if source not in self._sockets:
                self._sockets[source] = _Socket(source, self._count)
        for source in [source for source in self._sockets if source not in sources]:
            if self._sockets.pop(source).position is None:
                continue
            for socket in self._sockets.values():
                covered = self._agreement.until(source, socket.name)
                if socket.began is None:  # it was asked for, and whatever ticks from now on comes there
                    socket.began, covered = now, now - self._agreement.behind(source)
                socket.covered_until = max(socket.covered_until, covered)

    def lost(self, source: str) -> None:
        """Note that a socket is gone; it may join again."""
        socket = self._sockets.get(source)
        if socket is None:
            return
        self._sockets[source] = _Socket(source, self._count)
        if socket.position is not None:
            for other in self._sockets.values():
                until = self._agreement.until(source, other.name)
                other.covered_until = max(other.covered_until, until)

    def interrupted(self) -> None:
        """Note that a gap was told: ticks may be missing between the last that passed and the next one."""
        self._hole_next = True

    def began(self, source: str) -> float | None:
        """Return since when a socket has brought the symbol without a break, None before its first tick."""
        socket = self._sockets.get(source)
        return socket.began if socket else None

    def in_step(self, source: str) -> bool:
        """Tell whether it is known which of the ticks that passed the socket has brought."""
        socket = self._sockets.get(source)
        return socket is not None and socket.position is not None

    def over(self) -> bool:
        """Tell whether nothing is left to decide: only one socket, and no copies still to come on it."""
        return len(self._sockets) < 2 and all(s.position == self._count for s in self._sockets.values())

    # -- the ticks ----------------------------------------------------------------------------------------

    def brought(self, source: str, tick: Tick, now: float) -> Passing:
        """Return what passes now that a socket has brought a tick."""
        socket = self._sockets.get(source)
        if socket is None:
            return _NOTHING  # of a socket that has left
        if socket.began is None:
            socket.began = now
        if socket.position == self._count:
            return self._pass(socket, [(now, tick)], now)
        if socket.position is not None:
            return self._behind(socket, socket.position, tick, now)
        return self._out_of_step(socket, tick, now)

    def repeats(self, tick: Tick) -> bool:
        """Tell whether the tick is the one that passed last, once more."""
        return bool(self._passed) and _same(self._passed[-1].tick, tick)

    def overdue(self, now: float) -> Passing:
        """Return what has waited for long enough; to be called every second or so."""
        for socket in self._sockets.values():
            if socket.waiting and self._may_take_over(socket, now):
                return self._take_over(socket, now)
        return _NOTHING

    def _behind(self, socket: _Socket, position: int, tick: Tick, now: float) -> Passing:
        """Judge the tick of a socket in step that is to bring copies first."""
        remembered = min(self._count - position, len(self._passed))
        late = remembered < self._count - position  # what it is to bring first is forgotten
        for number in range(self._count - remembered + 1, self._count + 1):
            if self._is(number, tick):
                socket.position, socket.late_since = number, None
                self._agree(socket, number, now)
                return _NOTHING
            late = late or self._passed[number - self._count - 1].after_hole
        order = _order(tick, self._newest)
        if order > 0:
            # What was dropped because it was late may have been news.
            return self._pass(socket, [(now, tick)], now, hole=socket.late_since is not None)
        if order < 0:
            return _NOTHING
        if late:
            if socket.late_since is None:
                socket.late_since = now
            if now - socket.late_since <= PATIENCE_SECONDS:
                return _NOTHING
        if self._alone(socket):
            return self._pass(socket, [(now, tick)], now, hole=late)
        # It has skipped some, and may have skipped all, or has been ahead for long, for what is held up comes
        # within a moment: that shows when another one brings this, or stops.
        socket.floor, socket.position, socket.began = position, None, now
        socket.late_since = None
        socket.waiting.append((now, tick))
        return _NOTHING

    def _out_of_step(self, socket: _Socket, tick: Tick, now: float) -> Passing:
        # The first that it can be: if it is a later one, equal to it, that shows with the next tick.
        for number in range(max(socket.floor, self._count - len(self._passed) + 1), self._count + 1):
            if self._is(number, tick):
                socket.position = number
                socket.waiting.clear()
                self._agree(socket, number, now)
                return _NOTHING
        if _order(tick, self._newest) < 0:
            return _NOTHING
        socket.waiting.append((now, tick))
        return self._take_over(socket, now) if self._may_take_over(socket, now) else _NOTHING

    def _may_take_over(self, socket: _Socket, now: float) -> bool:
        """Tell whether no socket in step goes on, though this one has brought ticks."""
        if self._alone(socket):
            return True
        due = now - PATIENCE_SECONDS
        return any(self._last_at < at <= due for at, _ in socket.waiting)

    def _take_over(self, socket: _Socket, now: float) -> Passing:
        """Let a socket that is not in step go on from the last tick that passed."""
        ticks, unknown = [], False
        for at, tick in socket.waiting:
            order = _order(tick, self._newest)
            if order < 0:
                continue
            # It came before the last one passed: the others were behind it, or it was behind them.
            crossed = at <= self._last_at
            unknown = unknown or crossed
            if order > 0 or not crossed:
                ticks.append((at, tick))
        in_step = (other.name for other in self._sockets.values() if other.position is not None)
        until = (self._agreement.until(other, socket.name) for other in in_step)
        covered_until = max(self._last_at, socket.covered_until, *until)
        assert socket.began is not None  # or nothing of it would wait
        missed = unknown or (bool(ticks) and socket.began > covered_until)
        return self._pass(socket, ticks, now, hole=bool(self._passed) and missed)

    def _alone(self, socket: _Socket) -> bool:
        return all(other is socket or other.position is None for other in self._sockets.values())

    def _pass(
        self, socket: _Socket, ticks: list[tuple[float, Tick]], now: float, *, hole: bool = False
    ) -> Passing:
        """Let ticks of a socket pass, and all that others have brought beyond them."""
        self._hole_next = self._hole_next or hole
        before = self._count
        self._go_on(socket, ticks, now)
        passing = Passing([tick for _, tick in ticks], hole)
        for other in self._sockets.values():
            if other.waiting:
                passing.ticks.extend(self._fall_in(other, before, now))
        return passing

    def _fall_in(self, socket: _Socket, before: int, now: float) -> list[Tick]:
        """Bring a socket into step that has brought what passed after number `before`; return what is new."""
        waiting = list(socket.waiting)
        for number in range(max(before, self._count - len(self._passed)) + 1, self._count + 1):
            for index, (_, tick) in enumerate(waiting):
                if not self._is(number, tick):
                    continue
                brought = index + 1
                while (
                    number < self._count
                    and brought < len(waiting)
                    and self._is(number + 1, waiting[brought][1])
                ):
                    number, brought = number + 1, brought + 1
                self._agree(socket, number, waiting[brought - 1][0])
                new = waiting[brought:] if number == self._count else []
                self._go_on(socket, new, now)
                socket.position = number + len(new)
                return [tick for _, tick in new]
        return []

    def _go_on(self, socket: _Socket, ticks: list[tuple[float, Tick]], now: float) -> None:
        """Note that a socket in step brings these next."""
        for came, tick in ticks:
            self._note(tick, now, socket.name if came != socket.began else "", came)
        socket.position, socket.late_since = self._count, None
        socket.waiting.clear()

    def _agree(self, socket: _Socket, number: int, came: float) -> None:
        """Note that a socket has brought at that time what passed with this number.

        What a socket brings first may be the broker's answer to the subscription, and old: it shows nothing.
        """
        passed = self._passed[number - self._count - 1]
        if not passed.source or came == socket.began:
            return
        self._agreement.note(passed.source, passed.came, socket.name, came)

    def _is(self, number: int, tick: Tick) -> bool:
        """Tell whether the tick is a copy of the one that passed with this number."""
        return _same(self._passed[number - self._count - 1].tick, tick)

    @property
    def _last_at(self) -> float:
        return self._passed[-1].at if self._passed else -math.inf

    def _note(self, tick: Tick, now: float, source: str, came: float) -> None:
        self._passed.append(_Passed(now, tick, source, came, self._hole_next))
        self._hole_next = False
        self._count += 1
        if isinstance(tick, QuoteTick):
            self._newest = tick


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
        return -1 if tick.timestamp - newest.timestamp < _OLDER_MS else 1
    if tick.volume > newest.volume:
        return 1
    return -1 if tick.volume and _same(tick, newest) else 0
