"""The rests of a credentials provider: they double up to a bound, and no failure of any kind escapes them."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.retry_pacing import LONGEST_SECONDS, SHORTEST_SECONDS, RetryPacing


def asked_within(seconds: float, answer: str, seed: int = 1) -> int:
    """Ask for so long as soon as it is allowed, with the same end each time, and return how often."""
    pacing, now, asked = RetryPacing(Random(seed)), 1000.0, 0
    end = now + seconds
    while (now := now + pacing.rest(now)) < end:
        asked += 1
        if answer == "nothing new":
            pacing.failed(now)
        else:
            pacing.helped(now)
            pacing.refused(now + 0.1)  # by the broker, as soon as it was tried
    return asked


@pytest.mark.parametrize("answer", ["nothing new", "dead tokens"])
@pytest.mark.parametrize("seed", range(20))
def test_an_hour_of_failures_is_a_dozen_questions_and_a_day_about_a_hundred(answer: str, seed: int) -> None:
    assert 10 <= asked_within(3600, answer, seed) <= 14
    assert 96 <= asked_within(86_400, answer, seed) <= 140


def test_the_first_rests_are_4_8_and_16_seconds_less_a_quarter_at_most() -> None:
    pacing = RetryPacing(Random(3))
    for rest in (4.0, 8.0, 16.0):
        pacing.failed(50.0)
        assert rest * 0.75 <= pacing.rest(50.0) <= rest


def test_an_answer_that_holds_makes_the_next_failure_the_first_one_again() -> None:
    pacing = RetryPacing(Random(3))
    for _ in range(8):
        pacing.failed(0.0)
    pacing.helped(1000.0)
    assert pacing.failures == 0
    pacing.refused(1000.0 + LONGEST_SECONDS)  # its day was over
    assert pacing.rest(1000.0 + LONGEST_SECONDS) == 0.0
    pacing.failed(5000.0)
    assert pacing.rest(5000.0) <= SHORTEST_SECONDS


def test_an_answer_that_the_broker_refuses_soon_was_no_help_and_the_rests_go_on_growing() -> None:
    pacing = RetryPacing(Random(3))
    for _ in range(8):
        pacing.failed(0.0)
    pacing.helped(1000.0)
    pacing.refused(1001.0)
    assert pacing.failures == 9
    assert pacing.rest(1001.0) >= LONGEST_SECONDS * 0.75


def test_after_a_reset_there_is_no_rest() -> None:
    pacing = RetryPacing(Random(3))
    for _ in range(8):
        pacing.failed(0.0)
    pacing.reset()
    assert pacing.rest(0.0) == 0.0
    pacing.refused(0.0)  # what came from elsewhere is not the provider's fault
    assert pacing.rest(0.0) == 0.0


@given(st.lists(st.sampled_from(["failed", "helped", "refused"]), max_size=3000), st.integers())
def test_no_rest_is_ever_longer_than_the_longest_nor_absent_after_a_question(
    events: list[str], seed: int
) -> None:
    pacing, now = RetryPacing(Random(seed)), 0.0
    for event in events:
        now += pacing.rest(now)
        getattr(pacing, event)(now)
        if event != "refused":
            assert SHORTEST_SECONDS * 0.75 <= pacing.rest(now) <= LONGEST_SECONDS
