"""Whoever waits for the pool may be cancelled at any step: nothing is left behind, every count is right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from brokerpool.brokers.login import Credentials, Login
from brokerpool.testing.scripted_broker import Refusal
from tests.simulation.cancellation import Caller, cancel_at_every_step
from tests.simulation.stage import Stage, stage


def fine(scene: Stage) -> None:
    pass


def busy(scene: Stage) -> None:
    scene.broker.refusal = Refusal(503, count=2)


def parked(scene: Stage) -> None:
    scene.broker.expire("day-2", politely=True)
    scene.loop.call_later(3, scene.feed.login.renew, Credentials("day-2"))


def slow(scene: Stage) -> None:
    scene.broker.slowness = 11  # longer than a dial may take
    scene.loop.call_later(15, setattr, scene.broker, "slowness", 0.0)


def flapping(scene: Stage) -> None:
    scene.broker.flap = 0.0
    scene.loop.call_later(2, setattr, scene.broker, "flap", None)


def greeting(scene: Stage) -> None:
    scene.feed.greets = True
    scene.broker.speak(scene.feed.dialect)
    scene.broker.greeting_seconds = 0.1


weathers = pytest.mark.parametrize("weather", [fine, busy, parked, slow, flapping, greeting])


def at_rest(scene: Stage) -> None:
    """Check that no listener, stream or permit is held for a call that has ended."""
    assert not scene.pool._delivery._listeners
    assert len(scene.pool._streams) == 0
    assert scene.taken() <= scene.pool._account.budget.max_sockets


def every_step(scenario: Callable[[Caller, Stage], object], weather: Callable[[Stage], None]) -> None:
    """Play the scenario on a small stage in the weather, cancelled at each of its steps."""

    async def play(caller: Caller) -> None:
        async with stage(symbols=4, per_connection=2, connections=2, linger=0.0) as scene:
            weather(scene)
            await scenario(caller, scene)  # type: ignore[misc]
            # Faults end by timers of the stage, which are nobody's leak.
            await asyncio.sleep(20)

    steps = cancel_at_every_step(play)
    print(f"{scenario.__name__} in {weather.__name__} weather: cancelled at each of {steps} steps")


@weathers
def test_waiting_for_live_symbols(weather: Callable[[Stage], None]) -> None:
    async def wait(caller: Caller, scene: Stage) -> None:
        wanted = scene.feed.instruments[:3]
        scene.pool.subscribe(wanted)
        await caller.call(scene.pool.wait_live(wanted, timeout=60))
        at_rest(scene)
        await scene.pool.wait_live(wanted, timeout=60)
        at_rest(scene)
        assert scene.taken() == len(scene.broker.sockets) == 2

    every_step(wait, weather)


@weathers
def test_taking_ticks(weather: Callable[[Stage], None]) -> None:
    async def take(caller: Caller, scene: Stage) -> None:
        async def consume() -> None:
            taken = 0
            with scene.pool.ticks() as ticks:
                async for _ in ticks:
                    taken += 1
                    if taken == 3:
                        return

        scene.pool.subscribe(scene.feed.instruments)
        await caller.call(consume())
        at_rest(scene)

    every_step(take, weather)


@weathers
def test_leaving_the_pools_own_block_closes_it_at_whatever_step_of_its_dials(
    weather: Callable[[Stage], None],
) -> None:
    async def use(caller: Caller, scene: Stage) -> None:
        async def program() -> None:
            async with scene.pool as pool:
                pool.subscribe(scene.feed.instruments)
                await pool.wait_live(scene.feed.instruments, timeout=60)

        await caller.call(program())
        await scene.pool.close()  # for the case that the cancellation came before, or in, the first one
        assert scene.taken() == 0
        await asyncio.sleep(0.5)
        assert scene.broker.sockets == []

    every_step(use, weather)


@weathers
def test_closing(weather: Callable[[Stage], None]) -> None:
    async def close(caller: Caller, scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        await asyncio.sleep(1.1)
        scene.broker.deaf = True  # so that a close takes its two seconds
        await caller.call(scene.pool.close())
        await scene.pool.close()
        assert scene.taken() == 0
        scene.broker.deaf = False

    every_step(close, weather)


@weathers
def test_a_close_that_was_begun_ends_though_nobody_waits_for_it(weather: Callable[[Stage], None]) -> None:
    async def close(caller: Caller, scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        await asyncio.sleep(1.1)
        began = scene.loop.steps
        await caller.call(scene.pool.close())
        if scene.pool._closed:  # else it was cancelled before its first step
            await asyncio.sleep(5)
            assert scene.taken() == 0
            assert scene.broker.sockets == []
            left = [task.get_name() for task in scene.loop.pending() if task is not asyncio.current_task()]
            assert left == [], f"begun at step {began}"

    every_step(close, weather)


@weathers
def test_giving_up_every_symbol_in_the_middle_of_a_dial_and_wanting_them_again(
    weather: Callable[[Stage], None],
) -> None:
    async def change_ones_mind(caller: Caller, scene: Stage) -> None:
        pool, wanted = scene.pool, scene.feed.instruments

        async def wait() -> None:
            pool.subscribe(wanted)
            try:
                await pool.wait_live(wanted, timeout=60)
            finally:
                pool.release("default")

        await caller.call(wait())
        pool.subscribe(wanted[:1])
        await pool.wait_live(wanted[:1], timeout=60)
        await asyncio.sleep(3)  # for the sockets that close meanwhile
        assert scene.taken() == len(scene.broker.sockets) == 1

    every_step(change_ones_mind, weather)


def test_asking_for_new_credentials() -> None:
    async def ask(caller: Caller) -> None:
        asked = 0

        async def provider() -> Credentials:
            nonlocal asked
            asked += 1
            await asyncio.sleep(1)
            return Credentials(f"day-{asked + 1}")

        login = Login(Credentials("day-1"), provider)
        other = asyncio.create_task(login.refresh())
        await caller.call(login.refresh())
        assert await other, "one caller's cancellation takes the answer from nobody else"
        assert asked == 1
        assert login.version == 2
        assert login._question is None

    assert cancel_at_every_step(ask) > 5
