"""Pacing and back-off in invented time."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.sliding_window_pacer import Allowance, Pacer, ReservingPacer
from brokerpool.testing.scripted_feed import LIMITS

windows = st.lists(
    st.builds(RateWindow, st.integers(1, 10), st.sampled_from([0.25, 1.0, 7.0])), min_size=1, max_size=3
)


@given(windows, st.lists(st.sampled_from([0.0, 0.01, 0.3, 2.0]), max_size=60))
def test_no_window_wherever_it_begins_holds_more_than_it_may(
    windows: list[RateWindow], pauses: list[float]
) -> None:
    pacer = Pacer(windows)
    now, left = 0.0, []
    for pause in pauses:
        now += pause
        now += pacer.delay(now)
        pacer.spend(now)
        left.append(now)
    for most, seconds in windows:
        for first in left:
            assert sum(first <= at < first + seconds - 1e-6 for at in left) <= most


@given(windows)
def test_the_smallest_window_leaves_at_once_and_the_next_one_waits(windows: list[RateWindow]) -> None:
    pacer = Pacer(windows)
    smallest = min(window.most for window in windows)
    for _ in range(smallest):
        assert pacer.delay(100.0) == 0
        pacer.spend(100.0)
    assert pacer.delay(100.0) == max(w.seconds for w in windows if w.most == smallest)


@given(windows, st.floats(0, 1000))
def test_the_delay_that_is_told_is_enough(windows: list[RateWindow], start: float) -> None:
    pacer = Pacer(windows)
    now = start
    for _ in range(15):
        now += pacer.delay(now)
        assert pacer.delay(now) == 0, "woken up in time and sent back to sleep"
        pacer.spend(now)


def test_without_windows_everything_passes() -> None:
    pacer = Pacer()
    for _ in range(1000):
        assert pacer.delay(1.0) == 0
        pacer.spend(1.0)


@pytest.mark.parametrize("window", [RateWindow(0, 1.0), RateWindow(1, 0.0), RateWindow(1, -1.0)])
def test_a_window_that_would_never_let_anything_pass_is_refused(window: RateWindow) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Pacer([window])


@given(st.integers(), st.integers(1, 40))
def test_delays_stay_inside_a_range_that_doubles_up_to_the_cap(seed: int, tries: int) -> None:
    backoff = Backoff(Random(seed), base=1.0)
    for n in range(tries):
        assert 0 <= backoff.next() <= min(60.0, 2.0**n)


def test_back_off_goes_on_for_ever_and_stays_at_the_cap() -> None:
    backoff = Backoff(Random(1))
    delays = [backoff.next() for _ in range(10_000)]
    assert max(delays) <= 60
    assert 28 < sum(delays[100:]) / len(delays[100:]) < 32, "full jitter: the mean is half the cap"


def test_reset_narrows_the_range_again() -> None:
    backoff = Backoff(Random(1))
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1.0


@given(windows, st.lists(st.sampled_from([0.0, 0.01, 0.3, 2.0]), max_size=30), st.integers(0, 4))
def test_the_delay_after_some_more_is_what_they_would_make_it(
    windows: list[RateWindow], pauses: list[float], more: int
) -> None:
    pacer, now = Pacer(windows), 0.0
    for pause in pauses:
        now += pause + pacer.delay(now + pause)
        pacer.spend(now)
    told = pacer.delay_after(more, now)
    for _ in range(more):
        pacer.spend(now)
    assert told == pytest.approx(pacer.delay(now))


def test_a_ping_that_would_keep_a_sign_of_life_from_leaving_in_time_is_not_sent() -> None:
    limits = replace(LIMITS, pings_counted=True, control_messages=(RateWindow(2, 1.0),), account_messages=())
    allowance = Allowance(limits, ReservingPacer())
    assert allowance.may_ping(10.0, next_due=11.0), "after the ping and an answer it can leave at 11.0"
    assert not allowance.may_ping(10.0, next_due=10.9)
    assert Allowance(replace(limits, pings_counted=False), ReservingPacer()).may_ping(10.0, next_due=10.9)


@given(
    window=st.builds(RateWindow, st.integers(2, 12), st.sampled_from([0.5, 1.0])),
    begun=st.lists(st.floats(0, 2), min_size=1, max_size=6),
    pauses=st.lists(st.sampled_from([0.0, 0.01, 0.1, 0.5]), min_size=1, max_size=80),
)
def test_whatever_else_leaves_signs_of_life_leave_in_time_and_others_have_half_of_the_window(
    window: RateWindow, begun: list[float], pauses: list[float]
) -> None:
    pacer, period = ReservingPacer([window]), 2.0
    due: dict[int, float] = {}

    def beats(socket: int, at: float) -> None:
        due[socket] = at + 0.75 * period
        pacer.owes(socket, at + 0.9 * period)

    for socket, at in enumerate(sorted(begun)[: window.most // 2]):
        beats(socket, at - 0.75 * period)
    now = 0.0
    for pause in pauses:
        asked = now = now + pause
        while True:
            socket, at = min(due.items(), key=lambda item: item[1])
            free = now + pacer.delay_of_others(now)
            if max(now, at) > free:
                break
            left = max(now, at) + pacer.delay(max(now, at))
            assert left <= max(asked, at) + 0.15 * period
            pacer.spend(left)
            beats(socket, left)
            now = left
        now = free
        pacer.spend(now)
        assert now - asked <= 2 * window.seconds
