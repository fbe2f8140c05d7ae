"""What judges speed in other tests is right itself: waiting is no work, and a disturbance fails no test."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests import measuring
from tests.measuring import lowest, turns, without_waiting, work


def busy(seconds: float) -> None:
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


@pytest.fixture(autouse=True)
def known_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "pace", lambda: 2.0)


def test_work_counts_cpu_at_the_known_pace_and_not_waiting() -> None:
    with work() as measured:
        busy(0.05)
        time.sleep(0.1)
    assert 0.025 <= measured.seconds < 0.04


def test_the_longest_turn_counts_what_one_turn_computes_and_not_what_it_waits_for() -> None:
    async def main() -> float:
        async with turns() as measured:
            for _ in range(5):
                busy(0.01)
                await asyncio.sleep(0.02)
            asyncio.get_running_loop().call_soon(busy, 0.03)
        return measured.seconds

    async def undisturbed() -> float:
        busy(0.1)
        async with turns() as measured:
            await asyncio.sleep(0.05)
        busy(0.1)
        return measured.seconds

    assert 0.015 <= asyncio.run(main()) < 0.024
    assert asyncio.run(undisturbed()) < 0.01


def test_a_measurement_is_repeated_until_it_meets_the_limit_and_not_for_ever() -> None:
    figures = iter([5.0, 3.0, 1.0, 9.0])
    assert lowest(lambda: next(figures), limit=2.0) == 1.0
    assert next(figures) == 9.0
    figures = iter([5.0, 3.0, 4.0])
    assert lowest(lambda: next(figures), limit=2.0, attempts=3) == 3.0


def test_what_ends_at_once_is_told_from_what_waits() -> None:
    async def answers() -> int:
        return 7

    async def refuses() -> None:
        raise KeyError("no")

    async def main() -> None:
        assert without_waiting(answers()) == 7
        with pytest.raises(KeyError):
            without_waiting(refuses())
        with pytest.raises(AssertionError, match="waits"):
            without_waiting(asyncio.sleep(0))

    asyncio.run(main())
