"""The simulated broker's request rates in invented time: no window holds more, no refusal is groundless."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.simulator.request_rates import RequestRates
from tests.clock import Clock

windows = st.lists(st.builds(RateWindow, st.integers(1, 8), st.integers(1, 8)), min_size=1, max_size=3)
#: Whole eighths of seconds, so that a sum of them is exact.
pauses = st.lists(st.integers(0, 12).map(lambda eighths: eighths / 8), max_size=120)


def inside(times: list[float], end: float, seconds: float) -> int:
    """Return how many of the times lie in the window that ends at, and includes, `end`."""
    return sum(end - seconds < at <= end for at in times)


@given(windows, pauses)
def test_no_window_ever_admits_more_and_a_refusal_had_a_full_one(
    windows: list[RateWindow], pauses: list[float]
) -> None:
    clock = Clock(1_000.0)
    rates = RequestRates({"quote": windows}, clock)
    admitted: list[float] = []
    for pause in pauses:
        clock.now += pause
        full = any(inside(admitted, clock.now, window.seconds) >= window.most for window in windows)
        assert rates.admit("quote") is not full
        if not full:
            admitted.append(clock.now)
    for window in windows:
        assert all(inside(admitted, at, window.seconds) <= window.most for at in admitted)


def test_groups_are_counted_apart_and_one_without_windows_has_no_limit() -> None:
    rates = RequestRates(
        {"quote": [RateWindow(1, 1)], "order": [RateWindow(2, 1)], "other": []}, Clock(1_000.0)
    )
    assert [rates.admit("quote") for _ in range(2)] == [True, False]
    assert [rates.admit("order") for _ in range(3)] == [True, True, False]
    assert all(rates.admit(group) for group in ("other", "unheard of") for _ in range(100))
