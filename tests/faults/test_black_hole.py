"""TCP that swallows everything in both directions and never closes: no error comes from anywhere."""

from __future__ import annotations

import asyncio
from pathlib import Path

from brokerpool import WebSocketPool, ZerodhaFeed
from brokerpool.simulator import FaultProxy, KiteSimulator, Timeout
from tests.rehearsal import feed, instruments, no_task_dies, served, until

LIVENESS_SECONDS = 15.0


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_black_hole_is_noticed_within_the_limit_and_nothing_is_left_behind() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with (
            no_task_dies(),
            KiteSimulator(symbols=30, rate=300) as broker,
            FaultProxy("127.0.0.1", int(broker.ws_url.rstrip("/").rpartition(":")[2])) as proxy,
        ):
            plain = feed(broker)
            far = ZerodhaFeed(
                broker.api_key,
                broker.access_token,
                ws_url=f"ws://127.0.0.1:{proxy.port}/",
                book=plain.book,
                limits=plain.limits,
            )
            tasks, files = len(asyncio.all_tasks()), descriptors()
            async with WebSocketPool(far, max_symbols=10) as pool:
                every = instruments(broker)
                pool.subscribe(every)
                await pool.wait_live(every)
                for way in ("upstream", "downstream"):
                    proxy.add(way, Timeout(timeout=0, stream=way))
                began = loop.time()
                await until(lambda: not pool.connected, seconds=20)
                noticed = loop.time() - began
                await until(lambda: all(pool.gap(i) for i in every), seconds=2)
                proxy.clear()
                healed = loop.time()
                await pool.wait_live(every, timeout=20)
                restored = loop.time() - healed
                print(
                    f"noticed after {noticed:.1f} s, all {len(every)} symbols stale; all tick"
                    f" {restored:.1f} s after the line healed"
                )
                assert noticed <= LIVENESS_SECONDS
                assert restored < 15
            await until(lambda: not broker.sockets())
            await until(lambda: descriptors() == files and len(asyncio.all_tasks()) == tasks)
            assert served(broker) == {}

    asyncio.run(main())
