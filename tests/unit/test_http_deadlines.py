"""One timer for all calls: each ends in its time, and a cancellation from elsewhere stays one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from brokerpool.http.deadlines import Deadlines
from brokerpool.testing.virtual_loop import run


def test_each_ends_in_its_time_whatever_the_order_in_which_they_began() -> None:
    ended: list[tuple[float, float]] = []

    async def main() -> None:
        loop, running = asyncio.get_running_loop(), Deadlines()
        began = loop.time()

        async def waits(seconds: float) -> None:
            with pytest.raises(TimeoutError), running.until(loop.time() + seconds, loop):
                await asyncio.sleep(1000)
            ended.append((seconds, loop.time() - began))

        await asyncio.gather(*(waits(seconds) for seconds in (5.0, 1.0, 3.0, 1.0, 0.0)))

    run(main)
    assert [round(at, 6) for _, at in ended] == [0.0, 1.0, 1.0, 3.0, 5.0]
    assert all(at == pytest.approx(seconds) for seconds, at in ended)


def test_what_ends_in_time_is_left_alone_and_no_timer_stays() -> None:
    async def main() -> None:
        loop, running = asyncio.get_running_loop(), Deadlines()
        began = loop.time()
        for _ in range(1000):
            with running.until(loop.time() + 1.0, loop) as deadline:
                await asyncio.sleep(0.01)
            assert not deadline.expired
            assert len(running) == 0
        assert loop.time() > began + 9.9
        await running.idle()
        assert running._timer is None

    run(main)


def test_calls_one_after_the_other_set_a_timer_about_once_in_a_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> int:
        loop, running = asyncio.get_running_loop(), Deadlines()
        armed, call_at = 0, loop.call_at

        def counted(when: float, callback: Any, *args: Any, **options: Any) -> asyncio.TimerHandle:
            nonlocal armed
            armed += callback == running._look
            return call_at(when, callback, *args, **options)

        monkeypatch.setattr(loop, "call_at", counted)
        for _ in range(1000):
            with running.until(loop.time() + 1.0, loop):
                await asyncio.sleep(0.01)
        await running.idle()
        return armed

    assert run(main) <= 12, "ten seconds of calls, at a second each"


def test_a_cancellation_from_elsewhere_is_no_timeout_even_in_the_same_step() -> None:
    async def main() -> None:
        loop, running = asyncio.get_running_loop(), Deadlines()

        async def waits() -> None:
            with running.until(loop.time() + 5.0, loop):
                await asyncio.sleep(1000)

        early = asyncio.create_task(waits())
        both = asyncio.create_task(waits())
        await asyncio.sleep(1)
        early.cancel()
        loop.call_at(loop.time() + 4, both.cancel)
        await asyncio.sleep(10)
        assert early.cancelled()
        assert both.cancelled()

    run(main)


def test_a_call_that_swallows_its_cancellation_may_still_return() -> None:
    async def main() -> None:
        loop, running = asyncio.get_running_loop(), Deadlines()
        with running.until(loop.time() + 1.0, loop) as deadline:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                answer = "read in the last moment"
        task = asyncio.current_task()
        assert deadline.expired
        assert answer
        assert task is not None
        assert task.cancelling() == 0

    run(main)


def test_a_deadline_may_be_brought_forward() -> None:
    async def main() -> None:
        loop, running = asyncio.get_running_loop(), Deadlines()
        deadline = running.until(loop.time() + 100.0, loop)
        loop.call_later(1.0, deadline.expire)
        with pytest.raises(TimeoutError), deadline:
            await asyncio.sleep(1000)
        assert loop.time() < 1010
        deadline.expire()  # it has ended: nothing happens
        await asyncio.sleep(0)
        await running.idle()

    run(main)
