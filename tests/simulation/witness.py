"""A listener that knows what the broker sent: it notices what is lost, doubled or late in silence."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from brokerpool import WebSocketPool
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.symbol_cadence import MUTE_SECONDS
from brokerpool.instruments import Instrument
from brokerpool.testing.scripted_broker import ScriptedBroker
from brokerpool.testing.scripted_feed import number_of
from brokerpool.ticks import Mode, Tick

#: LTP packets carry nothing to sort them by: from two sockets they may cross by as much as these are apart,
#: and by more when one of them was held up on its way.
CROSSING_SECONDS = 0.1
#: The pool looks for silences once a second, and a tick may be on its way for a moment.
_LOOK_SECONDS = 2.5
_FOR_EVER = 1e6


@dataclass(slots=True)
class _Stint:
    """One time in which somebody wanted an instrument, from the first owner to the last."""

    ticked: bool = False
    last: int | None = None  # the newest running number that came since it was live
    last_at: float = 0.0
    #: When any tick was delivered last: one that was held up on its way may be older, and nothing tells.
    delivered_at: float = 0.0
    #: When it ticked first, since it is wanted or since its last gap.
    first_at: float = 0.0
    #: How often it has ticked since then.
    ticks: int = 0
    #: The mode of that tick.
    mode: Mode = Mode.LTP
    #: The longest pause between two ticks that was no gap: what the pool may take for a habit.
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class _Debt:
    """Ticks that were missed and that no gap accounts for yet."""

    instrument: Instrument
    token: int
    missed: list[int]
    from_ms: int
    to_ms: int
    #: When the tick after them came.
    at: float
    told: str

    def paid(self, gap: Gap) -> bool:
        """Tell whether the gap accounts for them."""
        edges = gap.from_ms <= self.from_ms + 1 and (gap.to_ms or 0) >= self.to_ms - 1
        return gap.instrument == self.instrument and edges


class Witness(PoolListener):
    """Holds the pool to its word, and writes down in `problems` where it was broken.

    - Each running number comes once and in order; only a broker's first answer may repeat the last one.
    - Ticks that were missed since the symbol was first live lie inside a gap that was reported, from the last
      tick before to the first one after it. Not missed are ticks that arrived after a newer one of the same
      symbol. A broker that keeps ticks back on a socket that works must be found out as soon as the symbol's
      cadence allows, no sooner.
    - Gaps come in pairs, do not overlap, have their right edges, and are told as closed before the tick that
      closes them. Only a hole that nobody could know of then, because another socket seemed to serve the
      symbol, may be told afterwards, as opened and closed in one go.
    """

    def __init__(self, broker: ScriptedBroker, pool: WebSocketPool) -> None:
        self.problems: list[str] = []
        self.ticks = 0
        self.gaps = 0
        self.missed = 0
        self._broker = broker
        self._ledger = broker.ledger
        self._book = pool.feed.book
        self._pool = pool
        self._now = asyncio.get_running_loop().time
        self._feed_silence = pool.feed.limits.silence_seconds + _LOOK_SECONDS
        self._stints: dict[Instrument, _Stint] = {}
        self._open: dict[Instrument, Gap] = {}
        self._closed: dict[Instrument, list[Gap]] = {}
        self._debts: list[_Debt] = []
        #: Gaps that were told as open though ticks came since -> when they were told.
        self._late: dict[Instrument, float] = {}
        self._repeats: Counter[tuple[int, int]] = Counter()

    # -- for whoever changes the demand -------------------------------------------------------------------

    def look(self, wanted: Collection[Instrument]) -> None:
        """Take note of what is wanted now; to be called after each change of the demand."""
        for instrument in wanted:
            if instrument not in self._stints:
                self._stints[instrument] = _Stint()
        if len(wanted) < len(self._stints):
            for instrument in [i for i in self._stints if i not in set(wanted)]:
                self._check_the_end(instrument, self._stints.pop(instrument))
                # A stalled socket is known to be one after a while; nobody wants to hear of this symbol then.
                recently = self._now() - self._feed_silence
                self._debts = [d for d in self._debts if d.instrument != instrument or d.at < recently]
                if instrument in self._open:
                    self._say(instrument, "the gap stays open though nobody wants the symbol")
                    del self._open[instrument]

    def finish(self) -> None:
        """Check what can be checked only at the end: nothing is missing, no gap is open."""
        for instrument, stint in self._stints.items():
            self._check_the_end(instrument, stint)
        for instrument, gap in self._open.items():
            if self._book.token(instrument) not in self._broker.refused:
                self._say(instrument, f"{gap} was never closed")
        found_out = self._now() - self._feed_silence
        for debt in self._debts:
            if debt.at > found_out:
                continue  # the connection that left the hole is not known to be dead yet
            arrivals = self._ledger.arrivals[debt.token]
            if any(arrivals.get(number, 0.0) < debt.at for number in debt.missed):
                self._say(debt.instrument, debt.told)

    # -- PoolListener -------------------------------------------------------------------------------------

    def ticked(self, ticks: list[Tick]) -> None:
        now = self._now()
        for tick in ticks:
            self.ticks += 1
            instrument, number = tick.instrument, number_of(tick)
            self._ledger.say(now, f"tick {instrument.symbol} {number} {tick.mode.name}")
            stint = self._stints.get(instrument)
            if stint is None:
                self._say(instrument, "ticks though nobody wants it")
                continue
            if instrument in self._open:
                self._say(instrument, f"tick {number} inside a gap that is open")
            stint.ticked = True
            if stint.last is None:
                # One that is under way when its symbol is wanted again may be the last for a while.
                if self._pool.state(instrument) in (SymbolState.ACCEPTED, SymbolState.SENT):
                    continue
            elif not self._follows(instrument, stint, tick, number):
                stint.delivered_at = now
                continue
            if stint.last is None:
                stint.first_at = now
            stint.ticks += 1
            stint.last, stint.last_at, stint.mode = number, now, tick.mode
            stint.delivered_at = now

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self.gaps += 1
            instrument = gap.instrument
            self._tell(f"gap of {instrument.symbol} from {gap.from_ms}: {gap.reason}")
            if gap.to_ms is not None:
                self._say(instrument, f"{gap} is opened with an end")
            if instrument in self._open:
                self._say(instrument, "a second gap is opened inside the first")
            self._open[instrument] = gap
            stint = self._stints.get(instrument)
            if stint is None:
                self._say(instrument, "has a gap though nobody wants it")
            elif not stint.ticked:
                self._say(instrument, "has a gap though it never ticked")
            elif stint.last is None:
                pass
            elif gap.from_ms < self._ms(stint.delivered_at) - 1:
                self._late[instrument] = self._now()
            elif gap.from_ms > self._ms(stint.delivered_at) + 1:
                self._say(
                    instrument, f"{gap} does not begin at the last tick, {self._ms(stint.delivered_at)}"
                )

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            instrument = gap.instrument
            self._tell(f"end of the gap of {instrument.symbol} at {gap.to_ms}")
            opened = self._open.pop(instrument, None)
            if opened is None:
                self._say(instrument, f"{gap} is closed and was not open")
            elif opened.from_ms != gap.from_ms:
                self._say(instrument, f"{gap} was opened at {opened.from_ms}")
            if gap.to_ms is None or gap.to_ms < gap.from_ms:
                self._say(instrument, f"{gap} ends before it begins")
                continue
            late_at = self._late.pop(instrument, None)
            if late_at is None and abs(gap.to_ms - self._ms(self._now())) > 1:
                self._say(instrument, f"{gap} does not end now, at {self._ms(self._now())}")
            if late_at is not None and late_at != self._now():
                self._say(instrument, f"{gap} does not begin at the last tick, and was not told in one go")
            self._debts = [debt for debt in self._debts if not debt.paid(gap)]
            if (stint := self._stints.get(instrument)) is not None:
                stint.first_at, stint.ticks = self._now(), 0
                if "usual pause" in gap.reason:
                    # A symbol that fell mute and came back by itself may be one that is often quiet so long.
                    stint.pause = max(stint.pause, (gap.to_ms - gap.from_ms) / 1000)
            before = self._closed.setdefault(instrument, [])
            for other in before:
                if gap.from_ms < (other.to_ms or 0) and other.from_ms < gap.to_ms:
                    self._say(instrument, f"{gap} overlaps {other}")
            before.append(gap)

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self._tell(f"{state.value}: {' '.join(i.symbol for i in instruments)}")

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._tell(f"{name} is {state}: {reason}")

    # -- inside -------------------------------------------------------------------------------------------

    def _follows(self, instrument: Instrument, stint: _Stint, tick: Tick, number: int) -> bool:
        """Judge a tick after another one; tell whether it is the newest now."""
        assert stint.last is not None
        now, token = self._now(), self._token(instrument)
        if number < stint.last:
            apart = now - stint.last_at <= CROSSING_SECONDS or (token, number) in self._ledger.held
            # An LTP tick carries nothing by which one before it could be told from one after it.
            if Mode.LTP not in (tick.mode, stint.mode) or not apart:
                self._say(instrument, f"tick {number} comes after {stint.last}")
            return False
        if number == stint.last:
            gap = self._last_gap(instrument)
            if gap is not None and gap.to_ms is not None and abs(gap.to_ms - self._ms(now)) <= 1:
                return True  # what ends a gap may be what was known before it
            if Mode.LTP in (tick.mode, stint.mode) and (token, number) in self._ledger.held:
                return True  # as for an older one
            self._repeats[token, number] += 1
            if self._repeats[token, number] > self._ledger.snapshots[token, number]:
                self._say(instrument, f"tick {number} comes twice")
            return True
        gap = self._last_gap(instrument)
        covered = self._covered(instrument, stint.last_at, now)
        hole = range(stint.last + 1, number)
        arrivals = self._ledger.arrivals[token]
        missed = [n for n in hole if arrivals.get(n, 0.0) < now]
        self.missed += len(missed)
        if missed and not covered and not self._unnoticeable(token, stint, missed, now):
            told = (
                f"ticks {missed} of token {token} are missed between {stint.last_at:.3f} and {now:.3f},"
                f" outside of any gap; the last one was {gap}"
            )
            self._tell(f"DEBT {instrument.symbol} {told}")
            edges = self._ms(stint.last_at), self._ms(now)
            self._debts.append(_Debt(instrument, token, missed, *edges, now, told))
        if not covered:
            stint.pause = max(stint.pause, now - stint.last_at)
        return True

    def _check_the_end(self, instrument: Instrument, stint: _Stint) -> None:
        """Check that a silence that goes on is known as a gap, once it is long enough to be noticed."""
        if stint.last is None:
            return
        now, token = self._now(), self._token(instrument)
        noticed_by = self._patience(token, stint)
        if self._broker.number(token, noticed_by) <= stint.last:
            return
        gap = self._open.get(instrument) or self._last_gap(instrument)
        if gap is None or not self._covers(gap, stint.last_at, now):
            self._say(
                instrument,
                f"token {token} has been silent since {stint.last_at:.3f}, for {now - stint.last_at:.1f} s,"
                f" with a patience of {noticed_by:.1f} s, outside of any gap; the last one was {gap}",
            )

    def _unnoticeable(self, token: int, stint: _Stint, missed: list[int], now: float) -> bool:
        """Tell whether the broker kept all of these back, and for too short a time to be found out."""
        withheld = self._ledger.withheld[token]
        if not all(number in withheld for number in missed):
            return False
        return now - stint.last_at < self._patience(token, stint)

    def _patience(self, token: int, stint: _Stint) -> float:
        if stint.ticks < 4 or stint.last_at - stint.first_at < 2 * _LOOK_SECONDS:
            return _FOR_EVER  # too short a time, since it was wanted or since a hole, to know a habit from
        usual = max(stint.pause, self._broker.cadence(token))
        return max(MUTE_SECONDS, 2 * usual) + _LOOK_SECONDS

    def _covers(self, gap: Gap, from_at: float, to_at: float) -> bool:
        ends = gap.to_ms if gap.to_ms is not None else self._ms(to_at)
        return gap.from_ms <= self._ms(from_at) + 1 and ends >= self._ms(to_at) - 1

    def _covered(self, instrument: Instrument, from_at: float, to_at: float) -> bool:
        """Tell whether gaps that follow upon one another, with only edges in between, cover the time."""
        reached = self._ms(to_at)
        for gap in reversed(self._closed.get(instrument, ())):
            if (gap.to_ms or 0) < reached - 2:
                return False
            reached = gap.from_ms
            if reached <= self._ms(from_at) + 1:
                return True
        return False

    def _last_gap(self, instrument: Instrument) -> Gap | None:
        closed = self._closed.get(instrument)
        return closed[-1] if closed else None

    def _token(self, instrument: Instrument) -> int:
        token = self._book.token(instrument)
        assert isinstance(token, int)
        return token

    def _ms(self, at: float) -> int:
        return round((self._broker.wall_clock() - self._now() + at) * 1000)

    def _say(self, instrument: Instrument, what: str) -> None:
        self.problems.append(f"{self._now():.3f} {instrument.symbol} {what}")
        self._tell(f"PROBLEM {instrument.symbol} {what}")

    def _tell(self, text: str) -> None:
        self._ledger.say(self._now(), text)
