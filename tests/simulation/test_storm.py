"""Two hundred owners keep changing their minds, and the broker serves exactly what they want in the end."""

from __future__ import annotations

import asyncio
import time
from random import Random

from brokerpool import Mode
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import KITE_WINDOWS, Stage, stage

OWNERS, SYMBOLS, SECONDS = 200, 3_300, 60.0
PER_CONNECTION, CONNECTIONS = 1_000, 3


async def change_ones_mind(scene: Stage, owner: str, random: Random, counts: dict[str, int]) -> None:
    """Subscribe and unsubscribe at random; the owners' symbols overlap, and all of them do not fit."""
    pool, every = scene.pool, scene.feed.instruments
    while True:
        await asyncio.sleep(random.expovariate(1.0))
        at = random.randrange(SYMBOLS)
        some = every[at : at + random.choice((1, 5, 20, 100))]
        counts["operations"] += 1
        held = pool.demand.instruments(owner)
        if random.random() < 0.4:
            result = pool.subscribe(some, random.choice(list(Mode)), owner=owner, partial=True)
            counts["refused"] += len(result.refused)
        elif random.random() < 0.9:
            pool.unsubscribe(random.sample(held, random.randint(0, len(held))), owner=owner)
        else:
            pool.release(owner)
        counts["peak"] = max(counts["peak"], len(pool.demand))


def test_a_storm_of_overlapping_subscriptions_ends_with_exactly_the_demand_and_no_limit_exceeded() -> None:
    counts = {"operations": 0, "refused": 0, "peak": 0}
    began = time.thread_time()

    async def main() -> None:
        async with stage(
            symbols=SYMBOLS,
            per_connection=PER_CONNECTION,
            connections=CONNECTIONS,
            limits=KITE_WINDOWS,
            broker={"beats": (20, 60)},
            linger=2.0,
        ) as scene:
            pool, broker = scene.pool, scene.broker
            tasks = [
                asyncio.create_task(change_ones_mind(scene, f"owner {n}", Random(n), counts))
                for n in range(OWNERS)
            ]
            await asyncio.wait(tasks, timeout=SECONDS)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            union = {
                scene.feed.book.token(i) for n in range(OWNERS) for i in pool.demand.instruments(f"owner {n}")
            }
            assert union == set(scene.demanded())
            settled = await scene.until(lambda: broker.served() == scene.demanded(), 10)
            ledger = broker.ledger
            print(
                f"{counts['operations']} operations of {OWNERS} owners in {SECONDS:g} s,"
                f" {counts['refused']} symbols refused, at most {counts['peak']} wanted;"
                f" {ledger.messages} broker messages, {len(ledger.dials)} dials;"
                f" at most {ledger.peak_tokens} symbols on a socket and {ledger.peak_sockets} sockets;"
                f" broker's set = demand of {len(union)} symbols {settled:.1f} s after the storm"
            )
            assert counts["operations"] >= 10_000
            assert counts["peak"] <= PER_CONNECTION * CONNECTIONS
            assert ledger.peak_tokens <= PER_CONNECTION
            assert ledger.peak_sockets <= CONNECTIONS
            for n in range(OWNERS):
                pool.release(f"owner {n}")
            assert len(pool.demand) == 0
            assert pool.demand.instruments() == ()
            assert pool.get_pool_stats()["websocket"]["total_symbols"] == 0
            await scene.until(lambda: not broker.sockets and not scene.taken(), 10)

    run(main)
    took = time.thread_time() - began
    print(f"in {took:.1f} s of CPU")
    assert took < 30
