"""How far the symbols of one socket have come, against a model, in invented time."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.subscriptions import SILENT_SECONDS, Arrivals
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

INSTRUMENTS = [Instrument("NSE", name) for name in ("INFY", "SBIN", "TCS")]
INFY, SBIN, TCS = INSTRUMENTS
batches = st.lists(st.sampled_from(INSTRUMENTS), unique=True, max_size=3)


def ticks(*instruments: Instrument) -> list[Tick]:
    return [Tick(instrument=i, ltp=1.0, timestamp=0) for i in instruments]


class ArrivalMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.arrivals = Arrivals()
        self.now = 100.0
        self.awaited: dict[Instrument, float] = {}
        self.told: set[tuple[Instrument, float]] = set()

    @rule(instruments=batches)
    def send(self, instruments: list[Instrument]) -> None:
        self.now += 0.001  # no two messages leave in the same instant
        self.arrivals.sent(instruments, self.now)
        self.awaited.update(dict.fromkeys(instruments, self.now))

    @rule(instruments=st.lists(st.sampled_from(INSTRUMENTS), max_size=5))
    def ticks_come(self, instruments: list[Instrument]) -> None:
        first = [i for i in dict.fromkeys(instruments) if i in self.awaited]
        assert self.arrivals.arrived(ticks(*instruments)) == first, "each first tick is told once"
        for instrument in first:
            del self.awaited[instrument]

    @rule(instrument=st.sampled_from(INSTRUMENTS))
    def drop(self, instrument: Instrument) -> None:
        self.arrivals.drop(instrument)
        self.awaited.pop(instrument, None)

    @rule()
    def the_socket_is_gone(self) -> None:
        self.arrivals.clear()
        self.awaited.clear()

    @rule(seconds=st.sampled_from([0.0, 1.0, 4.0, SILENT_SECONDS]))
    def look(self, seconds: float) -> None:
        self.now += seconds
        due = {(i, at) for i, at in self.awaited.items() if at + SILENT_SECONDS <= self.now}
        silent = self.arrivals.overdue(self.now)
        assert len(set(silent)) == len(silent)
        assert set(silent) == {i for i, at in due - self.told}, "each silence is told once"
        self.told |= due

    @invariant()
    def each_symbol_has_come_as_far_as_it_has(self) -> None:
        for instrument in INSTRUMENTS:
            state = self.arrivals.state(instrument, self.now)
            at = self.awaited.get(instrument)
            if at is None:
                assert state is SymbolState.LIVE
            else:
                late = self.now - at >= SILENT_SECONDS
                assert state is (SymbolState.SILENT if late else SymbolState.SENT)


TestArrivals = ArrivalMachine.TestCase


def test_a_symbol_that_is_sent_again_gets_the_whole_time_again() -> None:
    arrivals = Arrivals()
    arrivals.sent([INFY, SBIN], 0.0)
    arrivals.drop(INFY)
    arrivals.sent([INFY], 6.0)
    assert arrivals.overdue(SILENT_SECONDS) == [SBIN]
    assert arrivals.state(INFY, SILENT_SECONDS) is SymbolState.SENT
    assert arrivals.overdue(6.0 + SILENT_SECONDS) == [INFY]


def test_a_silent_symbol_that_ticks_at_last_is_live() -> None:
    arrivals = Arrivals()
    arrivals.sent([INFY], 0.0)
    assert arrivals.overdue(SILENT_SECONDS) == [INFY]
    assert arrivals.arrived(ticks(TCS, INFY)) == [INFY]
    assert arrivals.state(INFY, 100.0) is SymbolState.LIVE


def test_nothing_is_kept_once_all_have_arrived_and_been_looked_at() -> None:
    arrivals = Arrivals()
    for n in range(100):
        arrivals.sent([INFY], float(n))
        arrivals.arrived(ticks(INFY))
    assert arrivals.overdue(1000.0) == []
    assert not arrivals.awaited
    assert not arrivals._checks
    arrivals.sent([INFY], 2000.0)
    arrivals.clear()
    assert not arrivals.awaited
    assert not arrivals._checks
