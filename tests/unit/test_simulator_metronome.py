"""The metronome: the rate is kept by counting, whenever it is asked."""

from __future__ import annotations

import math
from random import Random

import pytest

from brokerpool.simulator.tick_rate import Metronome


def started(rate: float) -> Metronome:
    metronome = Metronome(rate)
    metronome.start(100.0)
    return metronome


def test_late_and_uneven_questions_do_not_change_the_rate() -> None:
    metronome, rng, now, given = started(20_000), Random(3), 100.0, 0
    while now < 110.0:
        now = metronome.next_at() + rng.random() * 0.05
        given += metronome.due(now)
    assert given == int((now - 100.0) * 20_000 + 1e-6)
    assert metronome.forgone == 0


def test_at_a_low_rate_each_tick_has_its_own_time() -> None:
    metronome = started(10)
    for number in range(1, 50):
        at = metronome.next_at()
        assert at == pytest.approx(100.0 + number / 10)
        assert metronome.due(at) == 1


def test_at_a_high_rate_ticks_leave_together() -> None:
    metronome = started(20_000)
    metronome.due(100.5)
    assert metronome.next_at() == pytest.approx(100.51)


def test_a_process_that_stood_still_does_not_catch_up_for_ever() -> None:
    metronome = started(1_000)
    assert metronome.due(130.0) == 1_000
    assert metronome.forgone == 29_000
    assert metronome.due(130.1) == 100


def test_rate_zero_never_ticks() -> None:
    metronome = started(0)
    assert metronome.due(1e9) == 0
    assert metronome.next_at() == math.inf


@pytest.mark.parametrize("rate", [-1, math.nan, math.inf])
def test_a_senseless_rate_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="ticks a second"):
        Metronome(rate)
