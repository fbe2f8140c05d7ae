"""A caller is cancelled at every single step of a call, and nothing is lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from brokerpool import BrokerClient, Credentials, Login, RateLimits, RateWindow
from tests.http_server import AUTHORITY, SERVER_TLS, Reply, ScriptedBroker, Seen
from tests.rehearsal import no_task_dies, until

TRUSTED = AUTHORITY.trusted()

Scenario = Callable[[BrokerClient], Coroutine[Any, Any, object]]


async def plain(client: BrokerClient) -> object:
    return await client.request("GET", "/x", group="quote")


async def order(client: BrokerClient) -> object:
    return await client.request("POST", "/order", data={"a": 1}, order_tag="1", group="quote")


async def repeated(client: BrokerClient) -> object:
    return await client.request("GET", "/flaky", group="quote")


async def renewed(client: BrokerClient) -> object:
    return await client.request("GET", "/refused", group="quote")


async def shared(client: BrokerClient) -> object:
    return await client.request("GET", "/x", share=True, group="quote")


async def batched(client: BrokerClient) -> object:
    async def call(keys: Any) -> dict[str, int]:
        await client.request("GET", "/x", params=lambda: {"i": keys()}, group="quote")
        return dict.fromkeys(keys(), 1)

    return await client.batcher(call, most=5, window=0).get("NSE:INFY")


async def warmed(client: BrokerClient) -> object:
    return await client.warm_up()


async def drained(client: BrokerClient) -> object:
    calls = [asyncio.create_task(client.request("GET", "/x", group="quote")) for _ in range(3)]
    ends: list[BaseException | None] = []
    for call in calls:
        # raises into the loop's handler when the call ended as cancelled, which nobody asked for
        call.add_done_callback(lambda done: ends.append(done.exception()))
    client.keep_warm(interval=10)
    try:
        await asyncio.sleep(0)
        await client.drain(0.001)
    finally:
        await asyncio.wait(calls)
    return ends


async def behind_others(client: BrokerClient) -> object:
    others = [asyncio.create_task(client.request("GET", "/x", group="quote")) for _ in range(2)]
    try:
        return await client.request("GET", "/x", group="quote")
    finally:
        await asyncio.gather(*others)


@pytest.mark.parametrize(
    "scenario",
    [plain, order, repeated, renewed, shared, batched, warmed, behind_others, drained],
    ids=lambda scenario: scenario.__name__,
)
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_call_cancelled_at_any_step_leaves_nothing_behind(scenario: Scenario, tls: bool) -> None:
    def script(seen: Seen) -> Reply:
        if seen.path == "/flaky" and seen.turn % 2:
            return Reply(503)
        return Reply(401 if seen.path == "/refused" and seen.turn == 1 else 200, body_delay=0.0005)

    async def provider() -> Credentials:
        await asyncio.sleep(0)
        return Credentials("new")

    async def cancelled_at(step: int, broker: ScriptedBroker) -> bool:
        """Cancel after so many turns of the loop, and tell whether that was still in time."""
        limits = RateLimits({"quote": (RateWindow(1000, 60.0),)})
        login = Login(Credentials("old"), provider)
        client = BrokerClient(
            broker.url,
            name="step",
            pool_maxsize=2,
            limits=limits,
            login=login,
            backoff_factor=0.0001,
            ssl_context=TRUSTED,
        )
        before = broker.count()
        task = asyncio.create_task(scenario(client))
        for _ in range(step):
            await asyncio.sleep(0)
            if task.done():
                break
        in_time = task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.done()
        # A call whose last caller was cancelled ends in a task of its own.
        await until(lambda: not len(client._attempts._running))
        stats = client.stats()
        assert stats["active_connections"] == 0
        assert not any(stats["queued"].values())
        pending = client._attempts.limiter._group("quote").pending
        assert pending == 0, "a reservation that was not used came back"
        login.ask_again()  # a provider that was not waited for rests
        if scenario is not drained:
            assert (await asyncio.wait_for(client.request("GET", "/x"), 5)).status == 200
        used = 1000 - client.stats()["tokens_left"]["quote"]["60 s"]
        assert scenario in (warmed, drained) or broker.count() - before - 1 <= used, (
            "what was sent has been counted"
        )
        await client.drain()
        await until(lambda: broker.open == 0)
        return in_time

    async def main() -> None:
        async with no_task_dies(), ScriptedBroker(SERVER_TLS if tls else None) as broker:
            broker.script = script
            tasks = len(asyncio.all_tasks())
            steps = 0
            for step in itertools.count():
                in_time = await cancelled_at(step, broker)
                steps += in_time
                if not in_time:
                    break
            assert steps > 5
            assert broker.peak <= 2
            assert len(asyncio.all_tasks()) == tasks

    asyncio.run(main())
