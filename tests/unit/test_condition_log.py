"""Promises of the log about conditions: each is told once when it begins and once when it is over."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.monitor.condition_log import SETTLED_SECONDS, ConditionLog
from brokerpool.monitor.health_reasons import Code
from brokerpool.monitor.health_timing import Reason

REFUSED = Reason(Code.LOGIN_REFUSED, "The broker refused the access token.", 0.0)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self.log = ConditionLog(lambda: self.now)

    def look(self, *reasons: Reason, seconds: int) -> list[str]:
        """Look each second for so long, and return the lines."""
        lines = []
        for _ in range(seconds):
            lines += self.log.look(reasons)
            self.now += 1.0
        assert all(line.level >= logging.WARNING for line in lines)
        return [line.text for line in lines]


def test_a_condition_that_lasts_is_told_once_with_its_setting_and_next_step_and_once_when_it_is_over() -> (
    None
):
    clock = Clock()
    (begins,) = clock.look(REFUSED, seconds=3600)
    assert "BROKERPOOL_BROKER_ACCESS_TOKEN" in begins
    assert "brokerpool login" in begins
    (ends,) = clock.look(seconds=3600)
    assert ends == "login_refused is over; it took 3599 s"
    assert len(clock.look(REFUSED, seconds=60)) == 1, "the next morning it is told again"


@given(st.lists(st.integers(1, int(SETTLED_SECONDS) - 1), min_size=2, max_size=50))
def test_a_condition_that_comes_and_goes_is_told_once(times: list[int]) -> None:
    clock, lines = Clock(), []
    for place, seconds in enumerate(times):
        lines += clock.look(*([REFUSED] if place % 2 == 0 else []), seconds=seconds)
    assert len(lines) == 1


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.STOPPING])
def test_every_condition_is_told_in_one_line_that_says_what_to_do(code: Code) -> None:
    (line,) = Clock().look(Reason(code, "It is so.", 0.0), seconds=10)
    assert line.startswith(code.value)
    assert line.endswith(code.action)


def test_an_end_that_somebody_asked_for_is_no_warning() -> None:
    assert Clock().look(Reason(Code.STOPPING, "The gateway is stopping.", 0.0), seconds=90) == []
