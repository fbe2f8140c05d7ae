"""What is repeated and what is not, counted at the broker; what a caller learns of a call in doubt."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from brokerpool import (
    BrokerClient,
    CallFailedError,
    CallRefusedError,
    Credentials,
    ErrorCode,
    Lane,
    Login,
    OutcomeUnknown,
    Response,
)
from tests.http_server import DelayProxy, Reply, ScriptedBroker, Seen, broker_and_client
from tests.rehearsal import Prompt, until


def first_fails(reply: Reply, times: int = 1) -> Callable[[Seen], Reply]:
    """Return a script that fails so many requests to /x and answers all others."""
    left = times

    def script(seen: Seen) -> Reply:
        nonlocal left
        if seen.path == "/x" and left:
            left -= 1
            return reply
        return Reply()

    return script


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("then", ["reset", "close"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "GET"])
def test_a_call_that_the_broker_read_before_it_hung_up_is_seen_once(
    method: str, then: str, reused: bool, tls: bool
) -> None:
    """Guards the one private switch of aiohttp, which would send four of these methods a second time."""

    async def main() -> None:
        async with broker_and_client(tls=tls, max_retries=0) as (broker, client):
            if reused:
                await client.request("GET", "/")
            broker.script = first_fails(Reply(status=None, then=then), times=9)
            kind = CallFailedError if method == "GET" else OutcomeUnknown
            tag = None if method == "GET" else "tag-1"
            with pytest.raises(kind):
                await client.request(method, "/x", data=None if tag is None else b"order", order_tag=tag)
            assert broker.count(path="/x") == 1
            assert broker.accepted == 1

    asyncio.run(main())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=None, then="reset"),
        Reply(status=None, then="close"),
        Reply(status=504),
        Reply(status=500),
        Reply(cut=3, then="close"),
        Reply(delay=5),
        Reply(body_delay=5),
    ],
    ids=["reset", "close", "504", "500", "cut off", "no answer", "no body"],
)
def test_an_order_without_a_clear_answer_is_sent_once_and_ends_as_outcome_unknown(
    method: str, reply: Reply
) -> None:
    async def main() -> None:
        async def reconcile(tag: str) -> str:
            return f"the broker knows {tag}"

        async with broker_and_client(reconcile=reconcile) as (broker, client):
            broker.script = first_fails(reply, times=9)
            with pytest.raises(OutcomeUnknown, match="Do not send it again") as caught:
                await client.request(method, "/x", data=b"secret", order_tag="tag-7", timeout=0.2)
            assert broker.count(path="/x") == 1
            error = caught.value
            assert error.tag == "tag-7"
            assert error.status == (reply.status if reply.status in (500, 504) else error.status)
            assert "tag-7" in str(error)
            assert "secret" not in str(error)
            assert await error.reconcile() == "the broker knows tag-7"
            assert client.stats()["outcomes_unknown"] == 1
            assert client.stats()["retries"] == {}

    asyncio.run(main())


@pytest.mark.parametrize("tls", [False, True])
def test_an_order_that_the_broker_read_never_ends_as_a_mere_failure_whenever_its_time_is_up(
    tls: bool,
) -> None:
    async def main() -> None:
        async with broker_and_client(tls=tls, pool_maxsize=1) as (broker, client):
            broker.script = lambda seen: Reply(body_delay=0.001)
            ends: dict[str, int] = {"answered": 0, "in doubt": 0, "not sent": 0}
            for n in range(300):
                if n % 30 == 0:  # again and again: what else the machine does changes how long a call takes
                    began = time.perf_counter()
                    for _ in range(5):
                        await client.request("GET", "/whole")
                    whole = (time.perf_counter() - began) / 5
                # From a twentieth to ten times of that: through every stage, a handshake among them.
                tag, limit = f"tag-{n}", whole * 0.05 * 1.2 ** (n % 30)
                try:
                    await client.request("POST", "/order", order_tag=tag, timeout=limit, group=tag)
                    ends["answered"] += 1
                except OutcomeUnknown:
                    ends["in doubt"] += 1
                except CallFailedError:
                    ends["not sent"] += 1
                await until(lambda: broker.busy == 0)
                await asyncio.sleep(0.001)  # what was sent arrives
                arrived = broker.count(path="/order")
                assert ends["answered"] <= arrived, n
                assert arrived <= ends["answered"] + ends["in doubt"], "nothing sent is called not sent"
            assert min(ends.values()) > 10, ends

    asyncio.run(main())


def test_an_order_of_which_nothing_was_sent_is_sent_again() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.stop_listening()
            with pytest.raises(CallFailedError) as caught:
                await client.request("POST", "/order", order_tag="1")
            assert caught.value.code is ErrorCode.CALL_NOT_SENT
            assert not caught.value.sent
            assert client.stats()["retries"] == {"connect": 3}

    asyncio.run(main())


def test_a_broker_that_comes_up_in_time_gets_the_order_once() -> None:
    async def main() -> None:
        async with ScriptedBroker() as broker:
            broker.stop_listening()
            client = BrokerClient(broker.url, name="early", random=Random(3))
            order = asyncio.create_task(client.request("POST", "/order", order_tag="1"))
            await until(lambda: client.stats()["retries"].get("connect"))
            await broker.start(broker.port)
            assert (await order).status == 200
            assert broker.methods == {"POST": 1}
            await client.drain()

    asyncio.run(main())


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_read_is_repeated_after_each_of_the_statuses_and_gets_the_last_answer(status: int) -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = first_fails(Reply(status), times=3)
            assert (await client.request("GET", "/x")).status == 200
            assert broker.count() == 4
            assert client.stats()["retries"] == {f"status {status}": 3}
        async with broker_and_client() as (broker, client):
            broker.script = first_fails(Reply(status), times=9)
            assert (await client.request("GET", "/x")).status == status, "the broker's word is not hidden"
            assert broker.count() == 4

    asyncio.run(main())


@pytest.mark.parametrize("status", [400, 404, 422])
def test_what_the_caller_did_wrong_is_not_repeated(status: int) -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(status)
            assert (await client.request("GET", "/x")).status == status
            assert broker.count() == 1

    asyncio.run(main())


def test_retry_after_is_obeyed_before_any_jitter() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = first_fails(Reply(503, headers={"Retry-After": "0.3"}))
            await client.request("GET", "/x")
            first, second = broker.seen
            assert 0.3 <= second.at - first.at < 5
            broker.script = first_fails(Reply(503, headers={"Retry-After": "60"}))
            assert (await client.request("GET", "/x")).status == 503, "it would not fit into the time"

    asyncio.run(main())


def test_repeats_of_the_whole_client_stay_within_a_fifth_of_its_calls() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=5, max_wait=60) as (broker, client):
            broker.script = lambda seen: Reply(500)
            # a group each, so that the budget and not a breaker does it
            calls = [client.request("GET", "/x", group=f"group-{n}") for n in range(200)]
            answers = await asyncio.gather(*calls)
            assert {a.status for a in answers} == {500}
            assert broker.count() == 240
            stats = client.stats()
            assert stats["retries"] == {"status 500": 40}
            assert stats["retries_denied"] > 0

    asyncio.run(main())


def test_the_keep_alive_race_repeats_a_read_and_leaves_an_order_in_doubt() -> None:
    """The broker has closed the idle connection, and its FIN is still on the way when we send."""

    async def main(method: str) -> tuple[ScriptedBroker, Any, dict[str, Any]]:
        async with (
            ScriptedBroker(idle_limit=0.02) as broker,
            DelayProxy(broker.port, 0.05) as proxy,
            BrokerClient(
                f"http://127.0.0.1:{proxy.port}", name="race", pool_maxsize=1, random=Prompt()
            ) as client,
        ):
            await client.request("GET", "/first")
            assert broker.open == 0, "closed already, and the client cannot know"
            tag = None if method == "GET" else "tag"
            call = client.request(method, "/x", order_tag=tag)
            (result,) = await asyncio.gather(call, return_exceptions=True)
            return broker, result, client.stats()

    broker, answer, stats = asyncio.run(main("GET"))
    assert isinstance(answer, Response)
    assert broker.count(path="/x") == 1
    assert stats["retries"] == {"reset": 1}
    broker, answer, stats = asyncio.run(main("DELETE"))
    assert isinstance(answer, OutcomeUnknown), "nobody can know that it did not arrive"
    assert broker.count(path="/x") == 0
    assert stats["retries"] == {}


def test_a_429_holds_the_whole_group_and_a_cancel_order_goes_first_afterwards() -> None:
    async def main() -> None:
        async with broker_and_client(pool_maxsize=5) as (broker, client):
            broker.script = first_fails(Reply(429, headers={"Retry-After": "0.5"}))
            first = asyncio.create_task(client.request("GET", "/x", group="order"))
            await until(lambda: client.stats()["rate_limited"] == 1)
            others = [
                asyncio.create_task(client.request("GET", "/y", group="order"), name="y") for _ in range(3)
            ]
            other_group = await client.request("GET", "/other")
            cancel = client.request("DELETE", "/order", group="order", lane=Lane.CANCEL, order_tag="1")
            await asyncio.gather(first, cancel, *others)
            assert other_group.status == 200
            refused, free, *held = broker.seen
            assert free.path == "/other"
            assert held[0].method == "DELETE"
            assert 0.5 <= held[0].at - refused.at < 5
            assert sorted(s.path for s in held[1:]) == ["/x", "/y", "/y", "/y"]
            assert client.stats()["retries"] == {"status 429": 1}

    asyncio.run(main())


def test_a_hold_longer_than_a_call_may_wait_is_told_at_once_with_the_seconds() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(429, headers={"Retry-After": "60"})
            assert (await client.request("GET", "/x", group="quote")).status == 429
            with pytest.raises(CallRefusedError, match=r"holds 'quote' for another 60\.0 s") as caught:
                await client.request("GET", "/x", group="quote")
            assert caught.value.code is ErrorCode.RATE_LIMITED
            assert caught.value.retry_after == pytest.approx(60, abs=1)
            assert broker.count() == 1

    asyncio.run(main())


def test_a_403_that_means_too_fast_is_no_expired_token() -> None:
    def too_fast(response: Response) -> bool:
        return response.status == 403 and b"exceeding access rate" in response.body

    async def main() -> None:
        login = Login(Credentials("old"))
        async with broker_and_client(too_fast=too_fast, login=login) as (broker, client):
            broker.script = first_fails(Reply(403, b"Access denied because of exceeding access rate"))
            assert (await client.request("GET", "/x")).status == 200
            first, second = broker.seen
            assert second.at - first.at >= 1, "held like a 429 without Retry-After"
            assert not login.refused
            assert client.stats()["rate_limited"] == 1

    asyncio.run(main())


def test_a_broker_that_fails_is_left_alone_but_for_cancel_orders() -> None:
    async def main() -> None:
        async with broker_and_client(max_retries=0) as (broker, client):
            broker.script = lambda seen: Reply(503 if seen.method == "GET" else 200)
            for _ in range(5):
                await client.request("GET", "/quote", group="quote")
            with pytest.raises(CallRefusedError, match="5 recent calls of 'quote'") as caught:
                await client.request("GET", "/quote", group="quote")
            assert caught.value.code is ErrorCode.BREAKER_OPEN
            assert 4 < (caught.value.retry_after or 0) <= 5
            assert broker.count() == 5
            assert (await client.request("GET", "/other", group="other")).status == 503, "groups are apart"
            cancel = client.request("DELETE", "/1", group="quote", lane=Lane.CANCEL, order_tag="1")
            assert (await cancel).status == 200
            (state,) = {s for name, s in client.stats()["breakers"].items() if name.endswith(" quote")}
            assert state == "open"

    asyncio.run(main())


def test_neither_4xx_nor_our_own_cancellations_open_the_breaker() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(404) if seen.path == "/missing" else Reply(delay=5)
            for _ in range(10):
                await client.request("GET", "/missing")
                call = asyncio.create_task(client.request("GET", "/slow"))
                await until(lambda: broker.busy == 1)
                call.cancel()
                await asyncio.wait([call])
                await until(lambda: broker.busy == 0)
            assert set(client.stats()["breakers"].values()) == {"closed"}

    asyncio.run(main())


def test_time_outs_open_the_breaker() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(delay=5)
            for _ in range(5):
                with pytest.raises(CallFailedError, match=r"not answered within 0\.05 s") as caught:
                    await client.request("GET", "/slow", timeout=0.05)
                assert caught.value.code is ErrorCode.CALL_TIMED_OUT
            with pytest.raises(CallRefusedError, match="BREAKER_OPEN"):
                await client.request("GET", "/slow")

    asyncio.run(main())


def test_a_cancelled_order_leaves_its_tag_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        async with broker_and_client(tls=True) as (broker, client):
            broker.script = lambda seen: Reply(delay=5)
            call = asyncio.create_task(client.request("POST", "/order", order_tag="tag-9", data=b"secret"))
            await until(lambda: broker.count() == 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call

    with caplog.at_level(logging.WARNING, "brokerpool.http"):
        asyncio.run(main())
    assert caplog.messages == [
        "rehearsal: POST /order (tag tag-9) was cancelled after it was sent; its outcome is unknown"
    ]


def test_a_lane_other_than_query_makes_a_call_an_order() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = first_fails(Reply(status=None, then="close"))
            with pytest.raises(OutcomeUnknown) as caught:
                await client.request("DELETE", "/x", lane=Lane.CANCEL)
            assert caught.value.tag is None
            assert not caught.value.reconcilable
            with pytest.raises(ValueError, match="order_tag"):
                await caught.value.reconcile()
            assert broker.count() == 1

    asyncio.run(main())
