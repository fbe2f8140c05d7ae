"""The lag monitor in virtual time: how late the loop came, for how long that is known, no timer left."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.monitor.event_loop_lag import INTERVAL_SECONDS, WINDOW_SECONDS, LagMonitor
from brokerpool.testing.virtual_loop import run


class Clockwork:
    """Timers whose loop comes late by as much as the test says."""

    def __init__(self) -> None:
        self.now = 50.0
        self.timer: tuple[float, object] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: object, /) -> Clockwork:
        self.timer = (self.now + delay, callback)
        return self

    def cancel(self) -> None:
        self.timer = None

    def fire(self, late: float = 0.0) -> None:
        assert self.timer is not None
        due, callback = self.timer
        self.now = due + late
        callback()  # type: ignore[operator]


def test_a_loop_that_turns_freely_has_no_lag() -> None:
    async def main() -> None:
        monitor = LagMonitor(asyncio.get_running_loop())
        await asyncio.sleep(5.05)
        stats = monitor.histogram.stats()
        assert stats["count"] == 50
        assert stats["sum"] == pytest.approx(0, abs=1e-9)
        assert monitor.longest() == pytest.approx(0, abs=1e-9)
        monitor.stop()  # the virtual loop would tell of a timer that is left

    run(main)


def test_a_loop_that_stands_still_is_told_before_and_after_it_turns_again() -> None:
    clock = Clockwork()
    monitor = LagMonitor(clock)
    clock.now += INTERVAL_SECONDS + 3
    assert monitor.longest() == pytest.approx(3), "the timer is due and has not fired"
    clock.fire(late=3)
    assert monitor.longest() == pytest.approx(3)
    assert monitor.histogram.stats()["buckets"]["5"] == 1


@given(st.lists(st.floats(0, 20), min_size=1, max_size=60), st.floats(0, 59))
def test_the_longest_lag_is_that_of_the_last_minute_or_since_a_time(lags: list[float], ago: float) -> None:
    clock = Clockwork()
    monitor = LagMonitor(clock)
    seen = []
    for lag in lags:
        clock.fire(late=lag)
        seen.append((clock.now, lag))
        recent = [known for at, known in seen if at >= clock.now - WINDOW_SECONDS]
        assert monitor.longest() == pytest.approx(max(recent), abs=1e-6)
        later = [known for at, known in seen if at >= clock.now - ago]
        assert monitor.longest_since(clock.now - ago) == pytest.approx(max(later), abs=1e-6)
    assert monitor.histogram.stats()["count"] == len(lags)


def test_a_monitor_that_was_stopped_knows_no_lag_of_the_time_after() -> None:
    clock = Clockwork()
    monitor = LagMonitor(clock)
    clock.fire(late=0.25)
    monitor.stop()
    assert clock.timer is None
    clock.now += 30
    assert monitor.longest() == pytest.approx(0.25)
