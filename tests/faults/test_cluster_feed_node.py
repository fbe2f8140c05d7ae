"""Feed nodes that are killed, stopped and replaced: told gaps, no lost client, and no limit exceeded."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from brokerpool.cluster.nats_server import program
from brokerpool.cluster.timing import Timing
from tests.cluster import cluster, ended, gapped, ticking, until

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]

#: Ticks a second and clients; `make cluster` has 20,000 and 100.
RATE = float(os.environ.get("BROKERPOOL_TEST_CLUSTER_TICKS", "500"))
CLIENTS = int(os.environ.get("BROKERPOOL_TEST_CLUSTER_CLIENTS", "6"))
SYMBOLS = int(os.environ.get("BROKERPOOL_TEST_CLUSTER_SYMBOLS", "60"))


def test_a_killed_feed_node_is_replaced_within_five_seconds_and_each_client_is_told_one_gap_a_symbol(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, symbols=SYMBOLS, max_sockets=3) as stage:
            first = await stage.feed("one")
            gateways = [await stage.gateway("a"), await stage.gateway("b")]
            await stage.feed("two")
            async with stage.clients(CLIENTS, *gateways) as clients:
                first.process.kill()
                killed = time.monotonic()
                await until(lambda: ticking(clients, killed + 1.0))
                again = max(
                    next(one.at for one in seen if one.at > killed + 1.0)
                    for client in clients
                    for seen in client.seen.values()
                )
                print(f"every symbol ticks again {again - killed:.2f} s after the kill")
                assert again - killed < 5.0 + stage.round_seconds
                await until(lambda: all(len(gapped(client)) >= len(client.seen) for client in clients))
                for client in clients:
                    assert not client.ended
                    assert gapped(client) == sorted(client.seen)
                    stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits()

    asyncio.run(scene())


def test_a_holder_that_stood_still_for_three_leases_closes_before_it_sends_anything(tmp_path: Path) -> None:
    async def scene() -> None:
        # As many sockets as the account may have: the two holders together would be above the limit.
        async with cluster(tmp_path, rate=RATE, symbols=SYMBOLS, max_sockets=3) as stage:
            each = {"MAX_SYMBOLS_PER_WEBSOCKET": str(SYMBOLS // 3 + 1)}
            first = await stage.feed("one", **each)
            gateway = await stage.gateway("a")
            await stage.feed("two", **each)
            async with stage.clients(CLIENTS, gateway) as clients:
                os.kill(first.process.pid, signal.SIGSTOP)
                stopped = time.monotonic()
                await asyncio.sleep(3 * Timing().lease)
                messages = stage.broker.stats()["control_messages"]
                os.kill(first.process.pid, signal.SIGCONT)
                await until(lambda: ticking(clients, stopped + 3 * Timing().lease + 1))
                await asyncio.sleep(Timing().lease)
                # What the successor had to send it has sent; the one that woke up sent nothing.
                assert stage.broker.stats()["control_messages"] == messages
                for client in clients:
                    stage.nothing_is_lost_in_silence(client)
            stage.keeps_its_limits()

    asyncio.run(scene())


@pytest.mark.parametrize("spare", [True, False], ids=["with sockets to spare", "without"])
def test_a_rolling_upgrade_loses_nothing_where_there_is_a_socket_to_spare(
    tmp_path: Path, spare: bool
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=RATE, symbols=SYMBOLS, max_sockets=3) as stage:
            each = {"MAX_SYMBOLS_PER_WEBSOCKET": "1000" if spare else str(SYMBOLS // 3 + 1)}
            nodes = [await stage.feed("one", **each), await stage.feed("two", **each)]
            gateway = await stage.gateway("a")
            async with stage.clients(CLIENTS, gateway) as clients:
                for node in nodes:
                    await stage.feed("next", **each)
                    began = time.monotonic()
                    assert await ended(node) == 0
                    await until(lambda began=began: ticking(clients, began + 1.0))
                    print(f"handed over in {time.monotonic() - began:.2f} s")
                for client in clients:
                    assert not client.ended
                    stage.nothing_is_lost_in_silence(client)
                    told = gapped(client)
                    assert told == ([] if spare else sorted(client.seen)), told
            stage.keeps_its_limits()

    asyncio.run(scene())
