"""A thousand lost sockets leave descriptors, tasks and memory where they were."""

from __future__ import annotations

import asyncio
import gc
import resource
from pathlib import Path

import pytest

from brokerpool import WebSocketPool
from brokerpool.simulator import KiteSimulator
from tests.rehearsal import Prompt, demanded, feed, instruments, no_task_dies, served, until

RECONNECTS, WARM_UP = 1000, 150


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def _resident_kib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_thousand_reconnects_leave_descriptors_tasks_and_memory_where_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # After a loss with nothing proven the next dial waits for the last one to have stood this long.
    monkeypatch.setattr("brokerpool.feed.account_limits.FOLLOW_SECONDS", 0.0)

    async def main() -> None:
        async with (
            no_task_dies(),
            KiteSimulator(symbols=30, rate=0) as broker,
            WebSocketPool(feed(broker, account_messages=()), max_symbols=10, random=Prompt()) as pool,
        ):
            every = instruments(broker)
            pool.subscribe(every)
            await pool.wait_live(every)

            async def lose(count: int) -> None:
                for _ in range(count):
                    dials = broker.stats()["dials"]
                    broker.kill(broker.sockets()[0]["id"])
                    await until(
                        lambda dials=dials: (  # type: ignore[misc]  # mypy: a default is no type
                            broker.stats()["dials"] > dials and served(broker) == demanded(pool)
                        )
                    )
                    await pool.wait_live(every)

            await lose(WARM_UP)
            gc.collect()
            before = _descriptors(), len(asyncio.all_tasks()), _resident_kib()
            await lose(RECONNECTS - WARM_UP)
            gc.collect()
            after = _descriptors(), len(asyncio.all_tasks()), _resident_kib()
            print(
                f"{broker.stats()['dials'] - 3} reconnects; descriptors {before[0]} -> {after[0]},"
                f" tasks {before[1]} -> {after[1]}, resident {before[2]} -> {after[2]} KiB"
            )
            assert broker.stats()["dials"] == RECONNECTS + 3
            assert after[:2] == before[:2]
            assert after[2] - before[2] < 4096
            assert broker.stats()["peak_duplicate_tokens"] == 0

    asyncio.run(main())
