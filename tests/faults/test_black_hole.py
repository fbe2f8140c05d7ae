"""TCP that swallows everything in both directions and never closes: no error comes from anywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from brokerpool import WebSocketPool
from brokerpool.simulator import Timeout
from brokerpool.simulator.registry import front
from tests.every_broker import BROKERS, account
from tests.rehearsal import no_task_dies, until

LIVENESS_SECONDS = 15.0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("broker", BROKERS)
def test_a_black_hole_is_noticed_within_the_limit_and_nothing_is_left_behind(broker: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with no_task_dies(), front(broker)(symbols=20, rate=200, toxics={}) as simulator:
            far, proxy = await account(simulator), simulator.proxy
            assert proxy is not None
            tasks, files = len(asyncio.all_tasks()), descriptors()
            async with WebSocketPool(far, max_symbols=10) as pool:
                every = list(far.book)
                # The broker may hear of the old lines' end after it is dialled anew: there is room for both.
                connections = max(1, min(2, far.limits.max_connections // 2))
                wanted = every[: 10 * connections]
                pool.subscribe(wanted)
                await pool.wait_live(wanted)
                for way in ("upstream", "downstream"):
                    proxy.add(way, Timeout(timeout=0, stream=way))
                began = loop.time()
                await until(lambda: not pool.connected, seconds=20)
                noticed = loop.time() - began
                await until(lambda: all(pool.gap(i) for i in wanted), seconds=2)
                proxy.clear()
                healed = loop.time()
                await pool.wait_live(wanted, timeout=20)
                restored = loop.time() - healed
                print(
                    f"noticed after {noticed:.1f} s, all {len(wanted)} symbols stale; all tick"
                    f" {restored:.1f} s after the line healed"
                )
                assert noticed <= LIVENESS_SECONDS
                assert restored < 15
            await until(lambda: not simulator.sockets())
            await until(lambda: descriptors() == files and len(asyncio.all_tasks()) == tasks)
            assert simulator.stats()["violations"] == {"tokens": 0, "sockets": 0}

    asyncio.run(main())
