"""Waiting for a connection: fair, bounded, told in numbers, and by lane. Over real sockets."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

import pytest

from brokerpool import CallRefusedError, ErrorCode, Lane, RateLimits, RateWindow
from brokerpool.http.call_queue import Queue, Ticket
from brokerpool.http.counters import Tally
from brokerpool.http.ratelimit import RateLimiter
from brokerpool.wait_queue import Waiting
from tests.http_server import Reply, broker_and_client
from tests.measuring import without_waiting
from tests.rehearsal import until

pytestmark = pytest.mark.alone


def test_a_latecomer_waits_no_longer_than_its_place_in_the_queue() -> None:
    """Four greedy loops on four connections; in a queue that is not FIFO they would never let anybody in."""

    async def main() -> None:
        async with broker_and_client(pool_maxsize=4) as (broker, client):
            broker.script = lambda seen: Reply(delay=0.01)
            ended = False

            async def greedy() -> None:
                while not ended:
                    await client.request("GET", "/quote")

            loops = [asyncio.create_task(greedy()) for _ in range(4)]
            await until(lambda: broker.count() > 20)
            waits = []
            for _ in range(3):
                began = time.perf_counter()
                await client.request("GET", "/order")
                waits.append(time.perf_counter() - began)
            ended = True
            await asyncio.gather(*loops)
            assert max(waits) < 0.2, "its own call takes 10 ms, and one call is ahead of it"

    asyncio.run(main())


def test_everybody_waits_equally_long() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=20) as (broker, client):
            broker.script = lambda seen: Reply(delay=0.01)
            waits: list[float] = []

            async def asks() -> None:
                for turn in range(4):
                    began = time.perf_counter()
                    await client.request("GET", "/quote")
                    if turn:
                        waits.append(time.perf_counter() - began)

            await asyncio.gather(*(asks() for _ in range(300)))
            assert max(waits) < 2.5 * statistics.median(waits)
            assert broker.peak == 20

    asyncio.run(main())


def test_a_waiter_that_is_cancelled_at_the_hand_over_passes_the_slot_on() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=1) as (broker, client):
            release = asyncio.Event()
            first: asyncio.Task[object]

            async def holds() -> None:
                await client.request("GET", "/held")
                first.cancel()  # in the very step in which its slot was handed over

            broker.script = lambda seen: Reply(delay=0.05 if seen.path == "/held" else 0)
            holder = asyncio.create_task(holds())
            await until(lambda: broker.count() == 1)
            first = asyncio.create_task(client.request("GET", "/first"))
            await until(lambda: client.stats()["queued"]["query"] == 1)
            second = asyncio.create_task(client.request("GET", "/second"))
            await until(lambda: client.stats()["queued"]["query"] == 2)
            release.set()
            await holder
            with pytest.raises(asyncio.CancelledError):
                await first
            assert (await asyncio.wait_for(second, 1)).status == 200, "though no other call comes"
            assert broker.count(path="/first") == 0
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())


def test_a_slot_that_comes_in_the_moment_in_which_the_time_is_up_is_not_lost() -> None:
    async def main() -> None:
        queue = Queue(RateLimiter(RateLimits()), size=1, max_waiting=9, max_hosts=1)
        queue.open_host("a")
        waiting_room = Waiting(queue, Tally())
        holder, late, last = (Ticket("a", "x", Lane.QUERY, 1, "GET /", "me", 0.0) for _ in range(3))
        await waiting_room.wait(holder, 1)
        waiting = asyncio.create_task(waiting_room.wait(late, 0.01))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_later(0.011, waiting_room.release, holder, 1.0)
        time.sleep(0.02)  # noqa: ASYNC251  (both timers are due in the same turn of the loop)
        await waiting
        assert late.slot is not None
        next_one = asyncio.create_task(waiting_room.wait(last, 1))
        await asyncio.sleep(0)
        waiting_room.release(late, 2.0)
        await next_one
        waiting_room.release(last, 3.0)
        assert (queue.active(), queue.queued()) == (0, 0)

    asyncio.run(main())


def test_time_outs_that_race_with_releases_strand_nobody() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=1, max_wait=60) as (broker, client):
            broker.script = lambda seen: Reply(delay=0.004)
            refused = 0
            for n in range(100):
                limit = 0.003 + 0.025 * n / 100  # spread around the time that a call and its wait take
                paths = ["/held", *["/"] * 3, "/last"]
                limits = [10, *[limit] * 3, 10]
                calls = [
                    # a group each, because time-outs open a breaker
                    asyncio.create_task(client.request("GET", path, timeout=seconds, group=f"{n} {place}"))
                    for place, (path, seconds) in enumerate(zip(paths, limits, strict=True))
                ]
                results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
                assert not isinstance(results[-1], BaseException), "the last waiter gets its turn"
                refused += sum(isinstance(r, BaseException) for r in results)
                assert client.stats()["active_connections"] == 0
                assert not any(client.stats()["queued"].values())
            assert 33 < refused < 300, "the race did take place"

    asyncio.run(main())


def test_the_21st_call_on_20_slow_ones_waits_its_bound_and_gets_the_numbers() -> None:
    async def main() -> None:
        async with broker_and_client(max_wait=0.15) as (broker, client):
            broker.script = lambda seen: Reply(delay=5)
            slow = [asyncio.create_task(client.request("GET", "/slow"), name=f"slow-{n}") for n in range(20)]
            await until(lambda: broker.count() == 20)
            began = time.perf_counter()
            with pytest.raises(CallRefusedError) as caught:
                await client.request("GET", "/quote", params={"token": "secret"})
            assert 0.14 < time.perf_counter() - began < 2, "not as long as the slow ones"
            text = str(caught.value)
            assert caught.value.code is ErrorCode.HTTP_WAIT_TOO_LONG
            assert "GET /quote waited 0.150 s" in text
            assert "20 active (longest: GET /slow by slow-" in text
            assert "0 idle, 0 waiting" in text
            assert "secret" not in text
            stats = client.stats()
            assert stats["pool_size"] == stats["active_connections"] == len(stats["holders"]) == 20
            assert {h["task"] for h in stats["holders"]} == {f"slow-{n}" for n in range(20)}
            assert stats["refused"] == {"HTTP_WAIT_TOO_LONG": 1}
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())


def test_a_full_queue_fails_at_once_with_the_numbers() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=1, max_waiting=10) as (broker, client):
            broker.script = lambda seen: Reply(delay=0.3 if seen.path == "/slow" else 0)
            slow = asyncio.create_task(client.request("GET", "/slow"))
            await until(lambda: broker.count() == 1)
            waiting = [asyncio.create_task(client.request("GET", f"/{n}")) for n in range(10)]
            await until(lambda: client.stats()["queued"]["query"] == 10)
            with pytest.raises(CallRefusedError, match="10 calls wait in the lane QUERY") as caught:
                without_waiting(client.request("GET", "/eleventh"))
            assert caught.value.code is ErrorCode.HTTP_QUEUE_FULL
            assert "1 active" in str(caught.value)
            assert "10 waiting (oldest 0." in str(caught.value)
            order = client.request("POST", "/order", lane=Lane.PLACE)
            assert (await order).status == 200, "queries never take an order's place in the queue"
            await asyncio.gather(slow, *waiting)
            assert [s.path for s in broker.seen][1] == "/order"

    asyncio.run(main())


def test_a_cancel_order_passes_within_50_ms_while_1000_queries_wait() -> None:
    async def main() -> None:
        options: dict[str, Any] = {"pool_maxsize": 5, "max_wait": 60, "timeout": 60}
        async with broker_and_client(**options) as (broker, client):
            await client.warm_up()
            broker.script = lambda seen: Reply(delay=0.005)
            queries = [asyncio.create_task(client.request("GET", "/quote")) for _ in range(1005)]
            await until(lambda: client.stats()["queued"]["query"] == 1000 or broker.count() > 5)
            waits = []
            for n in range(10):
                began = time.perf_counter()
                await client.request("DELETE", f"/orders/{n}", lane=Lane.CANCEL, order_tag=f"tag-{n}")
                waits.append(time.perf_counter() - began)
            assert client.stats()["queued"]["query"] > 500, "they did wait meanwhile"
            assert max(waits) < 0.05
            await asyncio.gather(*queries)

    asyncio.run(main())


def test_calls_beyond_the_rate_wait_visibly_and_hold_no_connection() -> None:
    async def main() -> None:
        limits = RateLimits({"quote": (RateWindow(5, 0.5),)}, margin=0.02)
        async with broker_and_client(pool_maxsize=2, limits=limits) as (broker, client):
            calls = [asyncio.create_task(client.request("GET", "/quote", group="quote")) for _ in range(15)]
            await until(lambda: broker.count() == 5 and client.stats()["active_connections"] == 0)
            stats = client.stats()
            assert stats["queued"] == {"cancel": 0, "place": 0, "query": 10}
            assert stats["tokens_left"] == {"quote": {"0.5 s": 0}}
            assert (await client.request("GET", "/positions")).status == 200, "another group passes"
            await asyncio.gather(*calls)
            times = [s.at for s in broker.seen if s.path == "/quote"]
            for first in range(10):
                assert times[first + 5] - times[first] >= 0.5, "at the broker, not only here"
            assert times[-1] - times[0] < 1.3

    asyncio.run(main())


def test_a_wait_that_the_rate_limit_makes_too_long_says_so() -> None:
    async def main() -> None:
        limits = RateLimits({"quote": (RateWindow(1, 30.0),)})
        async with broker_and_client(limits=limits, max_wait=0.05) as (_, client):
            await client.request("GET", "/quote", group="quote")
            with pytest.raises(
                CallRefusedError, match=r"rate limit of 'quote' lets the next call go in 31\.\d s"
            ):
                await client.request("GET", "/quote", group="quote")
            with pytest.raises(ValueError, match="weight of 2"):
                await client.request("GET", "/quote", group="quote", weight=2)

    asyncio.run(main())
