"""Gaps against a model: every one that opens is closed once, with both edges."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.instruments import Instrument

INSTRUMENTS = [Instrument("NSE", name) for name in ("INFY", "SBIN", "TCS", "ITC")]
instruments = st.sampled_from(INSTRUMENTS)
times = st.integers(1_000_000, 1_000_100)


class GapMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.book = GapBook()
        self.open: dict[Instrument, Gap] = {}
        self.opened: list[Gap] = []
        self.closed: list[Gap] = []

    @rule(edges=st.dictionaries(instruments, times), reason=st.sampled_from(["lost", "mute"]))
    def data_stops(self, edges: dict[Instrument, int], reason: str) -> None:
        fresh = self.book.open(edges, reason)
        assert fresh == [Gap(i, at, reason) for i, at in edges.items() if i not in self.open]
        self.opened += fresh
        self.open.update({gap.instrument: gap for gap in fresh})

    @rule(several=st.lists(instruments, max_size=5), now=times)
    def data_goes_on(self, several: list[Instrument], now: int) -> None:
        closed = self.book.close(several, now)
        assert [gap.instrument for gap in closed] == [i for i in dict.fromkeys(several) if i in self.open]
        for gap in closed:
            was = self.open.pop(gap.instrument)
            assert (gap.from_ms, gap.reason, gap.filled) == (was.from_ms, was.reason, was.filled)
            assert gap.to_ms is not None
            assert gap.to_ms >= gap.from_ms, "no hole ends before it begins, whatever the wall clock does"
            assert gap.to_ms in (now, gap.from_ms)
        self.closed += closed

    @rule(instrument=instruments)
    def a_snapshot_comes(self, instrument: Instrument) -> None:
        assert self.book.fill(instrument) is (instrument in self.open)
        if instrument in self.open:
            was = self.open[instrument]
            self.open[instrument] = Gap(instrument, was.from_ms, was.reason, None, True)

    @rule(before=times)
    def old_ones_without_a_snapshot_are_asked_for(self, before: int) -> None:
        due = self.book.unfilled(before)
        assert [gap.from_ms for gap in due] == sorted(gap.from_ms for gap in due), "the oldest first"
        assert set(due) == {g for g in self.open.values() if not g.filled and g.from_ms < before}

    @invariant()
    def every_gap_is_open_or_closed_and_never_both(self) -> None:
        assert len(self.opened) == len(self.closed) + len(self.open)
        assert len(self.book) == len(self.open)
        assert {i for i in INSTRUMENTS if i in self.book} == set(self.open)


TestGaps = GapMachine.TestCase


def test_the_first_edge_and_the_first_reason_stay() -> None:
    book = GapBook()
    (gap,) = book.open({INSTRUMENTS[0]: 1000}, "the connection was lost")
    assert book.open({INSTRUMENTS[0]: 2000}, "no connection has room") == []
    assert book.close(INSTRUMENTS, 5000) == [Gap(gap.instrument, 1000, "the connection was lost", 5000)]
    assert book.close(INSTRUMENTS, 6000) == []


def test_a_snapshot_fills_only_the_gap_in_which_it_came() -> None:
    book = GapBook()
    book.open({INSTRUMENTS[0]: 1000}, "lost")
    assert book.fill(INSTRUMENTS[0])
    assert [gap.filled for gap in book.close(INSTRUMENTS, 2000)] == [True]
    book.open({INSTRUMENTS[0]: 3000}, "lost")
    assert [gap.filled for gap in book.close(INSTRUMENTS, 4000)] == [False]
