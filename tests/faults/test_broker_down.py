"""A whole broker is gone for a while: who is told, what is tried, and how it comes back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.every_broker import FIRST, OTHERS, Stage, staged
from tests.faults.observer import Observer, observing
from tests.rehearsal import until

PER_CONNECTION, RATE = 30, 180
#: The broker's limit for silence (5 s) and a look more.
LIVENESS_SECONDS = 6.0
#: The most dials in an outage of so many seconds: one connection tries for all, and its rests widen to 6 s.
DIALS = {60.0: 30, 10.0: 12}


@pytest.mark.parametrize(("broker", "outage"), [(FIRST, 60.0), *((broker, 10.0) for broker in OTHERS)])
def test_every_client_knows_in_time_last_values_are_stale_and_the_first_tick_after_the_return_clears_it(
    tmp_path: Path, broker: str, outage: float
) -> None:
    async def main(stage: Stage) -> None:
        where, symbols = stage.gateway.said["ws_url"], len(stage.rows)
        async with observing(where, stage.key, [stage.rows] * 5) as clients:
            await until(lambda: all(len(c.last) == symbols for c in clients), seconds=20)
            gone = time.monotonic()
            await stage.throw(down=True)
            await until(lambda: all(len(c.symbol_news("stale")) == symbols for c in clients))
            known = time.monotonic() - gone
            await until(lambda: all(c.feed_news()[-1]["status"] == "down" for c in clients))
            await asyncio.sleep(1)
            late = await _joins_late(stage)
            assert len(late.snapshots) == symbols, "the last values are served"
            assert all(frame["stale"] for frame in late.snapshots)
            assert len(late.symbol_news("stale")) == symbols
            await asyncio.sleep(outage - (time.monotonic() - gone))
            dead = (await stage.stats())["websocket"]["per_connection"]
            for client in clients:
                client.reset()
            back = time.monotonic()
            await stage.throw(down=False)
            await until(lambda: all(len(c.symbol_news("gap")) == symbols for c in clients), seconds=20)
            restored = time.monotonic() - back
            await until(lambda: all(c.feed_news()[-1]["status"] == "live" for c in clients))
            await asyncio.sleep(0.5)
            tried = sum(c["dials"] for c in dead) - stage.connections
            print(
                f"known to all after {known:.2f} s; {tried} dials in {outage:.0f} s without a"
                f" broker; all {symbols} symbols ticked again {restored:.1f} s after its return"
            )
            assert known < LIVENESS_SECONDS
            assert tried <= DIALS[outage]
            assert restored < 10
            for client in clients:
                told = Counter(gap["symbol"] for gap in client.symbol_news("gap"))
                assert set(told.values()) == {1}, "each gap is told once"
                for gap in client.symbol_news("gap"):
                    assert gap["to"] - gap["from"] > (outage - 1) * 1000
                assert not client.ended
            again = await _joins_late(stage)
            assert not any("stale" in frame for frame in again.snapshots)

    with staged(tmp_path, broker, each=PER_CONNECTION, rate=RATE) as stage:
        asyncio.run(main(stage))
        assert stage.keeps_its_limits()["duplicate_tokens"] == 0


async def _joins_late(stage: Stage) -> Observer:
    async with observing(stage.gateway.said["ws_url"], stage.key, [stage.rows]) as (late,):
        await until(lambda: len(late.snapshots) == len(stage.rows))
        await asyncio.sleep(0.2)  # what follows the snapshots in the same breath
        return late
