"""One symbol on several sockets that are not in step: what is waited for, and where a hole is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.feed.deduplication import PATIENCE_SECONDS
from tests.property.copying_sockets import (
    Sockets,
    every_kind,
    ltp,
    quote,
)


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
