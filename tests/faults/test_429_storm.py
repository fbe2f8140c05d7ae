"""A broker that answers "too fast" to everybody for three seconds, while many callers want something."""

from __future__ import annotations

import asyncio
import contextlib

from brokerpool import Lane, PoolClosedError, RateLimits, RateWindow
from tests.http_server import Reply, Seen, broker_and_client
from tests.rehearsal import until

RETRY_AFTER = 3.0
RATE = 20


def test_nothing_leaves_within_retry_after_then_the_rate_climbs_and_cancel_orders_go_first() -> None:
    async def main() -> None:
        limits = RateLimits({"order": (RateWindow(RATE, 1.0),)})
        async with broker_and_client(limits=limits, max_wait=30, timeout=30) as (broker, client):
            loop = asyncio.get_running_loop()
            storm_ends = 0.0

            def script(seen: Seen) -> Reply:
                if loop.time() >= storm_ends:
                    return Reply(delay=0.02)
                return Reply(429, headers={"Retry-After": f"{storm_ends - loop.time():.3f}"}, delay=0.02)

            broker.script = script
            stopped = False

            async def strategy() -> None:
                with contextlib.suppress(PoolClosedError):
                    while not stopped:
                        await client.request("GET", "/orders", group="order")

            strategies = [asyncio.create_task(strategy()) for _ in range(60)]
            await until(lambda: broker.count() >= 40)
            storm_ends = loop.time() + RETRY_AFTER
            await until(lambda: client.stats()["rate_limited"] > 0)
            held_from = loop.time()
            cancels = [
                asyncio.create_task(
                    client.request(
                        "DELETE", f"/orders/{n}", group="order", lane=Lane.CANCEL, order_tag=str(n)
                    )
                )
                for n in range(3)
            ]
            await until(lambda: loop.time() > storm_ends + 4)
            stopped = True
            during = [s for s in broker.seen if held_from + 0.03 < s.at < storm_ends - 0.01]
            after = [s for s in broker.seen if s.at >= storm_ends - 0.01]
            first_second = sum(s.at < storm_ends + 1 for s in after)
            fourth_second = sum(storm_ends + 3 <= s.at < storm_ends + 4 for s in after)
            stats = client.stats()
            print(
                f"{len(during)} requests in the {RETRY_AFTER:g} s, then {first_second} in the first second"
                f" and {fourth_second} of {RATE} in the fourth;"
                f" repeats {stats['retries']} of {stats['requests']} calls"
            )
            assert during == []
            assert [s.method for s in after[:3]] == ["DELETE"] * 3
            assert 3 <= first_second <= RATE // 2
            assert first_second < fourth_second <= RATE
            assert sum(stats["retries"].values()) <= max(3, 0.2 * stats["requests"])
            assert {(await cancel).status for cancel in cancels} == {200}
            await client.drain(1)
            await asyncio.gather(*strategies)

    asyncio.run(main())
