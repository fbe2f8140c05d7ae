"""What a broker refuses is told at once, and no more than eleven times a minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.repeated_log_messages import TOLD_A_WINDOW, WINDOW_SECONDS, Complaints


def test_ten_different_refusals_are_told_at_once_and_the_others_counted() -> None:
    complaints = Complaints()
    told = [complaints.heard(f"no such token {n}", 0.0) for n in range(15)]
    assert told == [True] * 10 + [False] * 5
    assert complaints.summary(59.0) == ""
    assert complaints.summary(61.0) == "5 more in 61 s, the last one: no such token 14"
    assert complaints.summary(200.0) == ""


def test_the_same_refusal_is_told_once_a_minute() -> None:
    complaints = Complaints()
    assert [complaints.heard("limit", now) for now in (0.0, 1.0, 59.0)] == [True, False, False]
    assert complaints.summary(60.0) == "2 more in 60 s, the last one: limit"
    assert complaints.heard("limit", 60.5)


@given(st.lists(st.tuples(st.sampled_from("abcdefghijklmno"), st.floats(0.0, 20.0)), max_size=300))
def test_every_refusal_is_told_or_counted_and_the_rate_is_bounded(heard: list[tuple[str, float]]) -> None:
    complaints, now, looked = Complaints(), 0.0, 0
    told: list[float] = []
    counted = 0
    for text, pause in heard:
        now += pause
        for second in range(looked, int(now) + 1):  # as the watch does
            if summary := complaints.summary(second):
                counted += int(summary.split()[0])
                told.append(second)
        looked = int(now) + 1
        if complaints.heard(text, now):
            told.append(now)
    if summary := complaints.summary(now + 2 * WINDOW_SECONDS):
        counted += int(summary.split()[0])
        told.append(now + 2 * WINDOW_SECONDS)
    summaries = sum(1 for at in told if at == int(at))
    assert len(told) <= len(heard) + summaries
    assert counted <= len(heard)
    for at in told:
        assert sum(1 for other in told if at <= other < at + WINDOW_SECONDS) <= 2 * (TOLD_A_WINDOW + 1)
