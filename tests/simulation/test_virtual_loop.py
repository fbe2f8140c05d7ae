"""The virtual loop itself: time jumps, order holds, and nothing that is left behind stays unseen."""

from __future__ import annotations

import asyncio
import socket
import threading
import time

import pytest

from brokerpool.testing.virtual_loop import (
    DeadlockError,
    LeakError,
    NotSimulatedError,
    TooManyStepsError,
    VirtualLoop,
    run,
)
from tests.measuring import work
from tests.simulation.cancellation import Caller, cancel_at_every_step


def running() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop


def test_a_day_passes_in_no_time() -> None:
    async def main() -> float:
        before = running().time(), running().wall_clock()
        await asyncio.sleep(86_400)
        assert running().wall_clock() - before[1] == 86_400
        return running().time() - before[0]

    with work() as passing:
        assert run(main) == 86_400
    assert passing.seconds < 0.5


def test_timers_run_by_time_and_those_of_one_moment_in_the_order_in_which_they_were_set() -> None:
    order: list[int] = []

    async def main() -> None:
        loop = running()
        for number in range(50):
            loop.call_later(2, order.append, 100 + number)
        for number in range(50):
            loop.call_later(1, order.append, number)
        loop.call_soon(order.append, -1)
        await asyncio.sleep(3)

    run(main)
    assert order == [-1, *range(50), *range(100, 150)]


def test_time_stands_still_while_anything_is_ready() -> None:
    async def main() -> None:
        begun = running().time()
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert running().time() == begun

    run(main)


def test_timeouts_come_at_their_time_and_cancelled_timers_do_not_pile_up() -> None:
    async def main() -> None:
        loop = running()
        for _ in range(5_000):
            async with asyncio.timeout(1_000):
                await asyncio.sleep(0.001)
        assert len(loop._timers) < 1_000
        begun = loop.time()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(7):
                await asyncio.Event().wait()
        assert loop.time() - begun == 7

    run(main)


def test_what_would_bring_in_the_real_world_is_refused_at_once() -> None:
    async def main() -> None:
        loop = running()
        with pytest.raises(NotSimulatedError, match="run_in_executor"):
            loop.run_in_executor(None, time.time)
        with pytest.raises(NotSimulatedError, match="run_in_executor"):
            await asyncio.to_thread(time.time)
        with pytest.raises(NotSimulatedError, match="getaddrinfo"):
            await loop.getaddrinfo("localhost", 80)
        with pytest.raises(NotSimulatedError):
            await asyncio.open_connection("127.0.0.1", 1)
        with pytest.raises(NotSimulatedError):
            await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        with pytest.raises(NotSimulatedError):
            await asyncio.create_subprocess_exec("true")
        with pytest.raises(NotSimulatedError):
            loop.add_signal_handler(15, print)
        here, there = socket.socketpair()
        with here, there, pytest.raises(NotSimulatedError):
            await loop.sock_recv(here, 1)
        caught: list[BaseException] = []

        def elsewhere() -> None:
            try:
                loop.call_soon_threadsafe(print)
            except NotSimulatedError as error:
                caught.append(error)

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert caught

    run(main)


def test_a_deadlock_names_who_waits_where() -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        await asyncio.create_task(inner(), name="the forgotten one")

    with pytest.raises(DeadlockError, match=r"the forgotten one: test_virtual_loop.py:\d+ inner > locks.py"):
        run(main)


def test_a_spinning_task_is_stopped_and_reported() -> None:
    async def main() -> None:
        while True:  # noqa: ASYNC110  (that is what it is about)
            await asyncio.sleep(0)

    with pytest.raises(TooManyStepsError, match=r"1000 steps by second 0.000"):
        run(main, max_steps=1_000)


def test_a_task_that_is_left_behind_is_reported() -> None:
    async def main() -> None:
        main.__dict__["task"] = asyncio.create_task(asyncio.sleep(5), name="left alone")

    with pytest.raises(LeakError, match=r"task left alone: tasks.py:\d+ sleep"):
        run(main)


def test_a_timer_that_is_left_behind_is_reported_and_a_cancelled_one_is_not() -> None:
    async def main() -> None:
        running().call_later(1, print).cancel()
        running().call_later(5, print)

    with pytest.raises(LeakError, match=r"timer due in 5.000 s: .*print"):
        run(main)


def test_an_exception_that_nobody_can_see_is_reported() -> None:
    async def fails() -> None:
        raise ValueError("unseen")

    async def in_a_callback() -> None:
        running().call_later(1, int, "x")
        await asyncio.sleep(2)

    async def in_a_task() -> None:
        in_a_task.__dict__["task"] = asyncio.create_task(fails())
        await asyncio.sleep(2)

    for main, message in ((in_a_callback, "invalid literal"), (in_a_task, "unseen")):
        with pytest.raises(LeakError, match=message):
            run(main)


def test_what_the_main_coroutine_raises_comes_out_with_what_was_raised_out_of_sight_before() -> None:
    async def main() -> None:
        running().call_soon(int, "x")
        await asyncio.sleep(1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        run(main)
    assert "invalid literal" in caught.value.__notes__[0]


def test_the_same_scenario_takes_the_same_steps_every_time() -> None:
    def trace() -> tuple[list[str], int]:
        lines: list[str] = []
        lock = asyncio.Lock()

        async def worker(name: str) -> None:
            for turn in range(20):
                async with lock:
                    await asyncio.sleep(hash(turn) % 3 / 10)
                lines.append(f"{name} {turn} {running().time():.3f}")

        async def main() -> int:
            async with asyncio.TaskGroup() as group:
                for number in range(10):
                    group.create_task(worker(f"w{number}"))
            return running().steps

        return lines, run(main)

    assert trace() == trace()


class AccessMiddleware:
    """A lock as careless people write it: cancelled in the wrong moment, it stays taken."""

    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def careless(self) -> None:
        await self.lock.acquire()
        await asyncio.sleep(1)
        self.lock.release()

    async def careful(self) -> None:
        async with self.lock:
            await asyncio.sleep(1)


async def contend(guard: AccessMiddleware, caller: Caller, call: str) -> None:
    await guard.lock.acquire()
    asyncio.get_running_loop().call_later(3, guard.lock.release)
    await caller.call(getattr(guard, call)())
    await asyncio.sleep(5)
    assert not guard.lock.locked()


@pytest.mark.parametrize("wake_ups_only", [True, False])
def test_cancelling_at_every_step_finds_the_one_step_at_which_something_is_left_behind(
    wake_ups_only: bool,
) -> None:
    async def careless(caller: Caller) -> None:
        await contend(AccessMiddleware(), caller, "careless")

    async def careful(caller: Caller) -> None:
        await contend(AccessMiddleware(), caller, "careful")

    steps = cancel_at_every_step(careful, wake_ups_only=wake_ups_only)
    assert steps >= 3, "it starts, gets the lock, and has slept"
    with pytest.raises(AssertionError) as caught:
        cancel_at_every_step(careless, wake_ups_only=wake_ups_only)
    assert "with the caller cancelled before step" in caught.value.__notes__[-1]


def test_a_call_that_swallows_its_cancellation_is_found() -> None:
    async def deaf() -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            await asyncio.sleep(1)

    async def scenario(caller: Caller) -> None:
        await caller.call(deaf())

    with pytest.raises(AssertionError, match="swallowed"):
        cancel_at_every_step(scenario)
