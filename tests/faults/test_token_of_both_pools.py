"""The access token dies: sockets and HTTP calls share one login, one question, and one recovery."""

from __future__ import annotations

import asyncio
import time

import pytest

from brokerpool import BrokerApi, CallRefusedError, Credentials, ErrorCode, Mode, WebSocketPool
from brokerpool.simulator import FaultOrder
from brokerpool.simulator.broker import SimulatedBroker
from brokerpool.simulator.registry import front
from tests.every_broker import BROKERS, account
from tests.rehearsal import until


def calls(broker: SimulatedBroker) -> int:
    """Return how many HTTP requests the broker has had."""
    return sum(broker.stats()["http_requests"].values())


@pytest.mark.parametrize("name", BROKERS)
def test_one_question_for_a_new_token_restores_sockets_and_calls_within_5_seconds(name: str) -> None:
    asked, dead_calls = 0, 0

    async def main() -> None:
        async with front(name)(symbols=30, rate=300, http_rates={}) as broker:

            async def provider() -> Credentials:
                nonlocal asked, dead_calls
                asked += 1
                await asyncio.sleep(0.2)
                dead_calls = calls(broker) - before
                return Credentials("next-day")

            found = await account(broker, provider)
            wanted = list(found.book)
            async with WebSocketPool(found) as pool, BrokerApi(found.rest()) as api:
                pool.subscribe(wanted, Mode.QUOTE)
                await pool.wait_live(wanted)
                assert len(await api.quotes(wanted)) == 30
                before = calls(broker)
                await broker.throw(FaultOrder(access_token="next-day"))
                sockets = broker.sockets()
                for socket in sockets:
                    broker.kill(socket["id"])
                began = time.perf_counter()
                answers = await asyncio.gather(*(api.quotes([i]) for i in wanted), api.ltp(wanted))
                calls_restored = time.perf_counter() - began
                await pool.wait_live(wanted)
                restored = time.perf_counter() - began
                assert all(answers)
                print(
                    f"{asked} question; calls answered after {calls_restored:.2f} s, all symbols live after"
                    f" {restored:.2f} s; {dead_calls} calls left with the dead token"
                )
                assert asked == 1
                assert restored < 5
                # One of each kind, and one for each dial where a dial begins with a call.
                assert dead_calls <= 2 + len(sockets), "those that were on their way"

    asyncio.run(main())


@pytest.mark.parametrize("name", BROKERS)
def test_with_a_dead_token_and_no_other_no_call_leaves_until_there_is_one(name: str) -> None:
    async def main() -> None:
        async with front(name)(symbols=5, rate=0, http_rates={}) as broker:
            found = await account(broker)
            wanted = list(found.book)
            async with BrokerApi(found.rest()) as api:
                await broker.throw(FaultOrder(access_token="next-day"))
                before = calls(broker)
                for _ in range(20):
                    with pytest.raises(Exception, match="BROKER_REFUSED_CREDENTIALS"):
                        await api.quotes(wanted)
                assert calls(broker) == before + 1
                with pytest.raises(CallRefusedError) as caught:
                    await api.ltp(wanted)
                assert caught.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
                found.login.renew(Credentials("next-day"))
                assert len(await api.quotes(wanted)) == 5
                await until(lambda: broker.stats()["http_connections"]["open"] >= 1)

    asyncio.run(main())
