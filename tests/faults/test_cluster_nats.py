"""NATS that is killed, and cut off from a feed node or a gateway: told within seconds, and all of it back."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from brokerpool.cluster.nats_server import program
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import Timeout
from tests.cluster import Cluster, Size, cluster, ticking, until
from tests.one_exchange import Trader

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]

#: `make cluster` has 20,000 ticks/s and 100 clients.
SIZE = Size.of_environment(200.0, 40, 4)
#: For how long NATS is away; BROKERPOOL_TEST_NATS_AWAY=30 has it away for longer.
AWAY_SECONDS = float(os.environ.get("BROKERPOOL_TEST_NATS_AWAY", "8"))
#: What anybody may wait to be told that ticks have stopped, and to have them again.
TOLD_SECONDS = 5.0


async def told_and_back(
    stage: Cluster, clients: Sequence[Trader], broken: float, back: asyncio.Event
) -> None:
    """Fail unless clients are told of every symbol in time, and have each again in time once all is back."""

    def stale() -> bool:
        return all(
            {f["symbol"] for f in client.symbol_news("stale")} >= set(client.seen) for client in clients
        )

    await until(stale)
    told = time.monotonic() - broken
    await back.wait()
    mended = time.monotonic()
    # A tick of after the return, not one that waited somewhere.
    await until(lambda: ticking(clients, mended + 0.5))
    again = time.monotonic() - mended
    print(f"told after {told:.2f} s, everything ticks again {again:.2f} s after the return")
    assert told < TOLD_SECONDS
    assert again < TOLD_SECONDS + stage.round_seconds + 0.5


def test_nats_that_is_killed_and_started_again_loses_nothing_in_silence_and_no_client(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=SIZE.rate, symbols=SIZE.symbols, max_sockets=3) as stage:
            await stage.feed("one")
            await stage.feed("two")
            gateways = [await stage.gateway("a"), await stage.gateway("b")]
            async with stage.clients(SIZE.clients, *gateways, each=SIZE.each) as clients:
                back = asyncio.Event()
                await asyncio.to_thread(stage.nats.kill)
                checked = asyncio.create_task(told_and_back(stage, clients, time.monotonic(), back))
                await asyncio.sleep(AWAY_SECONDS)
                # Its leases ran out: nobody holds a socket of the account.
                assert stage.broker.sockets() == []
                await asyncio.to_thread(stage.nats.start)
                back.set()
                await checked
                for client in clients:
                    assert not client.ended
                    stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits()

    asyncio.run(scene())


@pytest.mark.parametrize("cut_off", ["feed", "gateway"])
def test_who_is_cut_off_from_nats_in_either_direction_or_both_is_missed_in_time_and_comes_back(
    tmp_path: Path, cut_off: str
) -> None:
    async def scene() -> None:
        async with (
            cluster(tmp_path, rate=SIZE.rate, symbols=SIZE.symbols, max_sockets=3) as stage,
            FaultProxy("127.0.0.1", stage.nats.port) as way,
        ):
            spoiled = {"BROKERPOOL_NATS_URL": f"nats://127.0.0.1:{way.port}"}
            await stage.feed("one", **(spoiled if cut_off == "feed" else {}))
            gateways = [await stage.gateway("a", **(spoiled if cut_off == "gateway" else {}))]
            gateways.append(await stage.gateway("b"))
            for streams in (["upstream"], ["downstream"], ["upstream", "downstream"]):
                async with stage.clients(SIZE.clients, *gateways, each=SIZE.each) as clients:
                    concerned = clients if cut_off == "feed" else clients[::2]
                    # What those before them gave up may be away until these have it again, which is told.
                    heard = {client: len(client.symbol_news("stale")) for client in clients}
                    back = asyncio.Event()
                    for stream in streams:
                        way.add(stream, Timeout(stream=stream))  # type: ignore[arg-type]
                    checked = asyncio.create_task(told_and_back(stage, concerned, time.monotonic(), back))
                    await asyncio.sleep(AWAY_SECONDS)
                    way.clear()
                    back.set()
                    print(f"cut off: {cut_off}, {' and '.join(streams)}")
                    await checked
                    for client in clients:
                        assert not client.ended
                        stage.nothing_is_lost_in_silence(client)
                    for client in set(clients) - set(concerned):
                        assert len(client.symbol_news("stale")) == heard[client]
            stage.keeps_its_limits()

    asyncio.run(scene())
