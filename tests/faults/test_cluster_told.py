"""What operators of a cluster are told by gateways and feed nodes: health, alerts, panels, commands."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
import urllib.error
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from brokerpool.cluster.nats_server import program
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import Latency
from tests import processes
from tests.cluster import Cluster, cluster, ticks_on, until
from tests.faults.prometheus import (
    HOW_TO_GET_IT,
    MISSING,
    OF_CLUSTER,
    RULES,
    Prometheus,
    in_a_hurry,
    panel_queries,
    prometheus,
)
from tests.processes import Running, without_settings

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(program() is None, reason="needs the program nats-server"),
]


def reasons(url: str) -> dict[str, dict[str, Any]]:
    """Return what /health says, by code."""
    return {reason["code"]: reason for reason in processes.get(f"{url}/health")["reasons"]}


def away(url: str) -> dict[str, Any] | None:
    """Return what /health says of a bus that is away; None while it does not."""
    return reasons(url).get("bus_away")


def well(url: str) -> bool:
    """Tell whether nothing is wrong."""
    return not reasons(url) and ready(url) == 200


def ready(url: str) -> int:
    """Return the status of /health/ready."""
    try:
        processes.get(f"{url}/health/ready")
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def shown(stage: Cluster, url: str, *command: str) -> str:
    """Return what a command prints of the process at this URL."""
    environ = {"BROKERPOOL_GATEWAY_URL": url, "BROKERPOOL_GATEWAY_KEY": stage.api_key}
    ran = subprocess.run(
        [sys.executable, "-m", "brokerpool", *command],
        cwd=stage.folder,
        env={**without_settings(os.environ), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return " ".join(ran.stdout.split())


async def holds(what: Callable[[], object]) -> None:
    """Return once what is asked of other processes holds."""
    deadline = time.monotonic() + 60
    while not await asyncio.to_thread(what):
        assert time.monotonic() < deadline, "not within a minute"
        await asyncio.sleep(0.2)


def test_a_standby_whose_own_login_is_of_no_use_says_so_before_it_is_needed(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=200, symbols=20, max_sockets=3) as stage:
            holder = (await stage.feed("one")).said["status_url"]
            gateway = await stage.gateway("a")
            async with stage.clients(1, gateway):
                standby = (await stage.feed_of_yesterday("two")).said["status_url"]
                await holds(partial(well, holder))
                await holds(lambda: "standby_login" in reasons(standby))
                told = reasons(standby)["standby_login"]
                assert told["account"] == "zerodha"
                assert "this node could not take its place" in told["text"]
                assert "`brokerpool login zerodha` on this machine" in told["action"]
                assert ready(standby) == 200
                assert well(holder)
                await stage.log_in(0)
                await holds(partial(well, standby))

    asyncio.run(scene())


def test_nats_that_is_away_is_told_by_both_roles_with_since_when_and_what_to_do_and_by_top(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=200, symbols=20, max_sockets=3) as stage:
            holder = await stage.feed("one")
            gateway = await stage.gateway("a")
            standby = await stage.feed("two")
            urls = [gateway.said["http_url"], holder.said["status_url"], standby.said["status_url"]]
            async with stage.clients(2, gateway) as clients:
                for url in urls:
                    await holds(partial(well, url))
                assert f"1 of at most 3 connections carry {len(stage.symbols)} symbols" in shown(
                    stage, urls[1], "top"
                )
                assert "0 of at most 0 connections carry 0 symbols" in shown(stage, urls[2], "stats")
                told = f"zerodha is held by {holder.said['node']}"
                for url in urls:
                    assert told in shown(stage, url, "stats")
                assert "of its shards are heard, 0 of them are dark" in shown(stage, urls[0], "top")
                killed = time.time()
                await asyncio.to_thread(stage.nats.kill)
                for url, becomes in zip(urls, ("clients keep", "are closed", "are closed"), strict=True):
                    await holds(partial(away, url))
                    reason = away(url)
                    assert reason is not None
                    assert becomes in reason["text"]
                    assert "BROKERPOOL_NATS_URL" in reason["action"]
                    assert killed - 1 < reason["since"] < time.time() + 1
                    assert await asyncio.to_thread(ready, url) == 503
                    assert "bus_away" in await asyncio.to_thread(shown, stage, url, "top")
                await asyncio.to_thread(stage.nats.start)
                for url in urls:
                    await holds(partial(well, url))
                await ticks_on(clients, time.monotonic())

    asyncio.run(scene())


@pytest.mark.skipif(MISSING, reason=HOW_TO_GET_IT)
def test_each_alert_of_a_cluster_fires_under_its_fault_and_clears_and_each_panel_has_data(
    tmp_path: Path,
) -> None:
    async def scene() -> None:
        async with (
            cluster(tmp_path, rate=200, symbols=20, max_sockets=3) as stage,
            FaultProxy("127.0.0.1", stage.nats.port) as way,
        ):
            nodes = [await stage.feed("one"), await stage.feed("two")]
            gateway = await stage.gateway("a", BROKERPOOL_NATS_URL=f"nats://127.0.0.1:{way.port}")
            targets = [one.removeprefix("http://") for one in (_url(gateway), *map(_url, nodes))]
            async with stage.clients(1, gateway):
                with prometheus(tmp_path, targets[0], in_a_hurry(RULES), *targets[1:]) as watcher:
                    await fires(watcher, set())
                    await draws(watcher, {query for _, query in panel_queries(cluster=True)})
                    way.add("slow", Latency(latency=150))
                    await fires(watcher, {"BrokerpoolBusSlow"})
                    way.clear()
                    await fires(watcher, set())
                    await asyncio.to_thread(stage.nats.kill)
                    await fires(watcher, {"BrokerpoolBusAway", "BrokerpoolShardsDark"})
                    await asyncio.to_thread(stage.nats.start)
                    await fires(watcher, set())
                    await asyncio.to_thread(nodes[0].process.kill)
                    await fires(watcher, {"BrokerpoolNoStandby"})
                    await asyncio.to_thread(nodes[1].process.kill)
                    await fires(watcher, {"BrokerpoolAccountUnheld"})
                    await stage.feed("three")
                    await stage.feed("four")
                    await until(lambda: stage.carried() == len(stage.symbols))
                    await fires(watcher, set())

    asyncio.run(scene())


async def fires(watcher: Prometheus, alerts: set[str]) -> None:
    """Return once of the cluster's alerts these have fired, or none does where there are none."""
    seen: set[str] = set()

    def look() -> bool:
        now = watcher.firing() & OF_CLUSTER
        seen.update(now)
        return alerts <= seen if alerts else not now

    await holds(look)


def _url(running: Running) -> str:
    said = running.said
    return str(said["http_url"] if "http_url" in said else said["status_url"])


async def draws(watcher: Prometheus, queries: set[str]) -> None:
    """Return once each of the queries has had something to draw."""

    def look() -> bool:
        queries.difference_update([query for query in queries if watcher.query(query)])
        return not queries

    await holds(look)
