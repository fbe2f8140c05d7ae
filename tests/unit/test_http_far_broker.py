"""A broker 50 ms away each way: what a warm connection saves, in round trips."""

from __future__ import annotations

import asyncio
import math
import statistics
import time

import pytest

from brokerpool import BrokerClient
from tests.http_server import AUTHORITY, SERVER_TLS, DelayProxy, ScriptedBroker

pytestmark = pytest.mark.alone


ROUND_TRIP = 0.1


@pytest.mark.parametrize(("tls", "cold_trips"), [(True, 3), (False, 2)])
def test_a_cold_call_takes_three_round_trips_and_a_warm_one_a_single_one(tls: bool, cold_trips: int) -> None:
    async def main() -> tuple[float, float, float, float]:
        async with (
            ScriptedBroker(SERVER_TLS if tls else None) as broker,
            DelayProxy(broker.port, ROUND_TRIP / 2) as proxy,
        ):
            scheme = "https" if tls else "http"

            async def timed(client: BrokerClient) -> float:
                began = time.perf_counter()
                await client.request("GET", "/quote")
                return time.perf_counter() - began

            url = f"{scheme}://127.0.0.1:{proxy.port}"
            # The quickest of a few: what a busy machine adds is not the network's.
            cold = reused = together = first = math.inf
            for _ in range(3):
                async with BrokerClient(url, name="cold", ssl_context=AUTHORITY.trusted()) as client:
                    cold = min(cold, await timed(client))
                    reused = min(reused, await timed(client))
                async with BrokerClient(
                    url, name="warm", pool_maxsize=10, ssl_context=AUTHORITY.trusted()
                ) as client:
                    before = broker.accepted
                    began = time.perf_counter()
                    assert await client.warm_up() == 10
                    together = min(together, time.perf_counter() - began)
                    assert broker.accepted - before == 10
                    calls = await asyncio.gather(*(timed(client) for _ in range(10)))
                    first = min(first, statistics.median(calls))
                    assert broker.accepted - before == 10
            return cold, reused, together, first

    cold, reused, together, first = (seconds / ROUND_TRIP for seconds in asyncio.run(main()))
    told = f"round trips: cold {cold:.2f}, reused {reused:.2f}"
    print(f"{told}, ten warmed up {together:.2f}, first after that {first:.2f}")
    assert cold == pytest.approx(cold_trips, abs=0.5)
    assert reused == pytest.approx(1, abs=0.4)
    assert together < 2 * cold_trips, "all at the same time"
    assert first == pytest.approx(1, abs=0.5)
