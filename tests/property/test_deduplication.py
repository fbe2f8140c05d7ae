"""One symbol on several sockets that carry the same ticks, each with lags and losses of its own."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from brokerpool.feed.deduplication import REMEMBERED
from brokerpool.ticks import QuoteTick, Tick
from tests.property.copying_sockets import (
    INFY,
    Sockets,
    counts,
    depth,
    interleavings,
    kinds,
    ltp,
    quote,
)


@given(st.data(), kinds, counts, st.integers(2, 3))
def test_whatever_the_interleaving_up_to_64_apart_every_tick_passes_once_in_order_and_without_a_hole(
    data: st.DataObject, kind, count: int, sources: int
) -> None:
    every = [kind(n) for n in range(count)]
    sockets = Sockets(joined="abc"[:sources])
    passed = []
    for source, n in data.draw(interleavings(count, sources, REMEMBERED)):
        passed += sockets.brings(source, every[n])
    assert passed == every
    assert sockets.holes == 0


@given(st.data(), st.lists(st.integers(1, 3), min_size=1, max_size=9), counts, st.integers(2, 3))
def test_equal_prices_one_after_the_other_are_neither_lost_nor_doubled(
    data: st.DataObject, prices: list[int], count: int, sources: int
) -> None:
    every = [ltp(float(prices[n % len(prices)])) for n in range(count)]
    sockets = Sockets(joined="abc"[:sources])
    passed = []
    for source, n in data.draw(interleavings(count, sources, REMEMBERED)):
        passed += sockets.brings(source, every[n])
    assert passed == every


@given(st.data(), kinds, counts)
def test_sockets_that_join_and_repeat_the_last_tick_as_their_first_answer_add_nothing(
    data: st.DataObject, kind, count: int
) -> None:
    sockets = Sockets(kind(0), serving=())
    passed = []
    for source, n in data.draw(interleavings(count, 2, REMEMBERED)):
        passed += sockets.brings(source, kind(n))
    assert passed == [kind(n) for n in range(1, count)], "the first one had passed before"


@given(kinds, st.integers(REMEMBERED, 2 * REMEMBERED), st.integers(1, 100))
def test_a_socket_up_to_128_behind_brings_nothing_twice_and_is_heard_again_when_it_has_caught_up(
    kind, lag: int, more: int
) -> None:
    sockets = Sockets(serving="ab")
    assert all(sockets.brings("a", kind(n)) for n in range(lag))
    assert not any(sockets.brings("b", kind(n)) for n in range(lag))
    assert all(sockets.brings("b", kind(lag + n)) for n in range(more))
    assert not any(sockets.brings("a", kind(lag + n)) for n in range(min(more, REMEMBERED)))
    assert sockets.holes == 0


@given(kinds, st.integers(1, 300), st.integers(1, 300), st.integers(-1, 1))
def test_a_socket_that_lost_a_stretch_adds_nothing_to_it_and_is_heard_from_then_on(
    kind, before: int, lost: int, ahead: int
) -> None:
    sockets = Sockets(serving="ab")
    passed = []
    for n in range(before):
        passed += sockets.brings("a", kind(n)) + sockets.brings("b", kind(n))
    for n in range(before, before + lost):
        passed += sockets.brings("a", kind(n))
    sockets.dies("b")
    # It is back with what is the newest now, or with one that the other has not brought yet.
    back = before + lost - 1 + max(0, ahead)
    for n in range(back, back + 60):
        passed += sockets.brings("b", kind(n))
    for n in range(before + lost, back + 60):
        passed += sockets.brings("a", kind(n))
    assert passed == [kind(n) for n in range(back + 60)]
    assert sockets.holes == 0


def test_the_snapshot_of_a_socket_that_rejoins_stands_for_the_newest_tick_that_it_can_be() -> None:
    sockets = Sockets(serving="ab")
    assert all(sockets.brings("a", ltp(p)) for p in (100.0, 101.0, 102.0, 100.0))
    sockets.dies("b")
    assert not sockets.brings("b", ltp(100.0))
    assert sockets.brings("b", ltp(101.0)), "news, and no late copy"
    assert not sockets.brings("a", ltp(101.0))


def test_a_copy_in_another_mode_is_still_a_copy() -> None:
    sockets = Sockets(serving="ab")
    assert sockets.brings("a", depth(1))
    reduced = QuoteTick(instrument=INFY, ltp=depth(1).ltp, timestamp=77, volume=depth(1).volume)
    assert not sockets.brings("b", reduced)


def test_it_is_over_when_there_is_one_socket_and_no_copy_is_still_to_come_on_it() -> None:
    sockets = Sockets(serving="ab")
    assert not sockets.over()
    assert sockets.brings("a", ltp(1.0))
    sockets.serve("b", sockets.now)
    assert not sockets.over()
    assert not sockets.brings("b", ltp(1.0))
    assert sockets.over()


def test_of_a_single_socket_only_the_copies_that_were_still_to_come_are_dropped() -> None:
    sockets = Sockets(serving="ab")
    assert sockets.brings("a", ltp(1.0))
    assert sockets.brings("a", ltp(2.0))
    sockets.serve("b", sockets.now)
    assert [bool(sockets.brings("b", ltp(p))) for p in (1.0, 2.0, 2.0, 1.0)] == [False, False, True, True]


def test_a_socket_that_left_is_not_heard_any_more_and_one_that_comes_back_repeats_the_last() -> None:
    sockets = Sockets(serving="ab")
    assert sockets.brings("a", quote(1))
    sockets.serve("a", sockets.now)
    assert not sockets.brings("b", quote(2))
    assert sockets.brings("a", quote(2))
    sockets.serve("ab", sockets.now)
    assert not sockets.brings("b", quote(2))
    assert sockets.brings("b", quote(3))
    assert not sockets.brings("a", quote(3))


def test_no_more_than_64_ticks_are_kept_for_a_socket_that_says_nothing_or_never_the_same() -> None:
    sockets = Sockets(joined="abc")
    for n in range(1000):
        assert sockets.brings("a", ltp(float(n))) == [ltp(float(n))]
        assert sockets.brings("c", ltp(n + 0.5)) == []
    assert len(sockets._passed) == REMEMBERED
    assert len(sockets._sockets["c"].waiting) == REMEMBERED


# -- the whole, against a feed of which everything is known -----------------------------------------------


class Feed(RuleBasedStateMachine):
    """A broker numbers its ticks in secret; sockets bring them late, are held up, die and begin anew."""

    @initialize(kind=kinds, snapshots=st.booleans())
    def begin(self, kind, snapshots: bool) -> None:
        self.ordered, self.snapshots = kind is quote, snapshots
        self.every = [kind(n) for n in range(400)]
        self.number_of = {id(tick): n for n, tick in enumerate(self.every)}
        self.newest = self.last = 0
        self.sockets = Sockets(self.every[0], serving="a", joined="abc")
        #: What is under way on each socket that serves.
        self.under_way: dict[str, list[int]] = {"a": []}
        #: Whether a gap is told that the next tick will close.
        self.gap_open = False

    @rule(count=st.integers(1, 5))
    def ticks(self, count: int) -> None:
        for _ in range(count):
            self.newest += 1
            for queue in self.under_way.values():
                queue.append(self.newest)

    @rule(source=st.sampled_from("abc"))
    def begins(self, source: str) -> None:
        if source not in self.under_way:
            self.under_way[source] = [self.newest] if self.snapshots else []

    @rule(source=st.sampled_from("abc"), count=st.integers(1, 20))
    def arrives(self, source: str, count: int) -> None:
        queue = self.under_way.get(source, [])
        for _ in range(min(count, len(queue))):
            self.passes(self.sockets.brings(source, self.every[queue.pop(0)]))

    @rule(source=st.sampled_from("abc"))
    def dies(self, source: str) -> None:
        if self.under_way.pop(source, None) is None:
            return
        self.sockets.dies(source)
        if not any(self.sockets.began(other) for other in self.under_way):
            self.gap_open = True
            self.sockets.interrupted()

    @rule(seconds=st.sampled_from([0.1, 0.6, 1.1, 5.0]))
    def time_passes(self, seconds: float) -> None:
        self.passes(self.sockets.waits(seconds))

    def passes(self, ticks: list[Tick]) -> None:
        self.gap_open = self.gap_open or bool(self.sockets.holes)
        self.sockets.holes = 0
        for number in (self.number_of[id(tick)] for tick in ticks):
            if number > self.last:
                told = f"{self.last + 1} to {number - 1} are missing in silence"
                assert number == self.last + 1 or self.gap_open, told
            else:  # that can happen where nothing tells an old one from a new one
                assert self.gap_open, f"{number} passes after {self.last} in silence"
                # Not even the volume tells what lies between two trades apart.
                alike = number // 3 == self.last // 3
                assert alike or not self.ordered, f"{number} passes after {self.last}"
            self.last, self.gap_open = number, False


TestFeed = Feed.TestCase
TestFeed.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
