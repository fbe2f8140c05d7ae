"""Repeats and the breaker in invented time."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.http.breaker import COOL_DOWN, FAULTS, MAX_COOL_DOWN, Breaker
from brokerpool.http.retry import (
    BUDGET_FLOOR,
    BUDGET_SECONDS,
    Attempt,
    Outcome,
    RetryBudget,
    RetryPolicy,
)

STATUSES = (429, 500, 502, 503, 504)
attempts = st.builds(
    Attempt,
    st.sampled_from(Outcome),
    st.just("reason"),
    st.one_of(st.none(), st.sampled_from((200, 400, 403, *STATUSES))),
    st.one_of(st.none(), st.floats(0, 100)),
)


def policy(seed: int = 1) -> RetryPolicy:
    return RetryPolicy(Random(seed), max_retries=3, backoff_factor=0.5, statuses=STATUSES)


@given(st.integers(), st.integers(1, 10), attempts, st.floats(0, 100))
def test_an_order_is_repeated_only_when_nothing_of_it_was_sent(
    seed: int, tries: int, attempt: Attempt, left: float
) -> None:
    delay = policy(seed).delay(tries, attempt, safe=False, time_left=left)
    if attempt.outcome is not Outcome.NOT_SENT:
        assert delay is None


@given(st.integers(), st.integers(1, 10), attempts, st.floats(0, 100), st.booleans())
def test_a_repeat_fits_into_the_time_comes_at_most_three_times_and_obeys_retry_after(
    seed: int, tries: int, attempt: Attempt, left: float, safe: bool
) -> None:
    delay = policy(seed).delay(tries, attempt, safe=safe, time_left=left)
    if delay is None:
        return
    assert tries <= 3
    assert 0 <= delay < left
    if attempt.retry_after is not None:
        assert delay == attempt.retry_after
    else:
        assert delay <= 0.5 * 2 ** (tries - 1)
    if attempt.outcome is Outcome.ANSWERED:
        assert attempt.status in STATUSES


def test_the_jitter_is_full() -> None:
    one, fault = policy(), Attempt(Outcome.UNKNOWN, "reset")
    delays = [one.delay(3, fault, safe=True, time_left=60) or 0.0 for _ in range(4000)]
    assert 0.95 < sum(delays) / len(delays) < 1.05, "the mean of 0 to 2"
    assert min(delays) < 0.01


@given(st.lists(st.tuples(st.floats(0, 2), st.booleans()), max_size=300))
def test_repeats_are_at_most_a_fifth_of_the_calls_or_a_few(events: list[tuple[float, bool]]) -> None:
    budget, now = RetryBudget(), 0.0
    calls: list[float] = []
    repeats: list[float] = []
    for pause, wants_repeat in events:
        now += pause
        if not wants_repeat:
            budget.called(now)
            calls.append(now)
        elif budget.spend(now):
            repeats.append(now)
            recent = sum(now - t <= BUDGET_SECONDS for t in repeats)
            counted = sum(now - t <= BUDGET_SECONDS * 1.001 for t in calls)
            assert recent <= max(BUDGET_FLOOR, 0.2 * counted)


def test_the_few_repeats_of_a_quiet_client_come_back_with_time() -> None:
    budget = RetryBudget()
    assert [budget.spend(0.0) for _ in range(4)] == [True, True, True, False]
    assert budget.spend(BUDGET_SECONDS)


@given(
    st.lists(
        st.tuples(st.floats(0, 8), st.sampled_from(["begin", "begin", "answer", "fault", "call off"])),
        max_size=120,
    )
)
def test_while_the_breaker_is_open_nobody_gets_through_and_then_one_at_a_time(
    events: list[tuple[float, str]],
) -> None:
    breaker, now = Breaker(), 0.0
    running: list[bool] = []
    for pause, event in events:
        now += pause
        if event == "begin":
            refused = breaker.refused_for(now)
            state = breaker.state(now)
            assert (state == "closed") <= (refused is None)
            assert (state == "open") <= (refused is not None and refused > 0)
            if refused is None:
                running.append(breaker.admit(now))
                assert running[-1] is (state == "half-open")
        elif running:
            probe = running.pop(0)
            if event == "answer":
                breaker.succeeded(probe=probe)
            elif event == "fault":
                breaker.failed(now, probe=probe)
            else:
                breaker.abandoned(probe=probe)
        assert sum(running) <= 1, "one probe at a time"
    for probe in running:
        breaker.abandoned(probe=probe)
    now += MAX_COOL_DOWN
    assert breaker.refused_for(now) is None, "it never stays shut for ever"


def test_five_faults_open_it_and_the_answer_to_a_probe_closes_it() -> None:
    breaker = Breaker()
    for n in range(FAULTS):
        assert breaker.refused_for(0.0) is None, f"after {n} faults"
        breaker.failed(0.0, probe=breaker.admit(0.0))
    assert breaker.refused_for(0.0) == COOL_DOWN
    assert breaker.refused_for(COOL_DOWN) is None
    probe = breaker.admit(COOL_DOWN)
    assert probe
    assert breaker.refused_for(COOL_DOWN) is not None, "while the probe runs"
    breaker.failed(COOL_DOWN, probe=probe)
    assert breaker.refused_for(COOL_DOWN) == 2 * COOL_DOWN
    breaker.succeeded(probe=breaker.admit(3 * COOL_DOWN))
    assert breaker.state(3 * COOL_DOWN) == "closed"
    assert breaker.faults == 0


def test_old_faults_are_forgotten_behind_answers() -> None:
    breaker = Breaker()
    for _ in range(50):
        for _ in range(FAULTS - 1):
            breaker.failed(0.0, probe=False)
        for _ in range(10):
            breaker.succeeded(probe=False)
    assert breaker.state(0.0) == "closed"
