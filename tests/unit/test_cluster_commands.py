"""Promises of the commands of a cluster: `serve --workers`, `accounts`, `demo --cluster` and `feed`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from brokerpool.cluster.nats_server import program
from brokerpool.monitor.metric_vocabulary.field_descriptions import VOCABULARY
from tests import preloaded, processes
from tests.cluster import cluster, until
from tests.processes import without_settings

needs_nats = pytest.mark.skipif(program() is None, reason="needs the program nats-server")


def brokerpool(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return preloaded.run(
        [sys.executable, "-m", "brokerpool", *arguments],
        cwd=folder,
        env={**without_settings(os.environ), **environ},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def told(url: str, key: str) -> dict[str, Any]:
    answer: dict[str, Any] = processes.get(f"{url}/stats", **{"X-API-KEY": key})
    return answer


@needs_nats
def test_workers_share_the_ports_are_started_again_when_they_end_and_end_together(tmp_path: Path) -> None:
    with processes.simulator(tmp_path, symbols=30, rate=100):
        key = processes.api_key(tmp_path)
        with processes.command(
            *("serve", "--workers", "2", "--env-file", str(tmp_path / "sim.env")),
            folder=tmp_path,
            WEBSOCKET_PORT="0",
            BROKERPOOL_HTTP_PORT="0",
        ) as running:
            said = running.said
            assert len(set(said["status_urls"])) == 2
            seen = [told(url, key) for url in (*said["status_urls"], said["feed"])]
            assert [one["cluster"]["role"] for one in seen] == ["gateway", "gateway", "feed"]
            assert seen[-1]["cluster"]["gateways"] == 2
            for one in seen:
                assert [value.path for value in VOCABULARY.values(one) if value.field is None] == []
            described = {field.path for field in VOCABULARY.fields if field.path.startswith("cluster.")}
            assert described <= {value.path for value in VOCABULARY.values(seen[0])}
            assert processes.get(f"{said['http_url']}/health/live") == {"status": "live"}
            children = {int(pid) for pid in _children(running.process.pid)}
            feeds = [pid for pid in children if b"feed" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            assert len(feeds) == 1
            os.kill(feeds[0], signal.SIGKILL)
            asyncio.run(until(lambda: _alive_feed(running.process.pid, feeds[0])))
            assert running.terminate() == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _alive_feed(parent: int, killed: int) -> bool:
    others = (pid for pid in _children(parent) if int(pid) != killed)
    return any(b"feed" in Path(f"/proc/{pid}/cmdline").read_bytes() for pid in others)


@needs_nats
def test_accounts_are_shown_and_moved_to_a_node_that_can_hold_them(tmp_path: Path) -> None:
    async def scene() -> None:
        async with cluster(tmp_path, rate=100, symbols=20) as stage:
            await stage.feed("one")
            await stage.feed("two")

            async def accounts(*arguments: str) -> subprocess.CompletedProcess[str]:
                call: Callable[..., subprocess.CompletedProcess[str]] = brokerpool
                return await asyncio.to_thread(
                    lambda: call("accounts", *arguments, folder=tmp_path, BROKERPOOL_NATS_URL=stage.nats.url)
                )

            shown = await accounts()
            assert shown.returncode == 0, shown.stderr
            assert "zerodha" in shown.stdout
            assert "2 feed nodes" in shown.stdout
            moved = await accounts("move", "zerodha", "two-2")
            assert (moved.returncode, moved.stdout) == (0, "two-2 holds zerodha.\n"), moved.stderr
            wrong = await accounts("move", "zerodha", "nowhere")
            assert wrong.returncode == 1
            assert "one-1, two-2" in wrong.stderr
            assert (await accounts("release", "zerodha")).returncode == 0

    asyncio.run(scene())


@needs_nats
def test_the_demo_of_a_cluster_brings_ticks_to_both_gateways_and_ends_by_itself(tmp_path: Path) -> None:
    done = brokerpool("demo", "--cluster", "--seconds", "3", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ticks of 12 symbols arrived") == 2


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "BROKERPOOL_NATS_URL is not set"),
        ({"BROKERPOOL_NATS_URL": "nats://127.0.0.1:1"}, "BROKERPOOL_BROKER_API_KEY is not set"),
        ({"BROKERPOOL_NATS_URL": "http://127.0.0.1:1"}, "BROKERPOOL_NATS_URL"),
    ],
)
def test_a_feed_node_says_which_setting_it_lacks_and_starts_nothing(
    environ: dict[str, str], said: str, tmp_path: Path
) -> None:
    given = {"BROKERPOOL_BROKER_API_KEY": "key"} if not environ else {}
    done = brokerpool("feed", folder=tmp_path, **environ, **given)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stdout == ""


def test_a_gateway_of_a_cluster_ends_with_the_reason_where_no_nats_server_answers(tmp_path: Path) -> None:
    settings = {"BROKERPOOL_NATS_URL": "nats://127.0.0.1:1", "BROKERPOOL_API_KEY": "0123456789abcdef"}
    done = brokerpool("serve", folder=tmp_path, **settings)
    assert done.returncode == 1
    assert "BUS_UNREACHABLE: No NATS server at 127.0.0.1:1" in done.stderr
    assert done.stdout == ""
