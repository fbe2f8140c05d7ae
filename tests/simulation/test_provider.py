"""A provider that does not help, for an hour of virtual time: how often both pools of an account ask it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from brokerpool import Credentials
from brokerpool.http.authorization import Authorization
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import stage

Answer: TypeAlias = Callable[[int], Awaitable[Credentials]]


async def raising(asked: int) -> Credentials:
    raise RuntimeError("wrong password")


async def hanging(asked: int) -> Credentials:
    await asyncio.sleep(1e6)
    raise AssertionError("nobody waits for so long")


async def dead(asked: int) -> Credentials:
    return Credentials("day-1")


async def always_another_dead_one(asked: int) -> Credentials:
    return Credentials(f"of another app, {asked}")


async def empty(asked: int) -> Credentials:
    return Credentials("")


@pytest.mark.parametrize("answer", [raising, hanging, dead, always_another_dead_one, empty])
def test_in_an_hour_of_failures_both_pools_together_ask_a_provider_15_times_at_most(answer: Answer) -> None:
    async def main() -> None:
        asked = open_ = most = 0

        async def provider() -> Credentials:
            nonlocal asked, open_, most
            asked, open_ = asked + 1, open_ + 1
            most = max(most, open_)
            try:
                return await answer(asked)
            finally:
                open_ -= 1

        async with stage(provider=provider) as scene:
            calls = Authorization(scene.feed.login, lambda credentials: {})

            async def call_every_second() -> None:
                while True:
                    if calls.refused:
                        await calls.usable()
                    else:
                        await calls.renewed(calls.version)  # the broker has refused it
                    await asyncio.sleep(1)

            calling = asyncio.create_task(call_every_second())
            scene.broker.valid.clear()
            scene.pool.subscribe(scene.feed.instruments)
            await asyncio.sleep(3600)
            print(f"{answer.__name__}: asked {asked} times in an hour")
            assert 8 <= asked <= 15
            assert most == 1
            # A person logs in: all is well at once, and whatever failed before is forgotten.
            scene.broker.valid.add("by hand")
            calling.cancel()
            scene.feed.login.renew(Credentials("by hand"))
            await scene.until(scene.all_live, 30)
            assert scene.feed.login.failures == 0

    run(main)


def test_a_person_who_says_that_all_is_well_ends_the_rest() -> None:
    async def main() -> None:
        helps = False

        async def provider() -> Credentials:
            if not helps:
                raise RuntimeError("the login page is down")
            return Credentials("day-2")

        async with stage(provider=provider) as scene:
            scene.broker.valid = {"day-2"}
            scene.pool.subscribe(scene.feed.instruments)
            await asyncio.sleep(3600)
            helps = True
            assert scene.feed.login.rest > 30
            scene.pool.renew()
            await scene.until(scene.all_live, 30)

    run(main)
