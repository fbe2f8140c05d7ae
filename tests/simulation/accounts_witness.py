"""Holds a router to its word: what passes, from which account, and what is told of gaps."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass

from brokerpool import Instrument
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.router import Router
from brokerpool.testing.traffic_ledger import Ledger
from brokerpool.testing.virtual_loop import VirtualLoop
from brokerpool.ticks import QuoteTick, Tick
from tests.simulation.accounts_stage import Account

#: No symbol of these brokers is silent for longer without a fault that is noticed.
NOTICED_SECONDS = 13.0


@dataclass(slots=True)
class _Course:
    """How one symbol has gone since somebody wants it."""

    #: Whose ticks pass, by what was told; "" before the first.
    feeder: str = ""
    source: str = ""
    tick: Tick | None = None
    at: float = 0.0
    #: When it ticked first, since it is wanted or since its last gap, and how often since then.
    first_at: float = 0.0
    ticks: int = 0
    #: The longest pause so far that was no loss: what a pool may take for a habit.
    pause: float = 0.0

    def noticed(self, now: float) -> bool:
        """Tell whether a silence that goes on until now must have been found out."""
        known = self.ticks >= 6 and self.at - self.first_at >= 6.0  # before that nobody knows its habits
        return known and now - self.at > max(NOTICED_SECONDS, 2 * self.pause + 8.0)

    def ticked(self, source: str, tick: Tick, now: float) -> None:
        """Note a tick."""
        self.pause = max(self.pause, now - self.at) if self.ticks else self.pause
        self.source, self.tick, self.at = source, tick, now
        self.first_at = self.first_at or now
        self.ticks += 1


class _Source(PoolListener):
    """Notes which account a message came from, before the router hears of it."""

    def __init__(self, witness: AccountsWitness, name: str) -> None:
        self._witness = witness
        self._name = name

    def ticked(self, ticks: list[Tick]) -> None:
        self._witness.source = self._name


class AccountsWitness(PoolListener):
    """Writes down in `problems` where a promise was broken.

    - A symbol's ticks come from one account, until it was told that another one feeds it.
    - After such a change no tick is older than the last one before it.
    - Gaps come in pairs, begin at the last tick that passed and end before the first one that passes again;
      no tick passes inside one, and no long silence lies outside of any.
    """

    def __init__(self, accounts: Collection[Account], ledger: Ledger) -> None:
        """To be made before the router, so that it hears of each message first."""
        self.problems: list[str] = []
        self.source = ""
        self.ticks = 0
        self.gaps = 0
        #: The symbols of gaps that are no mere silence.
        self.holes: list[Instrument] = []
        self.moves = 0
        self._ledger = ledger
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        self._loop = loop
        self._courses: dict[Instrument, _Course] = {}
        self._open: dict[Instrument, Gap] = {}
        self._late: dict[Instrument, float] = {}
        for each in accounts:
            each.pool.listen(_Source(self, each.name))

    def look(self, router: Router) -> None:
        """Take note of what is wanted now; to be called after each change of the demand."""
        wanted = router.demand.instruments()
        for instrument in wanted:
            self._courses.setdefault(instrument, _Course())
        for instrument in set(self._courses).difference(wanted):
            del self._courses[instrument]
            if instrument in self._open:
                self._say(instrument, "the gap stays open though nobody wants the symbol")
                del self._open[instrument]

    def finish(self) -> None:
        """Check what can be checked only at the end."""
        for instrument, course in self._courses.items():
            if instrument not in self._open and course.noticed(self._loop.time()):
                self._say(instrument, f"silent since {course.at:.3f}, outside of any gap")

    # -- PoolListener -------------------------------------------------------------------------------------

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        self.moves += len(instruments)
        self._tell(f"{account} feeds {_named(instruments)}")
        for instrument in instruments:
            if broker != f"broker-{account}":
                self._say(instrument, f"is fed by {account} at {broker}")
            if (course := self._courses.get(instrument)) is not None:
                course.feeder = account

    def ticked(self, ticks: list[Tick]) -> None:
        now = self._loop.time()
        for tick in ticks:
            self.ticks += 1
            instrument, course = tick.instrument, self._courses.get(tick.instrument)
            if course is None:
                self._say(instrument, "ticks though nobody wants it")
                continue
            if instrument in self._open:
                self._say(instrument, "ticks inside a gap that is open")
            course.feeder = course.feeder or self.source
            if course.feeder != self.source:
                self._say(instrument, f"ticks from {self.source}, and is fed by {course.feeder}")
            if course.source != self.source and course.tick is not None:
                moment, before = _moments(tick, course.tick)
                if moment < before:
                    self._say(instrument, f"tick of {moment} after one of {before}")
            if course.noticed(now):
                self._say(instrument, f"silent from {course.at:.3f} to {now:.3f} outside of any gap")
            course.ticked(self.source, tick, now)
            self._tell(f"tick {instrument.symbol} from {self.source}")

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self.gaps += 1
            if "usual pause" not in gap.reason:
                self.holes.append(gap.instrument)
            instrument, course = gap.instrument, self._courses.get(gap.instrument)
            self._tell(f"gap of {instrument.symbol} from {gap.from_ms}: {gap.reason}")
            if instrument in self._open:
                self._say(instrument, "a second gap is opened inside the first")
            self._open[instrument] = gap
            if course is None or not course.at:
                self._say(instrument, "has a gap though it never ticked")
            elif gap.from_ms < self._ms(course.at) - 1:
                self._late[instrument] = self._loop.time()  # a hole that nobody could know of before
            elif gap.from_ms > self._ms(course.at) + 1:
                self._say(instrument, f"{gap} does not begin at the last tick, {self._ms(course.at)}")

    def gaps_closed(self, gaps: list[Gap]) -> None:
        now = self._loop.time()
        for gap in gaps:
            instrument = gap.instrument
            self._tell(f"end of the gap of {instrument.symbol}")
            opened = self._open.pop(instrument, None)
            if opened is None or opened.from_ms != gap.from_ms:
                self._say(instrument, f"{gap} is closed, and open was {opened}")
            if gap.to_ms is None or abs(gap.to_ms - self._ms(now)) > 1:
                self._say(instrument, f"{gap} does not end now, at {self._ms(now)}")
            if self._late.pop(instrument, now) != now:
                self._say(instrument, f"{gap} begins too early")
            if (course := self._courses.get(instrument)) is not None:
                if "usual pause" in gap.reason and gap.to_ms is not None:
                    # Only a silence, for all that a pool knows: such a pause is a habit from now on.
                    course.pause = max(course.pause, (gap.to_ms - gap.from_ms) / 1000)
                course.at, course.first_at, course.ticks = now, now, 0

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._tell(f"{name} is {state}: {reason}")

    # -- inside -------------------------------------------------------------------------------------------

    def _ms(self, at: float) -> int:
        return round((self._loop.wall_clock() - self._loop.time() + at) * 1000)

    def _say(self, instrument: Instrument, what: str) -> None:
        self.problems.append(f"{self._loop.time():.3f} {instrument.symbol} {what}")
        self._tell(f"PROBLEM {instrument.symbol} {what}")

    def _tell(self, text: str) -> None:
        self._ledger.say(self._loop.time(), text)


def _named(instruments: Collection[Instrument]) -> str:
    return " ".join(i.symbol for i in instruments)


def _moments(tick: Tick, before: Tick) -> tuple[int, int]:
    """Return when both happened, or what they say of it; the volume of these brokers is that time."""
    if isinstance(tick, QuoteTick) and isinstance(before, QuoteTick):
        return tick.volume, before.volume
    return tick.timestamp, before.timestamp
