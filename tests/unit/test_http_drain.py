"""The end of a client: nobody is left waiting, what is on its way may finish, and errors are ours."""

from __future__ import annotations

import asyncio
import time

import pytest

from brokerpool import BrokerClient, CallFailedError, OutcomeUnknown, PoolClosedError, RateLimits, RateWindow
from tests.http_server import Reply, broker_and_client
from tests.rehearsal import until


def test_draining_ends_waiters_with_our_error_and_lets_calls_on_their_way_finish() -> None:
    async def main() -> None:
        ends: list[str] = []

        async def caller(client: BrokerClient, path: str) -> None:
            try:
                await client.request("GET", path)
                ends.append("answered")
            except PoolClosedError:
                ends.append("closed")

        async with broker_and_client(pool_maxsize=3) as (broker, client):
            broker.script = lambda seen: Reply(delay=0.2)
            # A TaskGroup falls apart if a caller ends with a CancelledError that nobody asked for.
            async with asyncio.TaskGroup() as group:
                for n in range(10):
                    group.create_task(caller(client, f"/{n}"))
                await until(lambda: broker.count() == 3 and client.stats()["queued"]["query"] == 7)
                began = time.perf_counter()
                await client.drain(5)
                assert 0.1 < time.perf_counter() - began < 4
            assert sorted(ends) == ["answered"] * 3 + ["closed"] * 7
            assert broker.count() == 3
            await until(lambda: broker.open == 0)
            with pytest.raises(PoolClosedError, match="client rehearsal is closed"):
                await client.request("GET", "/late")
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())


def test_what_is_not_done_by_the_deadline_is_cut_off_and_an_order_ends_in_doubt() -> None:
    async def main() -> None:
        async with broker_and_client(tls=True) as (broker, client):
            broker.script = lambda seen: Reply(delay=30)
            read = asyncio.create_task(client.request("GET", "/read"))
            order = asyncio.create_task(client.request("POST", "/order", order_tag="tag"))
            await until(lambda: broker.count() == 2)
            began = time.perf_counter()
            await client.drain(0.1)
            assert time.perf_counter() - began < 5
            results = await asyncio.gather(read, order, return_exceptions=True)
            assert isinstance(results[0], PoolClosedError)
            assert isinstance(results[1], OutcomeUnknown)
            await until(lambda: broker.open == 0)

    asyncio.run(main())


def test_a_call_between_two_attempts_or_behind_the_rate_limit_ends_at_once() -> None:
    async def main() -> None:
        limits = RateLimits({"quote": (RateWindow(1, 4.0),)})
        async with broker_and_client(limits=limits) as (broker, client):
            broker.script = lambda seen: Reply(
                503 if seen.path == "/busy" else 200, headers={"Retry-After": "5"}
            )
            await client.request("GET", "/quote", group="quote")
            resting = asyncio.create_task(client.request("GET", "/busy"))
            limited = asyncio.create_task(client.request("GET", "/quote", group="quote"))
            await until(lambda: client.stats()["retries"] and client.stats()["queued"]["query"])
            began = time.perf_counter()
            await client.drain(5)
            assert time.perf_counter() - began < 2
            results = await asyncio.gather(resting, limited, return_exceptions=True)
            assert [type(r) for r in results] == [PoolClosedError] * 2

    asyncio.run(main())


def test_closing_twice_is_fine_and_a_client_that_never_called_closes_too() -> None:
    async def main() -> None:
        async with broker_and_client() as (_, client):
            client.keep_warm()
            await client.close()
            await client.drain()

    asyncio.run(main())


def test_one_deadline_spans_waiting_and_all_attempts() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=1, max_wait=10) as (broker, client):
            broker.script = lambda seen: Reply(503, delay=0.1)
            began = time.perf_counter()
            calls = [client.request("GET", "/x", timeout=0.35) for _ in range(6)]
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert 0.3 < time.perf_counter() - began < 1.4, "and not 0.35 s for each"
            assert any(
                isinstance(r, CallFailedError) and "not answered within 0.35 s" in str(r) for r in results
            )

    asyncio.run(main())
