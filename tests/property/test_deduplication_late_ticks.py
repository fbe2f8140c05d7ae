"""One symbol on several sockets: what comes late is dropped, unless it may be news."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.feed.deduplication import PATIENCE_SECONDS
from tests.property.copying_sockets import (
    DAY_MS,
    Sockets,
    depth,
    every_kind,
    ltp,
    quote,
)


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
