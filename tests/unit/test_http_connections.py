"""The connections themselves: never too many at the broker, none lost, kept warm, and their reuse told."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from pathlib import Path
from random import Random

import pytest

from brokerpool import BrokerClient, CallFailedError, CallRefusedError, ErrorCode
from tests.http_server import AUTHORITY, SERVER_TLS, Reply, ScriptedBroker, Seen, broker_and_client
from tests.rehearsal import until


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  (counted, not read)


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="open files are counted in /proc: run it on Linux"
)
def test_after_1000_random_cancellations_all_sockets_work_and_nothing_leaks() -> None:
    async def main() -> None:
        random = Random(7)
        gc.collect()
        async with ScriptedBroker(SERVER_TLS) as broker:
            files, tasks = open_files(), len(asyncio.all_tasks())
            client = BrokerClient(
                broker.url, name="storm", ssl_context=AUTHORITY.trusted(), max_wait=60, timeout=60
            )
            broker.script = lambda seen: Reply(delay=0.002)
            calls = [asyncio.create_task(client.request("GET", "/quote")) for _ in range(1000)]
            for call in random.sample(calls, 700):
                if random.random() < 0.5:
                    await asyncio.sleep(random.random() * 0.004)
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)
            stats = client.stats()
            assert stats["active_connections"] == 0
            assert not any(stats["queued"].values())
            broker.script = lambda seen: Reply(delay=0.2)
            twenty = [asyncio.create_task(client.request("GET", "/twenty")) for _ in range(20)]
            await until(lambda: broker.busy == 20)
            assert broker.open == 20, "20 at once, 20 sockets at the broker"
            await asyncio.gather(*twenty)
            assert broker.peak == 20, "and never more, all through the storm"
            await client.drain()
            await until(lambda: broker.open == 0)
            await until(lambda: open_files() == files)
            assert len(asyncio.all_tasks()) == tasks

    asyncio.run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_the_broker_never_sees_more_sockets_than_allowed_over_two_hosts_and_under_churn(tls: bool) -> None:
    async def main() -> None:
        random = Random(11)

        def churn(seen: Seen) -> Reply:
            return Reply(delay=random.random() * 0.01, then=random.choice(["keep", "close", "reset"]))

        async with (
            ScriptedBroker(SERVER_TLS if tls else None) as other,
            broker_and_client(tls=tls, pool_maxsize=5, max_wait=60, timeout=60, max_retries=0) as (
                one,
                client,
            ),
        ):
            one.script = other.script = churn
            calls = [
                client.request(
                    "GET",
                    random.choice(["/", f"{other.url}/"]),
                    timeout=random.choice([0.01, 0.03, 10]),
                    group=f"group-{n}",  # so that no breaker spoils the churn
                )
                for n in range(600)
            ]
            await asyncio.gather(*calls, return_exceptions=True)
            assert one.count() > 50
            assert other.count() > 50
            assert one.peak <= 5
            assert other.peak <= 5
            assert one.accepted > 25, "it was churn"

    asyncio.run(main())


def test_the_gauges_are_back_at_0_after_every_kind_of_end() -> None:
    async def main() -> None:
        replies = {
            "/slow": Reply(delay=5),
            "/late": Reply(body_delay=5),
            "/moved": Reply(307, headers={"Location": "/elsewhere"}),
            "/reset": Reply(status=None, then="reset"),
            "/cut": Reply(cut=3, then="close"),
        }
        async with broker_and_client(pool_maxsize=1, max_retries=0, max_wait=0.1) as (broker, client):
            broker.script = lambda seen: replies.get(seen.path, Reply())

            async def ended(path: str, *, after: float | None = None, **options: float) -> None:
                call = asyncio.create_task(client.request("GET", path, **options))  # type: ignore[arg-type]
                if after is not None:
                    await asyncio.sleep(after)
                    call.cancel()
                await asyncio.wait([call])
                assert call.cancelled() or call.exception() or call.result()
                stats = client.stats()
                assert stats["active_connections"] == 0, path
                assert not any(stats["queued"].values()), path
                assert stats["holders"] == []
                assert stats["oldest_wait_seconds"] == 0

            slow = asyncio.create_task(client.request("GET", "/slow", timeout=0.3))
            await until(lambda: broker.count() == 1)
            queued = asyncio.create_task(client.request("GET", "/"))
            await asyncio.sleep(0)
            queued.cancel()
            await asyncio.wait([queued, slow])
            await ended("/slow", after=0.02)
            await ended("/slow", timeout=0.05)
            await ended("/late", after=0.02)
            await ended("/late", timeout=0.05)
            await ended("/moved")
            await ended("/reset")
            await ended("/cut")
            with pytest.raises(CallFailedError, match="no connection came about"):
                await client.request("GET", "http://127.0.0.1:1/")
            await ended("/")
            assert broker.count(path="/elsewhere") == 0
            assert broker.peak == 1

    asyncio.run(main())


def test_a_body_over_the_cap_or_too_late_costs_one_socket_and_no_slot() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=1, max_body_bytes=1000) as (broker, client):
            broker.script = lambda seen: {
                "/large": Reply(body=b"x" * 1001),
                "/late": Reply(body_delay=5),
            }.get(seen.path, Reply(body=b"x" * 1000))
            assert len((await client.request("GET", "/exact")).body) == 1000
            with pytest.raises(CallFailedError, match="more than 1000 bytes") as large:
                await client.request("GET", "/large")
            assert large.value.code is ErrorCode.ANSWER_TOO_LARGE
            assert broker.count(path="/large") == 1, "no repeat would make it smaller"
            await client.request("GET", "/exact")
            assert broker.accepted == 2
            with pytest.raises(CallFailedError) as late:
                await client.request("GET", "/late", timeout=0.1)
            assert late.value.code is ErrorCode.CALL_TIMED_OUT
            assert late.value.sent
            await client.request("GET", "/exact")
            assert broker.accepted == 3
            assert broker.peak == 1
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())


def test_polling_more_slowly_than_connections_live_is_told_in_numbers_and_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        async with broker_and_client(idle_limit=0.01) as (broker, client):
            for _ in range(8):
                await client.request("GET", "/quote")
                await until(lambda: broker.open == 0)
                await asyncio.sleep(0.005)  # the end of the socket reaches the client
            stats = client.stats()
            assert stats["reuse_ratio"] == 0
            assert stats["created"] == broker.accepted == 8
            broker.idle_limit = None
            for _ in range(4):
                await client.request("GET", "/quote")
            assert client.stats()["reuse_ratio"] == pytest.approx(3 / 12)

    with caplog.at_level(logging.WARNING, "brokerpool.http"):
        asyncio.run(main())
    (line,) = caplog.messages
    assert "reuse 0 %" in line
    assert "keep_warm" in line


def test_warm_up_opens_all_connections_at_once_and_calls_use_the_newest() -> None:
    async def main() -> None:
        async with broker_and_client(tls=True, pool_maxsize=7) as (broker, client):
            broker.script = lambda seen: Reply(404, delay=0.3)
            began = asyncio.get_running_loop().time()
            assert await client.warm_up("/any") == 7
            assert asyncio.get_running_loop().time() - began < 1.5, "in parallel"
            assert broker.open == broker.accepted == 7
            broker.script = lambda seen: Reply()
            for _ in range(20):
                await client.request("GET", "/quote")
            assert broker.accepted == 7
            assert max(s.turn for s in broker.seen) == 21, "the same connection each time"

    asyncio.run(main())


def test_a_failed_warm_up_says_how_many_answered() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=3) as (broker, client):
            broker.stop_listening()
            assert await client.warm_up() == 0
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())


def test_keep_warm_uses_each_idle_connection_in_time_and_rests_when_told() -> None:
    async def main() -> None:
        is_open = True
        async with broker_and_client(pool_maxsize=3, idle_limit=0.4) as (broker, client):
            await client.warm_up()
            client.keep_warm("/time", interval=0.2, when=lambda: is_open)
            with pytest.raises(ValueError, match="does not keep connections of 45 s"):
                client.keep_warm(interval=45)
            await until(lambda: broker.count(path="/time") >= 12)
            assert broker.accepted == 3, "not one was lost"
            is_open = False
            await until(lambda: broker.open == 0)

    asyncio.run(main())


def test_one_host_more_than_there_are_pools_takes_the_place_of_the_least_used_idle_one() -> None:
    async def main() -> None:
        async with (
            ScriptedBroker() as second,
            ScriptedBroker() as third,
            broker_and_client(pool_connections=2) as (first, client),
        ):
            await client.request("GET", "/")
            await client.request("GET", f"{second.url}/")
            await client.request("GET", "/")
            await client.request("GET", f"{third.url}/")
            await until(lambda: second.open == 0)
            assert first.open == third.open == 1
            first.script = third.script = lambda seen: Reply(delay=0.2)
            busy = [asyncio.create_task(client.request("GET", u)) for u in ("/", f"{third.url}/")]
            await until(lambda: first.busy == third.busy == 1)
            with pytest.raises(CallRefusedError, match="calls are running on all of") as caught:
                await client.request("GET", f"{second.url}/")
            assert caught.value.code is ErrorCode.HTTP_TOO_MANY_HOSTS
            await asyncio.gather(*busy)

    asyncio.run(main())


def test_after_a_broker_restart_calls_go_on_without_a_leak() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=4) as (broker, client):
            await client.warm_up()
            for link in list(broker.links):
                link.abort()
            await until(lambda: broker.open == 0)
            await asyncio.gather(*(client.request("GET", "/") for _ in range(4)))
            assert broker.open == 4
            assert broker.peak == 4

    asyncio.run(main())


def test_cookies_and_redirects_are_not_followed() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(302, headers={"Location": "/next", "Set-Cookie": "a=b"})
            answer = await client.request("POST", "/order", data={"tag": "1"}, order_tag="1")
            assert (answer.status, answer.headers["location"]) == (302, "/next")
            await client.request("GET", "/again")
            assert broker.methods == {"POST": 1, "GET": 1}
            assert "cookie" not in broker.seen[-1].headers

    asyncio.run(main())
