"""One symbol on several sockets that carry the same ticks, each with lags and losses of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from brokerpool.feed.copy_agreement import Agreement
from brokerpool.feed.deduplication import PATIENCE_SECONDS, REMEMBERED, Deduplication
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, QuoteTick, Tick

INFY = Instrument("NSE", "INFY")
DAY_MS = 86_400_000


class Sockets(Deduplication):
    """Several sockets in invented time, and what passes of what they bring."""

    def __init__(self, last: Tick | None = None, serving: Sequence[str] = ("a",), joined: str = "ab") -> None:
        self.agreement = Agreement()
        super().__init__(self.agreement, last, 0.0, serving)
        self.now = 0.0
        self.holes = 0
        self.serve(joined, 0.0)

    def brings(self, source: str, tick: Tick) -> list[Tick]:
        self.now += 0.001
        passing = self.brought(source, tick, self.now)
        self.holes += passing.hole
        return passing.ticks

    def waits(self, seconds: float) -> list[Tick]:
        """Let time go by, in which nothing comes, and look."""
        self.now += seconds
        passing = self.overdue(self.now)
        self.holes += passing.hole
        return passing.ticks

    def agree(self, one: str, other: str) -> None:
        """Have two bring the same of another symbol."""
        self.now += 0.001
        self.agreement.note(one, self.now - 0.001, other, self.now)

    def dies(self, source: str) -> None:
        self.lost(source)
        self.agreement.forget(source)


def ltp(price: float, at_ms: int = 0) -> Tick:
    return Tick(instrument=INFY, ltp=price, timestamp=at_ms)


def quote(number: int, *, volume: int | None = None, seen_at: int = 0) -> QuoteTick:
    """Return a tick with every third a trade and the others changes of the order book; no two are equal."""
    return QuoteTick(
        instrument=INFY,
        ltp=100.0 + number // 3 % 3,
        timestamp=1000 * number + seen_at,
        volume=number // 3 if volume is None else volume,
        total_buy_quantity=5000 + number,
    )


def depth(number: int, *, seen_at: int = 0) -> DepthTick:
    """Return a tick with the exchange's time, two of them in each second."""
    return DepthTick(
        instrument=INFY,
        ltp=100.0,
        timestamp=1000 * (number // 2),
        volume=10,
        buy=(DepthLevel(99.0, number, 1),),
    )


def price(number: int, *, seen_at: int = 0) -> Tick:
    return ltp(float(number))


kinds = st.sampled_from([quote, depth, price])
every_kind = pytest.mark.parametrize("kind", [quote, depth, price])
counts = st.integers(1, 200)


@st.composite
def interleavings(draw: st.DrawFn, count: int, sources: int, lag: int) -> list[tuple[str, int]]:
    """Return (source, number) in the order of arrival: each source in its order, at most `lag` apart."""
    at = [0] * sources
    order = []
    while min(at) < count:
        able = [s for s in range(sources) if at[s] < count and at[s] - min(at) < lag]
        source = draw(st.sampled_from(able))
        steps = draw(st.integers(1, lag))
        for _ in range(steps):
            if at[source] >= count or at[source] - min(at) >= lag:
                break
            order.append(("abc"[source], at[source]))
            at[source] += 1
    return order


# -- copies -----------------------------------------------------------------------------------------------


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


# -- sockets that are not in step ---------------------------------------------------------------------------


@every_kind
def test_a_socket_that_begins_ahead_waits_for_the_others_so_that_nothing_is_lost(kind) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("b", kind(4)) == []
    assert sockets.brings("b", kind(5)) == []
    assert [tick for n in (1, 2, 3) for tick in sockets.brings("a", kind(n))] == [kind(1), kind(2), kind(3)]
    assert sockets.brings("a", kind(4)) == [kind(4), kind(5)], "now it is known that 5 comes next"
    assert sockets.brings("b", kind(6)) == [kind(6)]
    assert sockets.holes == 0


@every_kind
def test_it_waits_no_longer_than_a_second_for_a_socket_that_says_nothing_and_then_there_is_a_hole(
    kind,
) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("b", kind(4)) == []
    assert sockets.waits(PATIENCE_SECONDS + 0.01) == [kind(4)]
    assert sockets.holes == 1
    assert sockets.brings("b", kind(5)) == [kind(5)]
    late = [sockets.brings("a", kind(n)) for n in (1, 2, 3, 4, 5)]
    assert late == [[]] * 5, "what comes too late is part of the hole"
    assert sockets.brings("a", kind(6)) == [kind(6)]
    assert sockets.holes == 1


@every_kind
def test_the_next_tick_ends_the_wait_too(kind) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("b", kind(4)) == []
    sockets.now += PATIENCE_SECONDS
    assert sockets.brings("b", kind(5)) == [kind(4), kind(5)]
    assert sockets.holes == 1


@every_kind
def test_there_is_no_hole_where_both_have_brought_the_same_of_another_symbol_meanwhile(kind) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("b", kind(4)) == []
    sockets.agree("a", "b")
    assert sockets.waits(PATIENCE_SECONDS + 0.01) == [kind(4)]
    assert sockets.holes == 0


@every_kind
def test_there_is_one_where_they_have_done_so_only_before_the_one_that_takes_over_began(kind) -> None:
    sockets = Sockets(kind(0))
    sockets.agree("a", "b")
    assert sockets.brings("b", kind(4)) == []
    assert sockets.waits(PATIENCE_SECONDS + 0.01) == [kind(4)]
    assert sockets.holes == 1


@every_kind
def test_a_socket_that_was_there_before_the_last_tick_goes_on_without_a_hole_when_the_other_one_dies(
    kind,
) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("a", kind(1))
    assert not sockets.brings("b", kind(1))
    assert sockets.brings("a", kind(2))
    sockets.dies("a")
    assert sockets.brings("b", kind(2)) == []
    assert sockets.brings("b", kind(3)) == [kind(3)]
    assert sockets.holes == 0


@every_kind
def test_a_socket_that_began_after_the_other_one_had_died_leaves_a_hole(kind) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("a", kind(1))
    assert sockets.brings("b", kind(9)) == []
    sockets.dies("a")
    assert sockets.brings("b", kind(10)) == [kind(9), kind(10)]
    assert sockets.holes == 1


@every_kind
def test_a_socket_that_was_held_up_and_dies_has_not_brought_what_was_sent_meanwhile(kind) -> None:
    sockets = Sockets(kind(0), serving="ab", joined="abc")
    assert [sockets.brings("b", kind(n)) for n in (1, 2)] == [[kind(1)], [kind(2)]]
    sockets.dies("b")
    sockets.now += 2.0
    assert sockets.brings("c", kind(4)) == []
    assert [sockets.brings("a", kind(n)) for n in (1, 2)] == [[], []], (
        "two seconds late: 3 is under way still"
    )
    sockets.dies("a")
    assert sockets.waits(PATIENCE_SECONDS) == [kind(4)]
    assert sockets.holes == 1


@every_kind
def test_one_that_was_late_and_has_caught_up_has_brought_all_when_it_dies(kind) -> None:
    sockets = Sockets(kind(0), serving="ab", joined="abc")
    assert sockets.brings("b", kind(1))
    sockets.dies("b")
    sockets.now += 2.0
    assert sockets.brings("a", kind(1)) == []
    sockets.now += 2.0
    assert sockets.brings("a", kind(2))
    sockets.now += 1.0
    assert sockets.brings("c", kind(3)) == []
    sockets.agree("c", "a")
    sockets.dies("a")
    assert sockets.waits(PATIENCE_SECONDS) == [kind(3)]
    assert sockets.holes == 0


@every_kind
def test_a_socket_that_takes_the_place_of_one_that_left_in_order_leaves_none(kind) -> None:
    sockets = Sockets(kind(0))
    assert sockets.brings("a", kind(1))
    sockets.now += 60.0
    sockets.serve("b", sockets.now)
    assert sockets.brings("b", kind(2)) == [kind(2)]
    assert sockets.holes == 0


def test_where_nobody_knows_what_was_ahead_there_is_a_hole_and_nothing_older_passes() -> None:
    sockets = Sockets(ltp(0.0))
    assert sockets.brings("b", ltp(28.0)) == []
    assert sockets.brings("b", ltp(29.0)) == []
    assert sockets.brings("a", ltp(27.0)) == [ltp(27.0)], "held up, or another sample"
    sockets.dies("a")
    assert sockets.brings("b", ltp(30.0)) == [ltp(30.0)]
    assert sockets.holes == 1


def test_where_the_order_can_be_told_what_was_ahead_passes_behind_a_hole() -> None:
    sockets = Sockets(quote(0, volume=0))
    assert sockets.brings("b", quote(28, volume=28)) == []
    assert sockets.brings("a", quote(27, volume=27))
    sockets.dies("a")
    assert sockets.brings("b", quote(29, volume=29)) == [quote(28, volume=28), quote(29, volume=29)]
    assert sockets.holes == 1, "nobody knows that nothing lay between the two"


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 40)), min_size=1, max_size=20))
def test_of_sockets_that_never_say_the_same_one_is_followed_and_the_other_stands_by(
    runs: list[tuple[str, int]],
) -> None:
    sockets = Sockets(ltp(0.5))
    passed, n = [], 0
    for source, run in runs:
        for _ in range(run):
            n += 1
            passed += sockets.brings(source, ltp(float(n)))
    prices = [tick.ltp for tick in passed]
    assert prices == sorted(prices)
    assert sockets.holes == 0


# -- what is late -------------------------------------------------------------------------------------------


@given(st.integers(2, 60), st.integers(1, 59))
def test_what_one_lost_and_the_other_brings_late_is_dropped_where_the_order_can_be_told(
    count: int, lost: int
) -> None:
    sockets = Sockets(serving="ab")
    kept = [0, *range(lost + 1, lost + count)]
    assert all(sockets.brings("a", quote(n, volume=n)) for n in kept)
    assert not any(sockets.brings("b", quote(n, volume=n)) for n in range(lost + count))
    assert sockets.brings("b", quote(lost + count, volume=lost + count))


def test_a_volume_that_fell_passes_on_a_new_day_and_not_a_second_later() -> None:
    sockets = Sockets(serving="ab")
    assert sockets.brings("a", quote(30, volume=1_000_000))
    assert not sockets.brings("b", quote(31, volume=999_999))
    assert sockets.brings("b", quote(0, volume=5, seen_at=DAY_MS))
    assert not sockets.brings("a", quote(0, volume=5, seen_at=DAY_MS))


def test_the_exchange_s_time_tells_an_old_book_from_a_new_one() -> None:
    sockets = Sockets(serving="ab")
    assert sockets.brings("a", depth(10))
    assert not sockets.brings("b", depth(2))
    assert sockets.brings("b", depth(12))


def test_after_a_gap_that_was_told_what_a_socket_in_step_brings_of_it_is_dropped() -> None:
    sockets = Sockets(ltp(1.0), serving="ab")
    sockets.interrupted()
    assert sockets.brings("a", ltp(9.0))
    assert [sockets.brings("b", ltp(float(n))) for n in range(2, 10)] == [[]] * 8
    assert sockets.brings("b", ltp(10.0)) == [ltp(10.0)]
    assert sockets.holes == 0


def test_what_is_late_for_more_than_a_second_is_not_late_when_nobody_else_goes_on() -> None:
    sockets = Sockets(ltp(1.0), serving="ab")
    sockets.interrupted()
    assert sockets.brings("a", ltp(2.0))
    assert not sockets.brings("b", ltp(3.0))
    sockets.now += PATIENCE_SECONDS
    assert not sockets.brings("b", ltp(4.0))
    assert sockets.waits(PATIENCE_SECONDS) == [ltp(4.0)]
    assert sockets.holes == 1, "nobody knows what lay between"


@every_kind
def test_what_was_dropped_as_late_and_may_have_been_news_is_a_hole_before_the_next_that_passes(kind) -> None:
    sockets = Sockets(kind(1), serving="ab")
    sockets.interrupted()
    assert sockets.brings("a", kind(2))
    sockets.dies("a")
    assert not sockets.brings("b", ltp(0.5)), "of no order: it may be of the gap, and is 3 here"
    sockets.now += PATIENCE_SECONDS
    passed = [*sockets.brings("b", kind(6)), *sockets.waits(PATIENCE_SECONDS)]
    assert passed == [kind(6)]
    assert sockets.holes == 1


def late_for_more_than_a_second() -> Sockets:
    """Return two sockets, one of which is held for late: it brings what nobody has had, after a hole."""
    sockets = Sockets(ltp(1.0), serving="ab")
    sockets.interrupted()
    assert sockets.brings("a", ltp(2.0))
    assert not sockets.brings("b", ltp(3.0))
    assert sockets.brings("a", ltp(3.0))
    sockets.now += PATIENCE_SECONDS
    return sockets


def test_what_seemed_late_and_is_ahead_is_in_step_as_soon_as_the_other_one_brings_it() -> None:
    sockets = late_for_more_than_a_second()
    assert not sockets.brings("b", ltp(4.0))
    assert sockets.brings("a", ltp(4.0)) == [ltp(4.0)]
    assert sockets.brings("b", ltp(5.0)) == [ltp(5.0)]
    assert not sockets.brings("a", ltp(5.0))
    assert sockets.holes == 0


def test_what_seemed_late_is_heard_once_the_other_one_is_gone() -> None:
    sockets = late_for_more_than_a_second()
    sockets.dies("a")
    assert sockets.brings("b", ltp(4.0)) == [ltp(4.0)]
    assert sockets.holes == 1


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
