"""500 strategies ask for 200 symbols' quotes in one second; the broker allows one call a second."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from random import Random

from brokerpool import BrokerApi, BrokerClient, CallRefusedError, Instrument, RateLimits
from brokerpool.brokers.rest import RestLimits
from brokerpool.simulator import KiteSimulator
from tests.rehearsal import feed, instruments

STRATEGIES = 500
SYMBOLS = 200


def test_all_strategies_are_answered_by_two_calls_and_without_coalescing_hardly_any() -> None:
    async def storm(broker: KiteSimulator, api: BrokerApi) -> tuple[int, float]:
        random, wanted = Random(4), instruments(broker, SYMBOLS)
        began = time.perf_counter()

        async def strategy() -> int:
            await asyncio.sleep(random.random() * 0.8)  # some time in the same second
            if random.random() < 0.5:
                return len(await api.quotes(wanted))
            singles = await asyncio.gather(*(api.quotes([i]) for i in random.sample(wanted, 5)))
            assert all(len(single) == 1 for single in singles)
            return SYMBOLS

        answers = await asyncio.gather(*(strategy() for _ in range(STRATEGIES)))
        assert answers == [SYMBOLS] * STRATEGIES
        return int(broker.stats()["http_requests"]["/quote"]), time.perf_counter() - began

    async def alone(broker: KiteSimulator, client: BrokerClient) -> Counter[str]:
        ends: Counter[str] = Counter()

        async def strategy(instrument: Instrument) -> None:
            try:
                answer = await client.request("GET", "/quote", params={"i": str(instrument)}, group="quote")
                ends[f"answered {answer.status}"] += 1
            except CallRefusedError as error:
                ends[error.code.name] += 1

        await asyncio.gather(*(strategy(i) for i in instruments(broker, SYMBOLS) for _ in range(3)))
        return ends

    async def main() -> None:
        async with KiteSimulator(symbols=SYMBOLS, rate=0) as broker:
            account = feed(broker)
            async with BrokerApi(account.rest()) as api:
                calls, seconds = await storm(broker, api)
                stats = api.stats()
                print(
                    f"{STRATEGIES} strategies x {SYMBOLS} symbols: {calls} calls in {seconds:.1f} s,"
                    f" {stats['coalesced']} calls saved, {stats['refused']} refused"
                )
                assert calls <= 2
                assert stats["refused"] == {}
                assert broker.stats()["too_fast"] == {}
            await asyncio.sleep(1)  # the broker's window
            rest = account.rest()
            limits = RateLimits(RestLimits.load("brokerpool.brokers.zerodha").windows)
            async with BrokerClient(
                broker.http_url, name="alone", limits=limits, login=rest.login, proof=rest.proof
            ) as client:
                ends = await alone(broker, client)
                print(f"without coalescing, {3 * SYMBOLS} single calls within 5 s of waiting: {dict(ends)}")
                assert ends["answered 200"] <= 6
                assert sum(ends.values()) == 3 * SYMBOLS
                assert broker.stats()["too_fast"] == {}, "refused by us, not by the broker"

    asyncio.run(main())
