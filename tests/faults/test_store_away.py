"""While the database is away nobody waits for it; what is revoked elsewhere ends here within a second."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from brokerpool.db.pool import DatabasePool
from brokerpool.instruments import Instrument
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import new_key
from brokerpool.ticks import Mode
from tests.measuring import turns
from tests.postgres import DIALECTS, administer, database
from tests.rehearsal import until

BOUND = 10_000
WRONG_KEYS = 100_000


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


@contextmanager
def away(url: str) -> Iterator[None]:
    """Take the database away: a server ends all connections and takes no new ones, a file is locked."""
    if url.startswith("sqlite"):
        conn = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")
        conn.close()
        return
    name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
    administer(
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
    )
    yield
    administer(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")


def test_an_outage_costs_no_authentication_and_no_turn_and_ends_with_all_that_waited_written(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with Store(DatabasePool(url)) as store:
            text = await store.create_key("strategy")
            async with turns() as hold:
                with away(url):
                    for n in range(BOUND + 2_000):
                        store.note_statistics({"n": n})
                        if n % 100 == 0:
                            assert store.check_key(text) is not None
                            await asyncio.sleep(0)
                    store.save_demand("zerodha", {Instrument("NSE", "INFY"): Mode.LTP})
                    if url.startswith("postgresql"):
                        await until(lambda: store.stats()["away"] and store.stats()["writer"]["failures"])
                    assert store.check_key(text) is not None, "known keys stay valid"
                    assert store.stats()["writer"]["dropped"] == {"pool_statistics": 2_000}
                    assert store.stats()["writer"]["written"] == 0
                began = time.perf_counter()
                await until(lambda: store.stats()["writer"]["queued"] == 0, seconds=30)
                took = time.perf_counter() - began
            print(
                f"2000 of {BOUND + 2_000} dropped and counted, the rest written {took:.1f} s after the"
                f" return; the loop was held up for {hold.seconds * 1000:.0f} ms at worst"
            )
            assert hold.seconds < 0.1
            kept = await store.history("pool_statistics", limit=BOUND * 2)
            assert [row["statistics"]["n"] for row in kept] == list(range(BOUND)), "in order, and once each"
            assert await store.saved_demand("zerodha") == {Instrument("NSE", "INFY"): Mode.LTP}
            assert (await store.list_keys())[0].last_used_ms is not None
            await until(lambda: not store.stats()["away"])
            await store.create_key("after the outage")

    with caplog.at_level(logging.INFO):
        asyncio.run(main())
    if url.startswith("postgresql"):
        assert caplog.text.count("the database takes no entries") == 1
        assert caplog.text.count("the database takes entries again") == 1


async def revoked_after(gateway: Store, command: Store, name: str) -> float:
    """Return how many seconds the gateway took to notice that the other one revoked a key."""
    text = await command.create_key(name)
    await until(lambda: gateway.check_key(text))
    key = gateway.check_key(text)
    assert key is not None
    gone: list[frozenset[int]] = []
    gateway.keys.watch(gone.append)
    began = time.perf_counter()
    await command.revoke_key(name)
    await until(lambda: gone)
    took = time.perf_counter() - began
    gateway.keys.unwatch(gone.append)
    assert gone == [{key.id}]
    assert gateway.check_key(text) is None
    return took


@pytest.mark.alone
def test_a_revocation_elsewhere_holds_within_a_second_and_is_told_to_those_who_watch(url: str) -> None:
    async def main() -> None:
        async with Store(DatabasePool(url)) as gateway, Store(DatabasePool(url)) as command:
            worst = max([await revoked_after(gateway, command, name) for name in ("one", "two", "three")])
        print(f"revoked through another store, without effect after {worst * 1000:.0f} ms at worst")
        assert worst < 1.0

    asyncio.run(main())


def test_a_hundred_thousand_wrong_keys_reach_no_database(url: str) -> None:
    statements: list[object] = []

    def executed(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        statements.append(statement)

    async def main() -> float:
        async with Store(DatabasePool(url)) as store:
            await store.create_key("strategy")
            wrong = [new_key() for _ in range(WRONG_KEYS)]
            event.listen(Engine, "before_cursor_execute", executed)
            try:
                began = time.process_time()
                assert not any(store.check_key(text) for text in wrong)
                spent = time.process_time() - began
                assert store.stats()["writer"]["queued"] == 0
                return spent
            finally:
                event.remove(Engine, "before_cursor_execute", executed)

    spent = asyncio.run(main())
    print(f"{WRONG_KEYS} wrong keys: {spent:.2f} s of CPU and {len(statements)} statements")
    assert statements == []
    assert spent < 2
