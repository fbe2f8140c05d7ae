"""Fewer calls for the same answers, over real sockets."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brokerpool import Batcher, BrokerClient
from brokerpool.errors import CallFailedError
from brokerpool.http.coalesce import Keys, SharedCalls
from tests.http_server import Reply, Seen, broker_and_client
from tests.rehearsal import until


def quotes(seen: Seen) -> Reply:
    """Answer a quote call as a broker does: what it does not list is missing."""
    keys = [value for name, value in seen.query if name == "i" and not value.endswith("NOSUCHNAME")]
    return Reply(body=json.dumps({"data": {key: {"last_price": len(key)} for key in keys}}).encode())


def quote_batcher(client: BrokerClient, most: int = 500) -> Batcher[Any]:
    async def call(keys: Keys) -> dict[str, Any]:
        answer = await client.request("GET", "/quote", params=lambda: {"i": keys()}, group="quote")
        return dict(answer.json()["data"])

    return client.batcher(call, most=most)


def test_equal_reads_in_flight_share_one_call() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(delay=0.05)

            def read(**options: Any) -> Any:
                return client.request("GET", "/quote", params={"i": "NSE:INFY"}, share=True, **options)

            answers = await asyncio.gather(*(read() for _ in range(50)))
            assert len({id(a) for a in answers}) == 1
            assert broker.count() == 1
            assert client.stats()["coalesced"] == 49
            await read()
            assert broker.count() == 2, "only what is in flight is shared; nothing is remembered"
            await asyncio.gather(read(), read(headers={"X-Account": "other"}))
            assert broker.count() == 4, "other headers, another answer"
            with pytest.raises(ValueError, match="only a GET"):
                await client.request("POST", "/order", share=True)

    asyncio.run(main())


def test_a_cancelled_first_caller_leaves_the_others_their_call_and_the_last_one_ends_it() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = lambda seen: Reply(delay=0.05 if seen.path == "/fast" else 30)
            callers = [asyncio.create_task(client.request("GET", "/fast", share=True)) for _ in range(3)]
            await until(lambda: broker.count() == 1)
            callers[0].cancel()
            results = await asyncio.gather(*callers, return_exceptions=True)
            assert isinstance(results[0], asyncio.CancelledError)
            assert results[1] is results[2]
            assert broker.count() == 1
            callers = [asyncio.create_task(client.request("GET", "/slow", share=True)) for _ in range(3)]
            await until(lambda: broker.busy == 1)
            for caller in callers:
                caller.cancel()
            await asyncio.gather(*callers, return_exceptions=True)
            await until(lambda: broker.busy == 0, 2)
            assert client.stats()["active_connections"] == 0

    asyncio.run(main())


def test_a_batch_holds_no_more_keys_than_the_broker_takes_and_none_twice() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = quotes
            batcher = quote_batcher(client, most=50)
            symbols = [f"NSE:SYMBOL{n}" for n in range(120)]
            await asyncio.gather(*(batcher.get(symbol) for symbol in symbols * 3))
            assert sorted(len(s.query) for s in broker.seen) == [20, 50, 50]
            assert sorted(value for s in broker.seen for _, value in s.query) == sorted(symbols)

    asyncio.run(main())


def test_a_key_that_the_answer_lacks_is_a_key_error_for_its_caller_only() -> None:
    async def main() -> None:
        async with broker_and_client() as (broker, client):
            broker.script = quotes
            batcher = quote_batcher(client)
            pair = [batcher.get("NSE:INFY"), batcher.get("NSE:NOSUCHNAME")]
            answers = await asyncio.gather(*pair, return_exceptions=True)
            assert answers[0] == {"last_price": 8}
            assert isinstance(answers[1], KeyError)
            broker.script = lambda seen: Reply(body=b"<html>")
            results = await asyncio.gather(*(batcher.get(k) for k in "ab"), return_exceptions=True)
            assert all("ANSWER_NOT_JSON" in str(r) for r in results)
            broker.script = quotes
            assert await batcher.get("NSE:INFY") == {"last_price": 8}, "the next batch is not spoilt"
            with pytest.raises(ValueError, match="at least 1"):
                client.batcher(lambda keys: asyncio.sleep(0, {}), most=0)

    asyncio.run(main())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["join", "join", "cancel", "turn", "answer", "fail"]), st.integers(0, 9)),
        max_size=40,
    )
)
def test_after_any_sequence_each_caller_ends_as_it_should_and_no_call_is_left(
    events: list[tuple[str, int]],
) -> None:
    async def main() -> None:
        calls: SharedCalls[int, str] = SharedCalls()
        gates: list[asyncio.Future[str]] = []
        running = 0

        async def call() -> str:
            nonlocal running
            running += 1
            gate: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            gates.append(gate)
            try:
                return await gate
            finally:
                running -= 1

        callers: list[asyncio.Task[str]] = []
        cancelled: set[asyncio.Task[str]] = set()
        for event, number in events:
            if event == "join":
                callers.append(asyncio.create_task(calls.run(number % 3, call)))
            elif event == "cancel" and callers:
                one = callers[number % len(callers)]
                if one.cancel():
                    cancelled.add(one)
            elif event == "turn":
                for _ in range(number):
                    await asyncio.sleep(0)
            elif gates:
                gate = gates[number % len(gates)]
                if not gate.done():
                    gate.set_result("answer") if event == "answer" else gate.set_exception(OSError("no"))
            assert len(calls) <= 3
        for _ in range(20):
            await asyncio.sleep(0)
            for gate in gates:
                if not gate.done():
                    gate.set_result("answer")
        for caller in callers:
            assert caller.done(), "nobody waits for ever"
            if caller.cancelled():
                assert caller in cancelled, "nobody is cancelled for another one's sake"
            elif caller.exception() is None:
                assert caller.result() == "answer"
        assert running == 0
        assert len(calls) == 0

    asyncio.run(main())


def test_a_batch_that_is_cancelled_from_within_is_a_failed_call_and_cancels_nobody_who_waits() -> None:
    async def main() -> None:
        async def call(keys: Keys) -> dict[str, int]:
            raise asyncio.CancelledError

        batcher = Batcher(call, most=10)
        waiting = [asyncio.create_task(batcher.get(key)) for key in "ab"]
        ends = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(end) for end in ends] == [CallFailedError] * 2

    asyncio.run(main())
