"""The gateway's database is stopped, frozen, slow and full while ticks flow: none of them waits for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from brokerpool.db.pool import DatabasePool
from brokerpool.db.store import Store
from brokerpool.simulator.proxy import FaultProxy
from brokerpool.simulator.toxics import Latency
from tests import processes
from tests.database import PostgresServer
from tests.faults.observer import Observer, observing, p99
from tests.rehearsal import until

#: Ticks a second over the market, and how long each state of the database is watched.
RATE, SYMBOLS = 5_000, 50
SECONDS = 3.0
#: By how much a busy machine may be later than it was just before: 10 % and these milliseconds.
SLACK_MS = 5.0


class Watch:
    """A running gateway, one observer of all its ticks, and its figures."""

    def __init__(self, http_url: str, ws_url: str, key: str, observer: Observer) -> None:
        self.http_url, self.ws_url, self.key, self.observer = http_url, ws_url, key, observer

    async def database(self) -> dict[str, Any]:
        stats = await asyncio.to_thread(processes.get, f"{self.http_url}/stats")
        return dict(stats["database"])

    async def p99(self, seconds: float = SECONDS) -> tuple[float, int]:
        """Return the p99 of the ticks' delays in ms from now on, and how many ticks came."""
        self.observer.reset()
        await asyncio.sleep(seconds)
        delays = [delay for own in self.observer.delays_ms.values() for delay in own]
        return p99(delays), self.observer.ticks

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


@asynccontextmanager
async def watching(folder: Path, url: str, gateway_url: str = "") -> AsyncIterator[Watch]:
    """Run simulator and gateway as processes on the database, with a key of it, and watch all ticks."""
    async with Store(DatabasePool(url)) as store:
        key = await store.create_key("observer")
    with (
        processes.simulator(folder, symbols=SYMBOLS, rate=RATE) as broker,
        processes.gateway(folder, DATABASE_URL=gateway_url or url) as gateway,
    ):
        rows = [*(await asyncio.to_thread(processes.listed, broker)).values()]
        ws_url = gateway.said["ws_url"]
        async with observing(ws_url, key, [rows]) as (observer,):
            await until(lambda: len(observer.last) == SYMBOLS, seconds=20)
            yield Watch(gateway.said["http_url"], ws_url, key, observer)
            assert not observer.ended


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
            for name, (begin, end) in faults.items():
                before, _ = await watch.p99()
                await asyncio.to_thread(begin)
                try:
                    meanwhile, ticks = await watch.p99()
                    let_in = await watch.authenticates()
                finally:
                    await asyncio.to_thread(end)
                took = await watch.recovered(time.monotonic())
                told.append(
                    f"database {name}: p99 {before:.1f} ms before, {meanwhile:.1f} ms meanwhile at"
                    f" {ticks / SECONDS:.0f} ticks/s; a known key let in within {let_in * 1000:.0f} ms;"
                    f" all written {took:.1f} s after its return"
                )
                assert ticks > 0.8 * RATE * SECONDS
                assert meanwhile <= before * 1.1 + SLACK_MS, told
                assert let_in < 0.5
                assert took < 5
        return told

    told = asyncio.run(main())
    with capsys.disabled():
        print("", *told, sep="\n")


def test_a_database_that_answers_after_five_seconds_costs_no_tick_and_no_client(
    postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> str:
        url = postgres.fresh_database()
        async with FaultProxy("127.0.0.1", postgres.port) as proxy:
            slow = url.replace(f":{postgres.port}/", f":{proxy.port}/")
            async with watching(tmp_path, url, slow) as watch:
                await watch.recovered(time.monotonic())
                before, _ = await watch.p99()
                proxy.add("slow", Latency(latency=5000))
                meanwhile, ticks = await watch.p99()
                let_in = await watch.authenticates()
                proxy.clear()
                took = await watch.recovered(time.monotonic())
        assert meanwhile <= before * 1.1 + SLACK_MS
        assert ticks > 0.8 * RATE * SECONDS
        assert let_in < 0.5
        assert took < 5 + 5, "answers that are on their way keep their five seconds"
        return (
            f"database 5 s away: p99 {before:.1f} ms before, {meanwhile:.1f} ms meanwhile at"
            f" {ticks / SECONDS:.0f} ticks/s; a known key let in within {let_in * 1000:.0f} ms; all written"
            f" {took:.1f} s after its return"
        )

    told = asyncio.run(main())
    with capsys.disabled():
        print(f"\n{told}")
