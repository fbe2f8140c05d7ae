"""The whole gateway is killed amid its writes: its store opens clean, and its demand comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from brokerpool.db.pool import DatabasePool
from brokerpool.store.gateway_store import Store
from tests import preloaded, processes
from tests.faults.observer import observing
from tests.postgres import DIALECTS, database
from tests.rehearsal import until

SYMBOLS = 200
#: How often it is killed; what is special about a database shows at the first time.
ROUNDS = {"sqlite": 2, "postgresql": 1}
BROKER = "zerodha"


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


def command(folder: Path, url: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command on the gateway's database, as an operator does beside it."""
    return preloaded.run(
        [sys.executable, "-m", "brokerpool", *words, "--env-file", str(folder / "sim.env")],
        cwd=folder,
        env=os.environ | {"DATABASE_URL": url},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def subscribed(control: str) -> set[int]:
    """Return the tokens that the simulator has subscriptions for, on whatever socket."""
    sockets: list[dict[str, Any]] = processes.get(f"{control}/sockets")
    return {int(token) for socket in sockets for token in socket["tokens"]}


async def written(url: str) -> tuple[int, int]:
    """Return how many symbols of the demand are kept, and how many entries of the journal."""
    async with Store(DatabasePool(url)) as store:
        return len(await store.saved_demand(BROKER)), len(await store.history("journal", limit=100_000))


async def let_in(ws_url: str, key: str) -> None:
    """Return once the gateway knows a key that another process has made, which is within a second."""
    deadline = time.monotonic() + 2
    while True:
        async with observing(ws_url, key, [[]]) as (client,):
            await until(lambda: client.news or client.ended)
            if client.news and client.news[0]["status"] == "success":
                return
        assert time.monotonic() < deadline, "a new key opens"
        await asyncio.sleep(0.05)


async def killed_while_it_writes(gateway: processes.Running, control: str, client: Any, after: float) -> None:
    """Give the gateway much to write, by killing its sockets, and kill it after so many seconds of that."""
    end = time.monotonic() + after
    while time.monotonic() < end:
        for socket in await asyncio.to_thread(processes.get, f"{control}/sockets"):
            with contextlib.suppress(OSError):  # gone already
                await asyncio.to_thread(processes.post, f"{control}/sockets/{socket['id']}/kill")
        await asyncio.sleep(0.05)
    gateway.process.kill()
    await asyncio.to_thread(gateway.process.wait, 10)
    await until(lambda: client.ended)


def test_a_gateway_that_is_killed_loses_nothing_acknowledged_and_restores_its_demand_before_its_clients(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rounds = ROUNDS[url.partition("+")[0].partition(":")[0]]
    random = Random(17)
    told: list[str] = []
    valid: dict[str, str] = {}
    revoked: dict[str, str] = {}
    entries = 0

    with processes.simulator(tmp_path, symbols=SYMBOLS, rate=1000) as broker:
        control = broker.said["control_url"]
        rows = [*processes.listed(broker).values()]

        async def turn(gateway: processes.Running, restored: float | None) -> int:
            name = f"client {len(told)}"
            key = await asyncio.to_thread(command, tmp_path, url, "keys", "create", name)
            assert key.returncode == 0, key.stderr
            valid[name] = key.stdout.strip()
            if len(valid) > 1:
                gone = next(iter(valid))
                ended = await asyncio.to_thread(command, tmp_path, url, "keys", "revoke", gone)
                assert ended.returncode == 0, ended.stderr
                revoked[gone] = valid.pop(gone)
            await let_in(gateway.said["ws_url"], valid[name])
            async with observing(gateway.said["ws_url"], valid[name], [rows]) as (client,):
                await until(lambda: len(client.last) == SYMBOLS, seconds=20)
                deadline = time.monotonic() + 20
                while (kept := await written(url))[0] < SYMBOLS:
                    assert time.monotonic() < deadline, f"the demand is kept within seconds: {kept}"
                    await asyncio.sleep(0.1)
                await killed_while_it_writes(gateway, control, client, random.uniform(0.3, 1.5))
            check = await asyncio.to_thread(command, tmp_path, url, "db", "check")
            assert check.returncode == 0, check.stdout + check.stderr
            symbols, after = await written(url)
            assert symbols == SYMBOLS, "what was kept of the demand is still there"
            assert after >= kept[1], "no entry of the journal that was there is gone"
            told.append(f"{after - kept[1]} entries in the last moments, demand back after {restored}")
            return after

        for number in range(rounds + 1):
            with processes.gateway(tmp_path, DATABASE_URL=url) as gateway:
                restored = None
                if number:
                    began = time.monotonic()
                    while len(subscribed(control)) < SYMBOLS:
                        assert time.monotonic() - began < 10, "subscribed again before a client is back"
                        time.sleep(0.02)
                    restored = round(time.monotonic() - began, 2)
                if number < rounds:
                    entries = asyncio.run(turn(gateway, restored))
        assert entries

    async def keys() -> None:
        async with Store(DatabasePool(url)) as store:
            assert all(store.check_key(text) for text in valid.values())
            assert not any(store.check_key(text) for text in revoked.values())

    asyncio.run(keys())
    with capsys.disabled():
        print(f"\n{rounds} kills, {json.dumps(told)}")
