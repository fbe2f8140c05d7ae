"""The whole broker is gone for a while: who is told, what is tried, and how it comes back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from tests import processes
from tests.faults.observer import Observer, observing
from tests.rehearsal import until

SYMBOLS, PER_CONNECTION, RATE = 90, 30, 900
#: The broker's limit for silence (5 s) and a look more.
LIVENESS_SECONDS = 6.0
OUTAGE_SECONDS = 60.0


def test_every_client_knows_in_time_last_values_are_stale_and_the_first_tick_after_the_return_clears_it(
    tmp_path: Path,
) -> None:
    limits = {"MAX_SYMBOLS_PER_WEBSOCKET": str(PER_CONNECTION)}
    with (
        processes.simulator(tmp_path, symbols=SYMBOLS, rate=RATE) as broker,
        processes.gateway(tmp_path, **limits) as gateway,
    ):
        control, where = broker.said["control_url"], gateway.said["ws_url"]
        rows = [*processes.listed(broker).values()]
        key = processes.api_key(tmp_path)

        async def stats() -> dict[str, Any]:
            answer = await asyncio.to_thread(processes.get, f"{gateway.said['http_url']}/stats")
            pool: dict[str, Any] = answer["websocket"]
            return pool

        async def main() -> None:
            async with observing(where, key, [rows] * 5) as clients:
                await until(lambda: all(len(c.last) == SYMBOLS for c in clients), seconds=20)
                gone = time.monotonic()
                await asyncio.to_thread(processes.post, f"{control}/faults", {"down": True})
                await until(lambda: all(len(c.symbol_news("stale")) == SYMBOLS for c in clients))
                known = time.monotonic() - gone
                await until(lambda: all(c.feed_news()[-1]["status"] == "down" for c in clients))
                await asyncio.sleep(1)
                late = await _joins_late(where, key, rows)
                assert len(late.snapshots) == SYMBOLS, "the last values are served"
                assert all(frame["stale"] for frame in late.snapshots)
                assert len(late.symbol_news("stale")) == SYMBOLS
                await asyncio.sleep(OUTAGE_SECONDS - (time.monotonic() - gone))
                dead = await stats()
                for client in clients:
                    client.reset()
                back = time.monotonic()
                await asyncio.to_thread(processes.post, f"{control}/faults", {"down": False})
                await until(lambda: all(len(c.symbol_news("gap")) == SYMBOLS for c in clients), seconds=20)
                restored = time.monotonic() - back
                await until(lambda: all(c.feed_news()[-1]["status"] == "live" for c in clients))
                await asyncio.sleep(0.5)
                tried = sum(c["dials"] for c in dead["per_connection"]) - 3
                print(
                    f"known to all after {known:.2f} s; {tried} dials in {OUTAGE_SECONDS:.0f} s without a"
                    f" broker; all {SYMBOLS} symbols ticked again {restored:.1f} s after its return"
                )
                assert known < LIVENESS_SECONDS
                assert tried <= 10 * 3 * OUTAGE_SECONDS / 60
                assert restored < 10
                for client in clients:
                    told = Counter(gap["symbol"] for gap in client.symbol_news("gap"))
                    assert set(told.values()) == {1}, "each gap is told once"
                    for gap in client.symbol_news("gap"):
                        assert gap["to"] - gap["from"] > (OUTAGE_SECONDS - 1) * 1000
                    assert not client.ended
                again = await _joins_late(where, key, rows)
                assert not any("stale" in frame for frame in again.snapshots)

        asyncio.run(main())
        seen = processes.get(f"{control}/stats")
        assert seen["violations"] == {"tokens": 0, "sockets": 0}
        assert seen["duplicate_tokens"] == 0


async def _joins_late(where: str, key: str, rows: list[dict[str, str]]) -> Observer:
    async with observing(where, key, [rows]) as (late,):
        await until(lambda: len(late.snapshots) == len(rows))
        await asyncio.sleep(0.2)  # what follows the snapshots in the same breath
        return late
