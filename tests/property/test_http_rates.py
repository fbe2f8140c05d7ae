"""Rate limits in invented time: no window is ever exceeded, whenever calls really leave."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.http.ratelimit import (
    HOLD_SECONDS,
    MAX_HOLD_SECONDS,
    RAMP_SECONDS,
    RateLimiter,
    RateLimits,
)
from brokerpool.http.recent_sum import SlidingSum

windows = st.lists(st.builds(RateWindow, st.integers(1, 12), st.floats(0.1, 60)), min_size=1, max_size=3)
#: What happens after a wait: a call asks, a reservation leaves or is given back, or the broker says 429.
events = st.lists(
    st.tuples(st.floats(0, 3), st.sampled_from(["ask", "ask", "send", "send", "give back", "too fast"])),
    max_size=80,
)


def worst(times: list[float], seconds: float) -> int:
    """Return the most calls in any half-open window of so many seconds, rounding aside."""
    return max((sum(t <= u < t + seconds - 1e-5 for u in times) for t in times), default=0)


@given(windows, events, st.floats(0, 0.5), st.floats(0.05, 1))
def test_no_window_of_any_length_ever_holds_more_calls_than_its_share_of_the_limit(
    windows: list[RateWindow], events: list[tuple[float, str]], margin: float, share: float
) -> None:
    limits = RateLimits({"quote": tuple(windows)}, margin=margin, share=share)
    limiter = RateLimiter(limits)
    now = 0.0
    reserved = 0
    sent: list[float] = []
    for pause, event in events:
        now += pause
        if event == "ask" and limiter.delay("quote", 1, now) == 0:
            limiter.reserve("quote", 1, now)
            reserved += 1
        elif event == "send" and reserved:
            limiter.sent("quote", 1, now)
            reserved -= 1
            sent.append(now)
        elif event == "give back" and reserved:
            limiter.give_back("quote", 1)
            reserved -= 1
        elif event == "too fast":
            limiter.hold("quote", now, sent_at=now, retry_after=0.5)
    for window in windows:
        assert worst(sent, window.seconds) <= max(1, window.most * share + 1e-6)
        if window.most * share < 1 - 1e-6:
            assert worst(sent, window.seconds / (window.most * share)) <= 1


@given(windows, st.integers(1, 40))
def test_the_delay_that_is_told_is_enough_and_not_too_long(windows: list[RateWindow], calls: int) -> None:
    limiter = RateLimiter(RateLimits({"quote": tuple(windows)}, margin=0))
    now = 1_000_000.0  # a machine that has been up for long: rounding is coarse
    for _ in range(calls):
        delay = limiter.delay("quote", 1, now)
        if delay > 2e-5:
            assert limiter.delay("quote", 1, now + delay - 1e-5) > 0, "a little earlier would not do"
        now += delay
        assert limiter.delay("quote", 1, now) == 0, "woken up in time and sent back to sleep"
        limiter.reserve("quote", 1, now)
        limiter.sent("quote", 1, now)


@given(windows, st.lists(st.booleans(), max_size=30))
def test_what_is_given_back_can_be_used_again(windows: list[RateWindow], uses: list[bool]) -> None:
    limiter = RateLimiter(RateLimits({"quote": tuple(windows)}, margin=0))
    left = limiter.left(0.0)
    for _ in uses:
        if limiter.delay("quote", 1, 0.0) == 0:
            limiter.reserve("quote", 1, 0.0)
            limiter.give_back("quote", 1)
    assert limiter.left(0.0) == left


def test_a_reservation_whose_dial_takes_longer_than_the_window_still_counts() -> None:
    limiter = RateLimiter(RateLimits({"quote": (RateWindow(1, 1.0),)}, margin=0))
    limiter.reserve("quote", 1, 0.0)
    assert limiter.delay("quote", 1, 5.0) == math.inf, "only its sending can make room"
    limiter.sent("quote", 1, 5.0)
    assert limiter.delay("quote", 1, 5.0) == pytest.approx(1.0)


def test_weights_count_and_one_that_never_fits_is_refused() -> None:
    limiter = RateLimiter(RateLimits({"depth": (RateWindow(100, 60.0),)}, margin=0))
    limiter.reserve("depth", 80, 0.0)
    limiter.sent("depth", 80, 0.0)
    assert limiter.delay("depth", 20, 0.0) == 0
    assert limiter.delay("depth", 21, 10.0) == pytest.approx(50)
    assert limiter.left(0.0) == {"depth": {"60 s": 20}}
    with pytest.raises(ValueError, match="weight of 101"):
        limiter.delay("depth", 101, 0.0)


def test_a_429_holds_everybody_on_its_key_and_then_the_rate_climbs_back() -> None:
    groups = {"order": (RateWindow(10, 1.0),), "quote": (RateWindow(1, 1.0),)}
    limiter = RateLimiter(RateLimits(groups, margin=0))
    assert limiter.hold("order", 100.0, sent_at=99.9, retry_after=7.0) == pytest.approx(7)
    shorter = limiter.hold("order", 100.1, sent_at=99.9, retry_after=2.0)
    assert shorter == pytest.approx(6.9), "never shortened"
    assert limiter.delay("quote", 1, 100.0) == 0, "another key"
    assert limiter.left(101.0)["order"] == {"1 s": 0}
    now, sent = 100.0, []
    while now < 107 + RAMP_SECONDS + 2:
        now += limiter.delay("order", 1, now)
        limiter.reserve("order", 1, now)
        limiter.sent("order", 1, now)
        sent.append(now)
    assert min(sent) >= 107 - 1e-6
    per_second = [sum(107 + s <= t < 108 + s for t in sent) for s in range(11)]
    assert per_second[0] <= 3
    assert per_second == sorted(per_second)
    assert per_second[-1] == 10


def test_only_a_group_without_limit_and_without_a_late_hold_needs_no_reservation() -> None:
    limiter = RateLimiter(RateLimits({"order": (RateWindow(10, 1.0),)}))
    assert not limiter.unlimited("order", 0.0)
    assert limiter.unlimited("quote", 0.0)
    held = limiter.hold("quote", 5.0, sent_at=4.9, retry_after=2.0)
    assert not limiter.unlimited("quote", 5.0 + held), "the ramp counts reservations"
    assert limiter.unlimited("quote", 5.0 + held + RAMP_SECONDS)


def test_holds_without_retry_after_double_for_each_new_burst_and_start_small_after_success() -> None:
    limiter = RateLimiter(RateLimits())
    now, holds = 0.0, []
    for _ in range(9):
        holds.append(limiter.hold("quote", now, sent_at=now, retry_after=None))
        same_burst = limiter.hold("quote", now, sent_at=now - 0.1, retry_after=None)
        assert same_burst == pytest.approx(holds[-1]), "calls sent before the hold are no new offence"
        now += holds[-1] + 1
    assert holds == pytest.approx([1, 2, 4, 8, 16, 32, MAX_HOLD_SECONDS, MAX_HOLD_SECONDS, MAX_HOLD_SECONDS])
    limiter.accepted("quote")
    assert limiter.hold("quote", now, sent_at=now, retry_after=None) == pytest.approx(HOLD_SECONDS)


@given(st.floats(0.5, 100_000), st.lists(st.tuples(st.floats(0, 50), st.integers(1, 9)), max_size=100))
def test_a_sliding_sum_errs_by_a_thousandth_at_most_and_never_towards_too_little(
    seconds: float, added: list[tuple[float, int]]
) -> None:
    total, now, log = SlidingSum(seconds), 0.0, []
    for pause, weight in added:
        now += pause
        total.add(weight, now)
        log.append((now, weight))
        exact = sum(w for t, w in log if now - t < seconds)
        longer = sum(w for t, w in log if now - t < seconds * 1.0011)
        assert exact <= total.total(now) + sum(w for t, w in log if abs(now - t - seconds) < 1e-5)
        assert total.total(now) <= longer


def test_a_days_window_needs_no_more_memory_than_a_seconds() -> None:
    total = SlidingSum(86_400.0)
    for n in range(100_000):
        total.add(1, n * 0.8)
    assert len(total._slices) <= 1001
    assert total.total(80_000.0) == 100_000


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: RateLimits({"quote": (RateWindow(0, 1.0),)}),
        lambda: RateLimits({"quote": (RateWindow(1, 0.0),)}),
        lambda: RateLimits(share=0),
    ],
)
def test_limits_that_could_never_be_kept_are_refused(wrong: type) -> None:
    with pytest.raises(ValueError, match=r"at least 1|above 0"):
        wrong()
