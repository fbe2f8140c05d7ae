"""A gateway that is killed: its clients go on at another one, and what it alone wanted is given up."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from brokerpool.cluster.durations import Timing
from brokerpool.cluster.nats_server import program
from tests.cluster import cluster, ticking, until

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]


def test_a_killed_gateway_takes_its_demand_with_it_after_its_time_to_live_and_nothing_of_others(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=200, symbols=40, max_sockets=3) as stage:
            await stage.feed("one", BROKERPOOL_LINGER_SECONDS="1")
            first, second = await stage.gateway("a"), await stage.gateway("b")
            own, shared = stage.symbols[:10], stage.symbols[10:20]
            async with stage.clients(2, second, symbols=shared) as staying:
                async with stage.clients(2, first, symbols=[*own, *shared]) as leaving:
                    assert stage.carried() == 20
                    first.process.kill()
                    killed = time.monotonic()
                    await until(lambda: all(client.ended for client in leaving), 5)
                # They come back to the other one, as their programs do, and want a part of it again.
                async with stage.clients(2, second, symbols=own[:5]) as again:
                    await until(lambda: stage.carried() == 15)
                    given_up = time.monotonic() - killed
                    print(f"its demand is gone from the broker {given_up:.2f} s after the kill")
                    assert given_up < Timing().gateway_life + 5
                    await until(lambda: ticking([*staying, *again], killed + given_up))
                    for client in (*staying, *again):
                        assert client.symbol_news("gap") == []
                        stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits()

    asyncio.run(scene())
