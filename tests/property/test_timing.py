"""Pacing and back-off in invented time."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.feed.backoff import Backoff
from brokerpool.feed.pacing import Pacer

rates = st.floats(0.5, 100)
bursts = st.integers(1, 20)


@given(rates, bursts, st.lists(st.floats(0, 5), max_size=60))
def test_no_window_of_any_length_holds_more_messages_than_rate_and_burst_allow(
    rate: float, burst: int, pauses: list[float]
) -> None:
    pacer = Pacer(rate, burst)
    now, sent = 0.0, []
    for pause in pauses:
        now += pause
        now += pacer.delay(now)
        pacer.spend(now)
        sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            assert last - first + 1 <= burst + (sent[last] - sent[first]) * rate + 1e-6


@given(rates, bursts)
def test_a_burst_leaves_at_once_and_the_next_message_waits_one_interval(rate: float, burst: int) -> None:
    pacer = Pacer(rate, burst)
    for _ in range(burst):
        assert pacer.delay(100.0) == 0
        pacer.spend(100.0)
    assert pacer.delay(100.0) == pytest.approx(1 / rate)


@given(rates, bursts, st.floats(0, 1000))
def test_the_delay_that_is_told_is_enough(rate: float, burst: int, start: float) -> None:
    pacer = Pacer(rate, burst)
    now = start
    for _ in range(burst + 5):
        now += pacer.delay(now)
        assert pacer.delay(now) == 0, "woken up in time and sent back to sleep"
        pacer.spend(now)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0)])
def test_a_pacer_that_could_never_send_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(ValueError, match="positive rate"):
        Pacer(rate, burst)


@given(st.integers(), st.integers(1, 40))
def test_delays_stay_inside_a_range_that_doubles_up_to_the_cap(seed: int, tries: int) -> None:
    backoff = Backoff(Random(seed), base=1.0, cap=60.0)
    for n in range(tries):
        assert 0 <= backoff.next() <= min(60.0, 2.0**n)


def test_back_off_goes_on_for_ever_and_stays_at_the_cap() -> None:
    backoff = Backoff(Random(1), cap=60.0)
    delays = [backoff.next() for _ in range(10_000)]
    assert max(delays) <= 60
    assert 28 < sum(delays[100:]) / len(delays[100:]) < 32, "full jitter: the mean is half the cap"


def test_reset_narrows_the_range_again() -> None:
    backoff = Backoff(Random(1))
    for _ in range(10):
        backoff.next()
    backoff.reset()
    assert backoff.next() <= 1.0
