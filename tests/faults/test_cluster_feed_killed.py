"""A cluster whose feed nodes are killed, stopped and replaced: told gaps, no lost client, no limit exceeded."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from brokerpool.cluster.nats_server import program
from tests.cluster import Cluster, cluster, until
from tests.processes import Running
from tests.twin_brokers import Trader, trader

pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(400),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]

#: More with BROKERPOOL_TEST_CLUSTER_TICKS=20000 BROKERPOOL_TEST_CLUSTER_CLIENTS=100, as the figures of the docs.
TICKS = int(os.environ.get("BROKERPOOL_TEST_CLUSTER_TICKS", "500"))
CLIENTS = int(os.environ.get("BROKERPOOL_TEST_CLUSTER_CLIENTS", "8"))
SYMBOLS = 60


@asynccontextmanager
async def served(
    gateways: Sequence[Running], key: str, symbols: Sequence[str]
) -> AsyncIterator[list[Trader]]:
    """Give clients, evenly over the gateways, to each of which every symbol ticks."""
    async with AsyncExitStack() as until_end:
        clients = [
            await until_end.enter_async_context(trader(gateways[number % len(gateways)].said["ws_url"], key))
            for number in range(CLIENTS)
        ]
        for client in clients:
            said = await client.subscribe(symbols)
            assert said["status"] == "success", said
        await until(lambda: all(len(client.seen) == len(symbols) for client in clients))
        yield clients


async def symbols_of(stage: Cluster) -> list[str]:
    """Return the shares that the broker lists."""
    return await asyncio.to_thread(stage.symbols)


def test_a_feed_node_that_is_killed_is_replaced_and_every_client_is_told_one_gap_a_symbol(
    tmp_path: Path,
) -> None:
    with cluster(tmp_path, symbols=SYMBOLS, rate=TICKS) as stage:
        first = stage.feed("one")
        gateways = [stage.gateway("a"), stage.gateway("b")]
        stage.feed("two")

        async def scene() -> None:
            symbols = await symbols_of(stage)
            async with served(gateways, stage.api_key, symbols) as clients:
                before = {id(c): {s: seen[-1].volume for s, seen in c.seen.items()} for c in clients}
                first.process.kill()
                killed = time.monotonic()
                await until(
                    lambda: all(
                        client.seen[symbol][-1].at > killed + 1 for client in clients for symbol in symbols
                    )
                )
                back = max(
                    next(seen.at for seen in client.seen[symbol] if seen.at > killed + 0.5)
                    for client in clients
                    for symbol in symbols
                )
                print(f"every symbol ticks again {back - killed:.2f} s after the kill")
                assert back - killed < 5.0 + SYMBOLS / TICKS
                await until(lambda: all(gaps(client, symbols) for client in clients))
                for client in clients:
                    assert not client.ended
                    one_gap_each(client, symbols, before[id(client)])

        asyncio.run(scene())
        keeps_limits(stage)


def gaps(client: Trader, symbols: Sequence[str]) -> bool:
    """Tell whether the client was told of a gap in each symbol that is over."""
    return {frame["symbol"] for frame in client.symbol_news("gap")} >= set(symbols)


def one_gap_each(client: Trader, symbols: Sequence[str], before: dict[str, int]) -> None:
    told = [frame["symbol"] for frame in client.symbol_news("gap")]
    assert sorted(told) == sorted(symbols)
    for symbol in symbols:
        volumes = [seen.volume for seen in client.seen[symbol]]
        assert volumes == sorted(set(volumes)), f"{symbol} came twice or out of order"


def keeps_limits(stage: Cluster) -> None:
    """Fail when the broker was ever asked for more than an account may have."""
    seen = stage.broker_stats()
    assert seen["violations"] == {"tokens": 0, "sockets": 0}, seen
    assert seen["peak_sockets"] <= 3
    assert seen["malformed_requests"] == 0
    assert seen["refusals"] == {}
