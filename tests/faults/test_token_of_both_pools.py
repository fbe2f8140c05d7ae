"""The access token dies: sockets and HTTP calls share one login, one question, and one recovery."""

from __future__ import annotations

import asyncio
import time

import pytest

from brokerpool import BrokerApi, CallRefusedError, Credentials, ErrorCode, Mode, WebSocketPool, ZerodhaFeed
from brokerpool.simulator import FaultOrder, KiteSimulator
from tests.rehearsal import feed, instruments, until


def test_one_question_for_a_new_token_restores_sockets_and_calls_within_5_seconds() -> None:
    asked = 0

    async def main() -> None:
        async with KiteSimulator(symbols=30, rate=300, http_rates={}) as broker:
            wanted = instruments(broker)

            async def provider() -> Credentials:
                nonlocal asked
                asked += 1
                await asyncio.sleep(0.2)
                return Credentials("next-day")

            known = feed(broker)
            account = ZerodhaFeed(
                broker.api_key,
                broker.access_token,
                ws_url=broker.ws_url,
                http_url=broker.http_url,
                book=known.book,
                limits=known.limits,
                provider=provider,
            )
            async with WebSocketPool(account) as pool, BrokerApi(account.rest()) as api:
                pool.subscribe(wanted, Mode.QUOTE)
                await pool.wait_live(wanted)
                assert len(await api.quotes(wanted)) == 30
                before = dict(broker.stats()["http_answers"])
                await broker.throw(FaultOrder(access_token="next-day"))
                for socket in broker.sockets():
                    broker.kill(socket["id"])
                began = time.perf_counter()
                answers = await asyncio.gather(*(api.quotes([i]) for i in wanted), api.ltp(wanted))
                calls_restored = time.perf_counter() - began
                await pool.wait_live(wanted)
                restored = time.perf_counter() - began
                assert all(answers)
                refused = broker.stats()["http_answers"].get("403", 0) - before.get("403", 0)
                print(
                    f"{asked} question; calls answered after {calls_restored:.2f} s, all symbols live after"
                    f" {restored:.2f} s; {refused} calls left with the dead token"
                )
                assert asked == 1
                assert restored < 5
                assert refused <= 2, "those that were on their way"

    asyncio.run(main())


def test_with_a_dead_token_and_no_other_no_call_leaves_until_there_is_one() -> None:
    async def main() -> None:
        async with KiteSimulator(symbols=5, rate=0, http_rates={}) as broker:
            account, wanted = feed(broker), instruments(broker)
            async with BrokerApi(account.rest()) as api:
                await broker.throw(FaultOrder(access_token="next-day"))
                for _ in range(20):
                    with pytest.raises(Exception, match="BROKER_REFUSED_CREDENTIALS"):
                        await api.quotes(wanted)
                assert broker.stats()["http_requests"]["/quote"] == 1
                with pytest.raises(CallRefusedError) as caught:
                    await api.ltp(wanted)
                assert caught.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
                account.login.renew(Credentials("next-day"))
                assert len(await api.quotes(wanted)) == 5
                await until(lambda: broker.stats()["http_connections"]["open"] >= 1)

    asyncio.run(main())
