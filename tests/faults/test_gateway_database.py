"""The gateway's database is stopped, frozen, slow and full while ticks flow: none of them waits for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest

from brokerpool.db.pool import DatabasePool
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import Latency
from brokerpool.store.gateway_store import Store
from tests import processes
from tests.database import PostgresServer
from tests.faults.observer import Observer, observing, p99
from tests.rehearsal import until

RATE, SYMBOLS = 20_000, 200
#: The ticks' delays are taken in windows of so many seconds, of which the best counts: what others do on the
#: machine spoils some of them, and a gateway that waits for its database would spoil all.
WINDOWS, MOST_WINDOWS, SECONDS = 3, 18, 0.4
#: By how much they may be later than before: 10 % and these milliseconds.
SLACK_MS = 4.0
#: The longest time for which no tick of some symbol may come: a single wait would show in it.
PAUSE_SECONDS = 1.0


class Figures(NamedTuple):
    """How ticks arrived: p99 of their delays in the best window, longest pause, ticks a second."""

    p99_ms: float
    pause: float
    rate: float


class Watch:
    """A running gateway, one observer of all its ticks, and its figures."""

    def __init__(self, http_url: str, ws_url: str, key: str, observer: Observer) -> None:
        self.http_url, self.ws_url, self.key, self.observer = http_url, ws_url, key, observer

    async def database(self) -> dict[str, Any]:
        stats = await asyncio.to_thread(processes.get, f"{self.http_url}/stats")
        return dict(stats["database"])

    async def figures(self, bound: float = math.inf) -> Figures:
        """Watch the ticks from now on, longer than usual if no window's p99 is within the bound in ms."""
        windows: list[float] = []
        pauses, ticks = [], 0
        while len(windows) < WINDOWS or (len(windows) < MOST_WINDOWS and min(windows) > bound):
            self.observer.reset()
            await asyncio.sleep(SECONDS)
            windows.append(p99([d for own in self.observer.delays_ms.values() for d in own]))
            pauses.append(max(self.observer.pauses.values()))
            ticks += self.observer.ticks
        return Figures(min(windows), max(pauses), ticks / (len(windows) * SECONDS))

    async def authenticates(self) -> float:
        """Return the seconds in which a client of a stored key is let in."""
        before = time.perf_counter()
        async with observing(self.ws_url, self.key, [[]]) as (client,):
            await until(lambda: client.news)
            assert client.news[0]["status"] == "success"
            return time.perf_counter() - before

    async def recovered(self, since: float) -> float:
        """Return how many seconds after `since` everything that waited was written and keys are read."""
        while True:
            figures = await self.database()
            if not figures["away"] and not figures["writer"]["queued"]:
                return time.monotonic() - since
            assert time.monotonic() - since < 10
            await asyncio.sleep(0.02)


def bound(before: Figures) -> float:
    """Return the highest p99 that is no change, in ms."""
    return before.p99_ms * 1.1 + SLACK_MS


def judged(name: str, before: Figures, meanwhile: Figures, let_in: float, took: float) -> str:
    """Fail for a gateway that waited for its database; return the figures."""
    told = (
        f"database {name}: p99 {before.p99_ms:.1f} ms before, {meanwhile.p99_ms:.1f} ms meanwhile at"
        f" {meanwhile.rate:.0f} ticks/s, longest pause {meanwhile.pause:.2f} s; a known key let in within"
        f" {let_in * 1000:.0f} ms; all written {took:.1f} s after its return"
    )
    assert meanwhile.p99_ms <= bound(before), told
    assert meanwhile.pause < PAUSE_SECONDS, told
    assert meanwhile.rate > 0.8 * before.rate, told
    assert let_in < 0.5, told
    return told


@asynccontextmanager
async def watching(folder: Path, url: str, gateway_url: str = "") -> AsyncIterator[Watch]:
    """Run simulator and gateway as processes on the database, with a key of it, and watch all ticks."""
    async with Store(DatabasePool(url)) as store:
        key = await store.create_key("observer")
    with ExitStack() as stack:
        broker = stack.enter_context(processes.simulator(folder, symbols=SYMBOLS, rate=RATE))
        starting = processes.gateway(folder, DATABASE_URL=gateway_url or url)
        # In a thread: a proxy in front of the database runs in this one.
        gateway = await asyncio.to_thread(stack.enter_context, starting)
        rows = [*(await asyncio.to_thread(processes.listed, broker)).values()]
        ws_url = gateway.said["ws_url"]
        async with observing(ws_url, key, [rows]) as (observer,):
            await until(lambda: len(observer.last) == SYMBOLS, seconds=20)
            yield Watch(gateway.said["http_url"], ws_url, key, observer)
            assert not observer.ended


@pytest.mark.alone
def test_a_database_that_is_stopped_frozen_or_held_by_others_costs_no_tick_and_no_client(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    held: list[psycopg.Connection[Any]] = []

    def hold() -> None:
        """Take every connection that the server gives."""
        try:
            while True:
                held.append(psycopg.connect(postgres.url, connect_timeout=2))
        except psycopg.OperationalError:
            assert len(held) > 20

    def let_go() -> None:
        for connection in held:
            connection.close()

    faults: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "stopped": (postgres.stop, postgres.start),
        "frozen": (postgres.freeze, postgres.thaw),
        "held by others": (hold, let_go),
    }

    async def main() -> list[str]:
        told = []
        async with watching(tmp_path, postgres.fresh_database()) as watch:
            await watch.recovered(time.monotonic())
            before = await watch.figures()
            for name, (begin, end) in faults.items():
                await asyncio.to_thread(begin)
                try:
                    meanwhile = await watch.figures(bound(before))
                    let_in = await watch.authenticates()
                    queued = (await watch.database())["writer"]["queued"]
                    # Connections that it holds already go on working when others take all the rest.
                    assert queued or name == "held by others", "the use of the key waits"
                finally:
                    await asyncio.to_thread(end)
                took = await watch.recovered(time.monotonic())
                told.append(judged(name, before, meanwhile, let_in, took))
                assert took < 5
        return told

    told = asyncio.run(main())
    with capsys.disabled():
        print("", *told, sep="\n")


@pytest.mark.alone
def test_a_database_that_answers_after_five_seconds_costs_no_tick_and_no_client(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> str:
        url = postgres.fresh_database()
        async with FaultProxy("127.0.0.1", postgres.port) as proxy:
            slow = url.replace(f":{postgres.port}/", f":{proxy.port}/")
            async with watching(tmp_path, url, slow) as watch:
                await watch.recovered(time.monotonic())
                before = await watch.figures()
                proxy.add("slow", Latency(latency=5000))
                meanwhile = await watch.figures(bound(before))
                let_in = await watch.authenticates()
                assert (await watch.database())["writer"]["queued"], "the use of the key waits"
                proxy.clear()
                took = await watch.recovered(time.monotonic())
        assert took < 5
        return judged("5 s away", before, meanwhile, let_in, took)

    told = asyncio.run(main())
    with capsys.disabled():
        print(f"\n{told}")


def test_a_gateway_whose_database_hangs_stops_in_time_and_with_exit_code_0(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.fresh_database()
    with (
        processes.simulator(tmp_path, symbols=5, rate=50),
        processes.gateway(tmp_path, DATABASE_URL=url) as gateway,
    ):

        async def use_a_key() -> None:
            async with observing(gateway.said["ws_url"], processes.api_key(tmp_path), [[]]) as (client,):
                await until(lambda: client.news)

        postgres.freeze()
        try:
            asyncio.run(use_a_key())
            began = time.monotonic()
            assert gateway.terminate() == 0
            took = time.monotonic() - began
        finally:
            postgres.thaw()
    with capsys.disabled():
        print(f"\nstopped in {took:.1f} s with a database that hangs")
    assert took < 10
