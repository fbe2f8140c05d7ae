"""One symbol on several sockets that carry the same ticks, each with a lag and losses of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.feed.arbiter import BACKLOG_SECONDS, MOST_PENDING, Arbiter, Verdict
from brokerpool.instruments import Instrument
from brokerpool.ticks import DepthLevel, DepthTick, QuoteTick, Tick

INFY = Instrument("NSE", "INFY")
DAY_MS = 86_400_000


class Sockets(Arbiter):
    """An arbiter that is told, as by the intake, when a socket brings its first tick."""

    now = 0.0
    last_at: float | None = None

    def admits(self, source: str, tick: Tick) -> bool:
        self.now += 0.001
        if self.since(source) is None:
            self.began(source, self.now, self.last_at)
        new = self.judge(source, tick, self.now) is Verdict.NEW
        if new:
            self.last_at = self.now
        return new

    def rejoin(self, source: str) -> None:
        self.lost(source)


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


def ltps(count: int, prices: Sequence[int]) -> list[Tick]:
    return [ltp(float(prices[n % len(prices)])) for n in range(count)]


kinds = st.sampled_from([quote, depth])
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


def numbers(ticks: list[Tick], every: list[Tick]) -> list[int]:
    return [next(n for n, known in enumerate(every) if known is tick) for tick in ticks]


@given(st.data(), kinds, counts, st.integers(2, 3))
def test_whatever_the_interleaving_up_to_64_apart_every_tick_passes_once_and_in_order(
    data: st.DataObject, kind, count: int, sources: int
) -> None:
    arbiter = Sockets(None)
    arbiter.serve("abc"[:sources])
    passed = []
    for source, n in data.draw(interleavings(count, sources, MOST_PENDING)):
        if arbiter.admits(source, kind(n, seen_at="abc".index(source))):
            passed.append(n)
    assert passed == list(range(count))


@given(st.data(), st.lists(st.integers(1, 3), min_size=1, max_size=9), counts, st.integers(2, 3))
def test_equal_prices_one_after_the_other_are_neither_lost_nor_doubled(
    data: st.DataObject, prices: list[int], count: int, sources: int
) -> None:
    every = ltps(count, prices)
    arbiter = Sockets(None)
    arbiter.serve("abc"[:sources])
    passed = []
    for source, n in data.draw(interleavings(count, sources, MOST_PENDING)):
        if arbiter.admits(source, every[n]):
            passed.append(every[n])
    assert numbers(passed, every) == list(range(count))


@given(st.data(), st.sampled_from([quote, depth, lambda n, seen_at=0: ltp(float(n % 4))]), counts)
def test_sockets_that_join_and_repeat_the_last_tick_as_their_first_answer_add_nothing(
    data: st.DataObject, kind, count: int
) -> None:
    arbiter = Sockets(kind(0))
    arbiter.serve(["a", "b"])
    passed = []
    for source, n in data.draw(interleavings(count, 2, MOST_PENDING)):
        if arbiter.admits(source, kind(n)):
            passed.append(n)
    assert passed == list(range(1, count)), "the first one had passed before"


def test_a_socket_that_joins_without_repeating_anything_is_heard() -> None:
    arbiter = Sockets(ltp(100.0))
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", ltp(101.0))
    assert arbiter.admits("a", ltp(100.0)), "back at the price from before the second socket came"
    assert [arbiter.admits("b", ltp(price)) for price in (100.0, 101.0, 100.0)] == [False, False, False]
    assert arbiter.admits("b", ltp(102.0))


@given(kinds, st.integers(MOST_PENDING, 2 * MOST_PENDING), st.integers(1, 100))
def test_a_socket_up_to_128_behind_brings_nothing_twice_and_is_heard_again_when_it_has_caught_up(
    kind, lag: int, more: int
) -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert all(arbiter.admits("a", kind(n)) for n in range(lag))
    assert not any(arbiter.admits("b", kind(n)) for n in range(lag))
    assert all(arbiter.admits("b", kind(lag + n)) for n in range(more))
    assert not any(arbiter.admits("a", kind(lag + n)) for n in range(min(more, MOST_PENDING)))


@given(kinds, st.integers(1, 300), st.integers(1, 300), st.integers(-1, 1))
def test_a_socket_that_lost_a_stretch_adds_nothing_to_it_and_is_heard_from_then_on(
    kind, before: int, lost: int, ahead: int
) -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    passed = []
    for n in range(before):
        passed += [n for source in "ab" if arbiter.admits(source, kind(n))]
    passed += [n for n in range(before, before + lost) if arbiter.admits("a", kind(n))]
    arbiter.rejoin("b")
    # It is back with what is the newest now, the one before, or one that a has not brought yet.
    back = before + lost - 1 + (ahead if lost > 1 else max(0, ahead))
    passed += [n for n in range(back, back + 100) if arbiter.admits("b", kind(n))]
    passed += [n for n in range(before + lost, back + 100) if arbiter.admits("a", kind(n))]
    assert passed == list(range(back + 100))


def test_for_ltp_a_socket_that_rejoins_is_heard_at_once_though_hundreds_of_prices_went_by() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert all(arbiter.admits("a", ltp(float(n))) for n in range(500))
    arbiter.rejoin("b")
    assert not arbiter.admits("b", ltp(499.0)), "its first answer"
    assert arbiter.admits("b", ltp(500.0))
    assert not arbiter.admits("a", ltp(500.0))


@pytest.mark.parametrize("kind", [quote, depth, lambda n: ltp(float(n))])
def test_a_socket_that_lost_track_is_heard_after_64_ticks_at_most_when_the_other_one_dies(kind) -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert all(arbiter.admits("a", kind(n)) for n in range(1000))
    heard = [n for n in range(1000, 1200) if arbiter.admits("b", kind(n))]
    assert heard[0] <= 1000 + MOST_PENDING
    assert heard == list(range(heard[0], 1200))


def test_a_socket_that_lost_track_is_heard_at_once_where_the_order_can_be_told() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert all(arbiter.admits("a", quote(n, volume=n)) for n in range(1000))
    assert arbiter.admits("b", quote(1000, volume=1000))


def test_the_snapshot_of_a_socket_that_rejoins_stands_for_the_newest_tick_that_it_can_be() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert all(arbiter.admits("a", ltp(price)) for price in (100.0, 101.0, 102.0, 100.0))
    arbiter.rejoin("b")
    assert not arbiter.admits("b", ltp(100.0))
    assert arbiter.admits("b", ltp(101.0)), "news, and no late copy"
    assert not arbiter.admits("a", ltp(101.0))


@given(st.lists(st.integers(1, 150), min_size=2, max_size=8))
def test_sockets_that_never_say_the_same_do_not_silence_each_other(runs: list[int]) -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    order = [source for run in runs for source in ("ab" * run)]
    for n, source in enumerate(order):
        assert arbiter.admits(source, quote(n, volume=n)), "a newer tick always passes"


@given(st.integers(2, 60), st.integers(1, 59))
def test_what_one_lost_and_the_other_brings_late_is_dropped_where_the_order_can_be_told(
    count: int, lost: int
) -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    kept = [0, *range(lost + 1, lost + count)]
    assert all(arbiter.admits("a", quote(n, volume=n)) for n in kept)
    assert not any(arbiter.admits("b", quote(n, volume=n)) for n in range(lost + count))
    assert arbiter.admits("b", quote(lost + count, volume=lost + count))


def test_for_ltp_what_one_lost_and_the_other_brings_late_cannot_be_told_from_news_but_the_end_is_right() -> (
    None
):
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    passed = [p for p in (1.0, 4.0) if arbiter.admits("a", ltp(p))]  # 2 and 3 are lost on this socket
    passed += [p for p in (1.0, 2.0, 3.0, 4.0) if arbiter.admits("b", ltp(p))]
    assert passed[-1] == 4.0, "the newest price is the one that stands"


def test_a_volume_that_fell_passes_on_a_new_day_and_not_a_second_later() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", quote(30, volume=1_000_000))
    assert not arbiter.admits("b", quote(31, volume=999_999))
    assert arbiter.admits("b", quote(0, volume=5, seen_at=DAY_MS))
    assert not arbiter.admits("a", quote(0, volume=5, seen_at=DAY_MS))


def test_the_exchange_s_time_tells_an_old_book_from_a_new_one() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", depth(10))
    assert not arbiter.admits("b", depth(2))
    assert arbiter.admits("b", depth(12))


def test_a_copy_in_another_mode_is_still_a_copy() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", depth(1))
    full = depth(1)
    reduced = QuoteTick(instrument=INFY, ltp=full.ltp, timestamp=77, volume=full.volume)
    assert not arbiter.admits("b", reduced)


def test_a_socket_that_left_is_not_heard_any_more_and_one_that_comes_back_repeats_the_last() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", quote(1))
    arbiter.serve(["a"])
    assert not arbiter.admits("b", quote(2))
    assert arbiter.admits("a", quote(2))
    arbiter.serve(["a", "b"])
    assert not arbiter.admits("b", quote(2))
    assert arbiter.admits("b", quote(3))
    assert not arbiter.admits("a", quote(3))


def test_a_socket_that_stays_keeps_its_place_when_others_come_and_go() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", quote(1))
    assert arbiter.admits("a", quote(2))
    arbiter.serve(["a", "b", "c"])
    assert not arbiter.admits("b", quote(1))
    assert not arbiter.admits("b", quote(2))
    assert arbiter.admits("b", quote(3))


def test_it_is_over_when_there_is_one_socket_and_no_copy_is_still_to_come_on_it() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert not arbiter.over()
    assert arbiter.admits("a", ltp(1.0))
    arbiter.serve(["b"])
    assert not arbiter.over()
    assert not arbiter.admits("b", ltp(1.0))
    assert arbiter.over()


def test_of_a_single_socket_only_the_copies_that_were_still_to_come_are_dropped() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", ltp(1.0))
    assert arbiter.admits("a", ltp(2.0))
    arbiter.serve(["b"])
    assert [arbiter.admits("b", ltp(p)) for p in (1.0, 2.0, 2.0, 1.0)] == [False, False, True, True]


def test_no_more_than_64_ticks_are_kept_for_a_socket_that_says_nothing() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    for n in range(10_000):
        arbiter.admits("a", ltp(float(n)))
    assert all(len(pending) <= MOST_PENDING for pending in arbiter._pending.values())


def served_since(arbiter: Sockets, source: str, at: float, before: float | None) -> None:
    arbiter.serve(["a", "b"])
    arbiter.began(source, at, before)


def test_a_socket_that_goes_dark_leaves_a_hole_until_the_other_one_began() -> None:
    arbiter = Sockets(None, ["a"])
    served_since(arbiter, "b", 10.0, 4.0)
    assert arbiter.holes("a", 9.0) == [(4.0, 10.0)], "the last tick before, and the first of the other"
    assert arbiter.holes("a", 11.0) == [], "it was alive when the other one began"
    assert arbiter.holes("b", 9.0) == [], "the other one served already"


def test_a_socket_that_began_with_what_had_passed_covers_up_no_hole() -> None:
    arbiter = Sockets(ltp(5.0), ["a"])
    served_since(arbiter, "b", 10.0, 4.0)
    assert not arbiter.admits("b", ltp(5.0))
    assert arbiter.holes("a", 9.0) == []


def test_sockets_that_covered_up_a_dead_one_and_were_lost_leave_a_hole_each() -> None:
    arbiter = Sockets(None, ["a"])
    served_since(arbiter, "b", 10.0, 4.0)
    arbiter.lost("b")
    arbiter.began("b", 14.0, 12.0)
    assert arbiter.holes("a", 9.0) == [(4.0, 10.0), (12.0, 14.0)]
    arbiter.serve(["a", "b", "c"])
    arbiter.began("c", 20.0, 19.0)
    assert arbiter.holes("a", 9.0) == [(4.0, 10.0), (12.0, 14.0)], "the other one served when this one began"


def test_what_a_socket_covered_up_is_known_also_when_it_is_gone() -> None:
    arbiter = Sockets(None, ["a"])
    served_since(arbiter, "b", 10.0, 4.0)
    arbiter.lost("b")
    assert arbiter.holes("a", 9.0) == [(4.0, 10.0)]
    arbiter.told()
    assert arbiter.holes("a", 9.0) == []


def test_a_socket_that_brings_what_others_brought_has_gone_on_without_a_hole() -> None:
    arbiter = Sockets(None, ["a"])
    arbiter.now = 10.0
    served_since(arbiter, "b", 10.0, 4.0)
    assert arbiter.admits("b", ltp(1.0))
    assert not arbiter.admits("a", ltp(1.0))
    assert arbiter.holes("a", 9.0) == []


def test_a_backlog_is_late_and_a_socket_that_is_ahead_is_heard_after_a_second() -> None:
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    assert arbiter.admits("a", ltp(1.0))
    assert not arbiter.admits("b", ltp(1.0))
    assert arbiter.admits("a", ltp(9.0)), "2 to 8 were lost on this socket"
    late = [arbiter.judge("b", ltp(float(n)), arbiter.now) for n in range(2, 9)]
    assert set(late) == {Verdict.LATE}
    arbiter.now += BACKLOG_SECONDS + 0.1
    assert arbiter.admits("b", ltp(10.0))


def with_a_socket_that_keeps_one_back() -> Sockets:
    """Both serve at 10.0; `a` brings a price then, and `b` goes on with the next one a second later."""
    arbiter = Sockets(None)
    arbiter.serve(["a", "b"])
    arbiter.now = 9.0
    assert arbiter.admits("a", ltp(1.0))
    assert not arbiter.admits("b", ltp(1.0))
    arbiter.now = 10.0
    assert arbiter.admits("a", ltp(2.0))
    arbiter.now = 11.0
    assert arbiter.judge("b", ltp(3.0), arbiter.now) is Verdict.LATE, "2.0 is still to come on it"
    return arbiter


def test_what_was_dropped_as_late_is_a_hole_when_the_other_socket_was_dead_by_then() -> None:
    arbiter = with_a_socket_that_keeps_one_back()
    arbiter.now += BACKLOG_SECONDS + 0.1
    assert arbiter.admits("b", ltp(4.0))
    [hole] = arbiter.holes("a", 10.5)
    assert hole == pytest.approx((10.001, 12.101))
    assert not arbiter.admits("a", ltp(4.0))
    assert arbiter.holes("a", 10.5) == [], "it was alive when the other one was heard again"


def test_what_was_dropped_as_late_before_a_gap_ended_is_told_with_the_gap() -> None:
    arbiter = with_a_socket_that_keeps_one_back()
    arbiter.now += BACKLOG_SECONDS + 0.1
    assert arbiter.judge("b", ltp(4.0), arbiter.now, told=True) is Verdict.NEW
    assert arbiter.holes("a", 10.5) == []


def test_a_socket_led_when_all_that_the_others_brought_since_was_dropped() -> None:
    arbiter = with_a_socket_that_keeps_one_back()
    assert arbiter.led("a", 10.5)
    assert not arbiter.led("a", 11.5), "it was alive, and would have brought it"
    assert not arbiter.led("b", 10.5)
    arbiter.began("c", 11.2, 10.0)
    assert not arbiter.led("a", 10.5), "another one serves"
