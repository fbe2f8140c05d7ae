"""A pool that has its account on loan: nothing leaves without the permission, and what others sent counts."""

from __future__ import annotations

import asyncio
from typing import Any

from brokerpool import Mode
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.feed.sending_permission import Permission
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import stage

_LIMITS: dict[str, Any] = {
    "dials": (RateWindow(3, 1.0), RateWindow(10, 60.0)),
    "account_messages": (RateWindow(4, 2.0),),
}


def test_without_the_permission_nothing_is_dialled_and_nothing_is_sent_and_sockets_are_aborted() -> None:
    async def main() -> None:
        mine = True
        async with stage(permission=Permission(lambda: mine)) as scene:
            pool, broker = scene.pool, scene.broker
            pool.subscribe(scene.feed.instruments[:3], Mode.QUOTE)
            await asyncio.sleep(2)
            assert len(broker.served()) == 3
            mine = False
            messages, dials = broker.ledger.messages, len(broker.ledger.dials)
            pool.subscribe(scene.feed.instruments[3:25], Mode.QUOTE)
            pool.unsubscribe(scene.feed.instruments[:1])
            await asyncio.sleep(5)
            broker.kill_all()
            await asyncio.sleep(30)
            assert (broker.ledger.messages, len(broker.ledger.dials)) == (messages, dials)
            began = asyncio.get_running_loop().time()
            await pool.close()
            assert asyncio.get_running_loop().time() - began < 1, "no farewell is waited for"
            assert broker.ledger.messages == messages

    run(main)


def test_dials_that_others_made_or_may_have_made_count_in_the_windows_and_are_told_on() -> None:
    async def main() -> None:
        told: list[float] = []
        permission = Permission(
            dialling=told.append, dialled=(50.0, 5.0), untold_seconds=2.0, quiet_seconds=0.25
        )
        async with stage(limits=_LIMITS, permission=permission) as scene:
            begun = asyncio.get_running_loop().time()
            assert told == [50.0, 5.0, *[0.25] * 6], "at worst three a second for two seconds"
            scene.pool.subscribe(scene.feed.instruments, Mode.QUOTE)
            await asyncio.sleep(0.7)
            assert not scene.broker.ledger.dials, "three may have left a quarter of a second ago"
            await asyncio.sleep(58)
            times = [round(dial.at - begun, 2) for dial in scene.broker.ledger.dials]
            assert times[:2] == [0.75, 0.75]
            assert times[2] >= 10.0, "the tenth of a minute"
            assert told.count(0.0) == len(times)

    run(main)


def test_messages_that_others_may_just_have_sent_count_in_the_accounts_windows() -> None:
    async def main() -> None:
        permission = Permission(quiet_seconds=0.5)
        async with stage(limits=_LIMITS, permission=permission) as scene:
            scene.pool.subscribe(scene.feed.instruments[:1], Mode.QUOTE)
            await asyncio.sleep(1.45)
            assert scene.broker.ledger.messages < 1
            await asyncio.sleep(0.3)
            assert scene.broker.ledger.messages == 1

    run(main)


def test_sockets_that_others_may_have_open_are_none_of_the_pools() -> None:
    async def main() -> None:
        others = 2
        async with stage(permission=Permission(left_open=lambda: others)) as scene:
            scene.pool.subscribe(scene.feed.instruments, Mode.QUOTE)
            await asyncio.sleep(5)
            assert len(scene.broker.sockets) == 1
            others = 0
            await asyncio.sleep(5)
            assert len(scene.broker.sockets) == 3

    run(main)
