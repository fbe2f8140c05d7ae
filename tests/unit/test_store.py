"""Promises of the store, over SQLite and PostgreSQL: what goes in comes out, and no secret is readable."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from brokerpool.brokers.login import Credentials, Login
from brokerpool.db.pool import DatabasePool
from brokerpool.errors import ErrorCode, StoreError
from brokerpool.event_journal import Event, Journal
from brokerpool.instruments import Instrument
from brokerpool.store import history_rows, key_rows, logins
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Key, Scope
from brokerpool.store.write_backlog import Batch, Row
from brokerpool.ticks import Mode
from tests.postgres import DIALECTS, database
from tests.postgres_programs import PROGRAMS
from tests.rehearsal import until

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="
TOKEN = "access-token-0123456789"
INFY, TCS = Instrument("NSE", "INFY"), Instrument("NSE", "TCS")
DAY = 86_400


@pytest.fixture(params=DIALECTS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with database(request.param, tmp_path) as url:
        yield url


class WallClock:
    """A wall clock that tests move."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now


def opened(url: str, **options: Any) -> Store:
    return Store(DatabasePool(url), secret_keys=SECRET_KEY, **options)


async def refusal(call: Coroutine[Any, Any, object]) -> ErrorCode:
    with pytest.raises(StoreError) as refused:
        await call
    return refused.value.code


def test_a_key_is_valid_from_its_making_to_its_revocation(url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            text = await store.create_key("strategy", [Scope.DATA, Scope.ORDERS])
            key = store.check_key(text)
            assert key is not None
            assert key.name == "strategy"
            assert key.scopes == {Scope.DATA, Scope.ORDERS}
            assert await refusal(store.create_key("strategy")) is ErrorCode.KEY_NAME_TAKEN
        async with opened(url) as store:
            assert store.check_key(text) is not None
            await store.revoke_key("strategy")
            assert store.check_key(text) is None
            assert await refusal(store.revoke_key("strategy")) is ErrorCode.KEY_NOT_FOUND
            again = await store.create_key("strategy")
            assert again != text
        async with opened(url) as store:
            assert store.check_key(text) is None
            assert store.check_key(again) is not None
            assert [key.revoked_ms is None for key in await store.list_keys()] == [False, True]

    asyncio.run(main())


@pytest.mark.parametrize("name", ["", " ", "x" * 65, "two\nlines", "nul\0"])
def test_a_name_that_nobody_could_read_is_refused(name: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with opened(f"sqlite:///{tmp_path / 'store.db'}") as store:
            with pytest.raises(ValueError, match="1 to 64 printable"):
                await store.create_key(name)

    asyncio.run(main())


def test_the_last_use_of_a_key_is_written_soon_and_never_goes_back(url: str) -> None:
    clock = WallClock()

    async def main() -> None:
        async with opened(url, wall_clock=clock) as store:
            text = await store.create_key("strategy")
            for _ in range(1000):
                clock.now += 1
                store.check_key(text)
            assert store.stats()["writer"]["queued"] <= 1
            last = clock.now
        clock.now = last - 500
        async with opened(url, wall_clock=clock) as store:
            store.check_key(text)
        async with opened(url) as store:
            assert [key.last_used_ms for key in await store.list_keys()] == [int(last * 1000)]

    asyncio.run(main())


def test_each_login_has_a_higher_version_and_the_provider_gives_the_newest(url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            assert await refusal(store.login("zerodha")) is ErrorCode.NO_CREDENTIALS
            assert await store.save_login("zerodha", Credentials("first", expires_at=17.5)) == 1
            login = Login(await store.login("zerodha"), store.provider("zerodha"))
            assert login.credentials == Credentials("first", expires_at=17.5)
            assert await store.save_login("zerodha", Credentials("second")) == 2
            assert await store.save_login("other", Credentials("other's")) == 1
            assert await login.refresh()
            assert login.credentials == Credentials("second")
            assert await store.login_accounts() == ["other", "zerodha"]

    asyncio.run(main())


def test_logins_at_the_same_moment_all_get_versions_of_their_own_and_old_ones_go(url: str) -> None:
    async def main() -> None:
        async with opened(url) as one, opened(url) as other:
            saved = [
                store.save_login("zerodha", Credentials(str(n))) for n in range(6) for store in (one, other)
            ]
            assert sorted(await asyncio.gather(*saved)) == list(range(1, 13))
            async with one._pool.connection() as conn:
                rows = await conn.exec_driver_sql("SELECT count(*) FROM brokerpool_broker_credentials")
                assert rows.scalar_one() == logins.KEPT

    asyncio.run(main())


def test_a_version_that_was_cleared_away_does_not_come_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = logins.version
    stale = [0, 0, 0]

    async def slow_look(pool: DatabasePool, broker: str) -> int | None:
        return stale.pop() if stale else await look(pool, broker)

    async def main() -> None:
        async with opened(url) as store:
            for n in range(1, logins.KEPT + 2):
                assert await store.save_login("zerodha", Credentials(f"token {n}")) == n
            monkeypatch.setattr(logins, "version", slow_look)  # as of a process that looked long ago
            assert await store.save_login("zerodha", Credentials("last")) == logins.KEPT + 2
            assert await store.login("zerodha") == Credentials("last")

    asyncio.run(main())


def test_a_slow_look_at_the_keys_does_not_bring_a_revoked_one_back(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with opened(url) as store:
            text = await store.create_key("strategy")
            read, arrived, go_on = key_rows.valid, asyncio.Event(), asyncio.Event()

            async def slow(pool: DatabasePool) -> list[Key]:
                found = await read(pool)
                arrived.set()
                await go_on.wait()
                return found

            monkeypatch.setattr(key_rows, "valid", slow)
            looking = asyncio.create_task(store._read_keys())
            await arrived.wait()
            monkeypatch.setattr(key_rows, "valid", read)
            await store.revoke_key("strategy")
            go_on.set()
            await looking
            assert store.check_key(text) is None

    asyncio.run(main())


def test_a_batch_that_is_written_twice_is_in_the_history_once(url: str) -> None:
    row = {"run": "r", "number": 1, "at_ms": 5}
    batch = Batch(
        [
            Row("journal", {**row, "event": "lost", "connection": "", "symbols": 0, "reason": ""}),
            Row("pool_statistics", {**row, "statistics": {}}),
            Row("http_calls", {**row, "endpoint": "GET /", "status": 200, "duration_ms": 1, "attempts": 1}),
        ]
    )

    async def main() -> None:
        async with opened(url) as store:
            await history_rows.write(store._pool, batch)
            await history_rows.write(store._pool, batch)
            assert [len(await store.history(kind)) for kind in history_rows.TABLES] == [1, 1, 1]

    asyncio.run(main())


def test_a_gateway_that_watches_gets_a_login_that_another_process_stored(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brokerpool.store.gateway_store.LOGIN_SECONDS", 0.02)

    async def main() -> None:
        async with opened(url) as gateway, opened(url) as command:
            await command.save_login("zerodha", Credentials("first"))
            async with asyncio.timeout(10), contextlib.aclosing(gateway.logins("zerodha")) as newer:
                assert await anext(newer) == Credentials("first")
                waiting = asyncio.create_task(anext(newer))
                await command.save_login("zerodha", Credentials("second"))
                assert await waiting == Credentials("second")

    asyncio.run(main())


def test_the_saved_demand_is_the_newest_one_in_its_order(url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            assert await store.saved_demand("zerodha") == {}
            store.save_demand("zerodha", {INFY: Mode.LTP})
            store.save_demand("zerodha", {TCS: Mode.DEPTH, INFY: Mode.QUOTE})
            store.save_demand("other", {INFY: Mode.LTP})
        async with opened(url) as store:
            assert list((await store.saved_demand("zerodha")).items()) == [
                (TCS, Mode.DEPTH),
                (INFY, Mode.QUOTE),
            ]
            store.save_demand("zerodha", {})
        async with opened(url) as store:
            assert await store.saved_demand("zerodha") == {}
            assert await store.saved_demand("other") == {INFY: Mode.LTP}

    asyncio.run(main())


def test_a_demand_that_stood_under_several_accounts_is_one_and_moves_to_one(url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            store.save_demand("zerodha", {INFY: Mode.LTP})
            store.save_demand("desk2", {INFY: Mode.DEPTH, TCS: Mode.LTP})
            store.save_demand("of-another-gateway", {TCS: Mode.QUOTE})
        async with opened(url) as store:
            wanted = await store.saved_demand("zerodha", "desk2")
            assert wanted == {INFY: Mode.DEPTH, TCS: Mode.LTP}
            store.save_demand("zerodha", wanted, instead_of=["desk2"])
        async with opened(url) as store:
            assert await store.saved_demand("zerodha") == wanted
            assert await store.saved_demand("desk2") == {}
            assert await store.saved_demand("of-another-gateway") == {TCS: Mode.QUOTE}

    asyncio.run(main())


def test_of_too_large_a_demand_the_first_instruments_are_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_rows, "SAVED_INSTRUMENTS", 1)

    async def main() -> None:
        url = f"sqlite:///{tmp_path / 'store.db'}"
        async with opened(url) as store:
            store.save_demand("zerodha", {TCS: Mode.LTP, INFY: Mode.LTP})
        async with opened(url) as store:
            assert list(await store.saved_demand("zerodha")) == [TCS]

    asyncio.run(main())


def test_journal_statistics_and_calls_are_kept_once_each(url: str) -> None:
    async def main() -> None:
        journal, later = Journal(), Journal()
        async with opened(url) as store:
            store.follow(journal)
            journal.note(Event.DIALLED, connection="zerodha-1")
            await until(lambda: store.stats()["writer"]["written"])
            journal.note(Event.LOST, connection="zerodha-1", symbols=3, reason="closed \0 with 1006")
            store.note_statistics({"websocket": {"connections": 1}})
            store.note_call("GET /quote?token=hunter2", status=200, seconds=0.25, attempts=2)
            store.note_call("POST /orders", status=None, seconds=1, attempts=1)
        async with opened(url) as store:
            store.follow(later)  # begins with number 1 again, as each process does
            later.note(Event.LIVE, connection="zerodha-1")
        async with opened(url) as store:
            kept = await store.history("journal")
            dropped = store.stats()["writer"]["dropped"]
            assert [row["event"] for row in kept] == ["dialled", "lost", "live"], dropped
            assert (kept[1]["symbols"], kept[1]["reason"]) == (3, r"closed \x00 with 1006")
            assert [row["statistics"] for row in await store.history("pool_statistics")] == [
                {"websocket": {"connections": 1}}
            ]
            calls = [
                (row["endpoint"], row["status"], row["duration_ms"], row["attempts"])
                for row in await store.history("http_calls")
            ]
            assert calls == [("GET /quote", 200, 250, 2), ("POST /orders", None, 1000, 1)]
            assert len(await store.history("http_calls", limit=1)) == 1
            assert await store.history("journal", since_ms=kept[2]["at_ms"] + 1) == []

    asyncio.run(main())


def test_history_that_is_too_old_or_too_much_goes(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_rows, "KEPT_ROWS", 5)
    clock = WallClock()

    async def main() -> None:
        async with opened(url, wall_clock=clock) as store:
            store.note_statistics({"old": True})
            store.note_call("GET /old", status=200, seconds=1, attempts=1)
            clock.now += 8 * DAY
            for _ in range(20):
                clock.now += 1
                store.note_statistics({"old": False})
        async with opened(url, wall_clock=clock) as store:
            async with store._pool.begin() as conn:
                await history_rows.clear(conn, int(clock.now * 1000))
            assert await store.history("http_calls") == [], "calls are kept for a week"
            kept = await store.history("pool_statistics")
            assert [row["statistics"] for row in kept] == [{"old": False}] * 6

    asyncio.run(main())


def test_a_running_store_clears_its_history(url: str) -> None:
    clock = WallClock()

    async def main() -> None:
        async with opened(url, wall_clock=clock) as store:
            store.note_statistics({"old": True})
        clock.now += 31 * DAY
        async with opened(url, wall_clock=clock) as store:
            await until(lambda: store.stats()["writer"]["written"])
            assert await store.history("pool_statistics") == []

    asyncio.run(main())


def test_no_key_and_no_token_is_in_the_databases_bytes_in_logs_or_in_a_repr(
    url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown = []

    async def main() -> str:
        async with opened(url) as store:
            text = await store.create_key("strategy")
            await store.save_login("zerodha", Credentials(TOKEN))
            store.check_key(text)
            store.note_call(f"GET /quote?api_key={text}", status=200, seconds=1, attempts=1)
            shown.append(f"{store!r} {store.keys!r} {await store.list_keys()!r} {store.stats()}")
            with pytest.raises(StoreError) as taken:
                await store.create_key("strategy")
            shown.append(str(taken.value))
            stored.append(files() if url.startswith("sqlite") else b"")  # with what is in the log file
        return text

    def files() -> bytes:
        return b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))

    stored: list[bytes] = []
    with caplog.at_level(logging.DEBUG):
        text = asyncio.run(main())
    if url.startswith("sqlite"):
        stored.append(files())
    else:
        dump = PROGRAMS / "pg_dump"
        stored.append(subprocess.run([dump, url], check=True, capture_output=True, timeout=30).stdout)
    assert b"strategy" in stored[-1], "it is looked at where things are"
    for secret in (text, TOKEN, SECRET_KEY):
        assert secret.encode() not in b"".join(stored)
        assert secret not in caplog.text
        assert secret not in " ".join(shown)


def test_cancelling_any_call_leaves_a_store_that_works_and_no_task_behind(url: str) -> None:
    async def main() -> None:
        async with opened(url) as store:
            for turns in range(1, 60, 3):
                call = asyncio.create_task(store.create_key(f"key {turns}"))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
            assert store.check_key(await store.create_key("last"))
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())
