"""What a gateway gets from its database and puts into it: demand, logins, keys, calls, and going without."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from websockets.sync.client import connect

from brokerpool import BrokerpoolError, Credentials, ErrorCode, Instrument, Mode
from brokerpool.db.pool import DatabasePool
from brokerpool.errors import StoreError
from brokerpool.gateway import gateway_database as module
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.saved_demand import OWNER
from brokerpool.gateway.server import Gateway
from brokerpool.gateway.stored_login import StoredLogin
from brokerpool.settings import Settings
from brokerpool.store.gateway_store import Store
from tests import preloaded, processes
from tests.gateway_client import KEY, client, gateway
from tests.rehearsal import served, until

INFY, SBIN = Instrument("NSE", "INFY"), Instrument("NSE", "SBIN")
SECRET = Fernet.generate_key().decode()


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'gateway.db'}"


def settings(url: str, **environ: str) -> Settings:
    return Settings.load(environ={"BROKERPOOL_BROKER_API_KEY": "key", "DATABASE_URL": url, **environ})


def looked(served_by: Gateway) -> bool:
    """Tell whether the gateway has asked its database what the last run left."""
    demand = served_by._persistence._demand if served_by._persistence else None
    return demand is not None and demand._restored


# -- the saved demand ------------------------------------------------------------------------------------


def test_a_restarted_gateway_asks_for_what_was_wanted_before_its_clients_are_back(url: str) -> None:
    async def main() -> None:
        async with gateway(DATABASE_URL=url) as (_, served_by), client(served_by) as session:
            await session.subscribe("INFY", mode=3)
            await session.subscribe("SBIN", mode=1)
            await until(lambda: looked(served_by))
            await served_by.close()
        async with gateway(DATABASE_URL=url) as (broker, served_by):
            await until(lambda: sorted(served(broker).values()) == [Mode.LTP, Mode.DEPTH])
            demand = served_by.upstream.demand
            assert {i: demand.mode(i) for i in demand.instruments()} == {INFY: Mode.DEPTH, SBIN: Mode.LTP}
            assert served_by.clients == 0

    asyncio.run(main())


def test_what_no_client_asks_for_again_is_given_up_after_the_grace_and_what_one_holds_stays(url: str) -> None:
    async def main() -> None:
        async with gateway(DATABASE_URL=url) as (_, served_by), client(served_by) as session:
            await session.subscribe("INFY", "SBIN", mode=2)
            await until(lambda: looked(served_by))
            await served_by.close()
        async with gateway(None, 0.7, DATABASE_URL=url) as (broker, served_by), client(served_by) as session:
            await until(lambda: len(served(broker)) == 2)
            await session.subscribe("INFY", mode=1)
            await until(lambda: list(served(broker).values()) == [Mode.LTP])
            assert served_by.upstream.demand.instruments() == (INFY,)

    asyncio.run(main())


def test_the_demand_is_kept_within_seconds_of_its_change_and_sending_clients_away_changes_nothing(
    url: str,
) -> None:
    async def main() -> None:
        async with gateway(DATABASE_URL=url) as (_, served_by), client(served_by) as session:
            await session.subscribe("INFY", mode=2)
            async with Store(DatabasePool(url)) as store:
                began = time.perf_counter()
                while await store.saved_demand("zerodha") != {INFY: Mode.QUOTE}:
                    assert time.perf_counter() - began < 10
                    await asyncio.sleep(0.05)
            await until(lambda: looked(served_by))
            await served_by.close()
        async with Store(DatabasePool(url)) as store:
            assert await store.saved_demand("zerodha") == {INFY: Mode.QUOTE}

    asyncio.run(main())


def test_the_last_runs_symbols_give_way_to_what_clients_want_now(url: str) -> None:
    small = {"MAX_SYMBOLS_PER_WEBSOCKET": "2", "MAX_WEBSOCKET_CONNECTIONS": "1"}

    async def main() -> None:
        async with gateway(DATABASE_URL=url, **small) as (_, served_by), client(served_by) as session:
            await session.subscribe("INFY", "SBIN")
            await until(lambda: looked(served_by))
            await served_by.close()
        async with gateway(DATABASE_URL=url, **small) as (_, served_by), client(served_by) as session:
            await until(lambda: served_by.upstream.demand.count(OWNER) == 2)
            assert (await session.subscribe("TCS"))["status"] == "success"
            assert served_by.upstream.demand.instruments() == (Instrument("NSE", "TCS"),)

    asyncio.run(main())


# -- keys, calls and the journal -------------------------------------------------------------------------


def test_calls_to_the_broker_and_the_journal_are_kept_and_no_secret_is(url: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            gateway({"http_rates": {}}, DATABASE_URL=url) as (broker, served_by),
            client(served_by) as session,
        ):
            await session.subscribe("INFY")
            await until(lambda: served(broker))
            await served_by._apis.quotes([INFY])
            token = broker.access_token
            assert served_by.stats()["database"]["available"] is True
            assert served_by.stats()["database"]["pool_size"] == 5
        async with Store(DatabasePool(url)) as store:
            calls = await store.history("http_calls")
            events = [row["event"] for row in await store.history("journal")]
        call = next(row for row in calls if row["endpoint"] == "GET /quote")
        assert (call["status"], call["attempts"]) == (200, 1)
        assert 0 < call["duration_ms"] < 5000
        assert events[:3] == ["key used", "client came", "dialled"]
        assert events[-1] == "closed", "the end itself is kept"
        tokens.append(token)

    tokens: list[str] = []
    asyncio.run(main())
    kept = b"".join(file.read_bytes() for file in tmp_path.glob("gateway.db*"))
    assert KEY.encode() not in kept
    assert tokens[0].encode() not in kept


def test_without_any_key_the_start_fails_and_says_what_to_do(url: str) -> None:
    async def main() -> None:
        persistence = Persistence(settings(url, BROKERPOOL_BROKER_ACCESS_TOKEN="token"))
        with pytest.raises(BrokerpoolError, match=r"`brokerpool keys create NAME`") as caught:
            await persistence.open()
        assert caught.value.code is ErrorCode.NO_API_KEY
        await persistence.close()
        async with Store(DatabasePool(url)) as store:
            await store.create_key("one")
        persistence = Persistence(settings(url))
        await persistence.open()
        await persistence.close()

    asyncio.run(main())


# -- a database that is away at the start ----------------------------------------------------------------


def test_a_database_that_cannot_be_opened_ends_the_start_unless_the_settings_say_enough(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"sqlite:///{tmp_path / 'missing' / 'gateway.db'}"

    async def main() -> None:
        for given in ({}, {"BROKERPOOL_API_KEY": KEY}, {"BROKERPOOL_BROKER_ACCESS_TOKEN": "token"}):
            persistence = Persistence(settings(url, **given))
            with pytest.raises(StoreError, match="DB_UNREACHABLE"):
                await persistence.open()
            await persistence.close()
        assert "could start without it" in caplog.text

    asyncio.run(main())


def test_a_gateway_without_its_database_serves_and_opens_it_as_soon_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    folder = tmp_path / "missing"

    async def main() -> None:
        url = f"sqlite:///{folder / 'gateway.db'}"
        async with gateway(DATABASE_URL=url) as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY")
            await until(lambda: served(broker))
            assert served_by.stats()["database"] == {"available": False, "fault": "DB_UNREACHABLE"}
            assert caplog.text.count("WITHOUT its database") == 1
            health = served_by.stats()["health"]
            assert (health["status"], health["ready"]) == ("degraded", True), "clients are served"
            assert health["reasons"]["database_absent"] is True
            await until(lambda: "database_absent: " in caplog.text)
            assert "mend DATABASE_URL" in caplog.text
            folder.mkdir()
            await until(lambda: served_by.stats()["database"]["available"])
            assert served_by.stats()["health"]["reasons"]["database_absent"] is False
            assert caplog.text.count("database_absent: ") == 1
            async with Store(DatabasePool(url)) as store:
                text = await store.create_key("late")
                await until(lambda: served_by._persistence and served_by._persistence.keys == 1)
                async with client(served_by, key=text):
                    pass
            assert (await session.ask(action="ping"))["type"] == "pong"

    with caplog.at_level(logging.INFO):
        asyncio.run(main())


def login_of(persistence: Persistence) -> StoredLogin:
    return StoredLogin(persistence._settings.accounts()[0], persistence)


# -- the login at the broker -----------------------------------------------------------------------------


def test_the_token_of_the_settings_is_used_first_and_a_stored_login_where_there_is_none(url: str) -> None:
    async def first(**environ: str) -> str:
        persistence = Persistence(settings(url, BROKERPOOL_API_KEY=KEY, **environ))
        await persistence.open()
        try:
            return (await login_of(persistence).first()).access_token
        finally:
            await persistence.close()

    async def main() -> None:
        for environ in ({}, {"BROKERPOOL_SECRET_KEY": SECRET}):
            with pytest.raises(StoreError) as caught:
                await first(**environ)
            assert caught.value.code is ErrorCode.NO_CREDENTIALS
        async with Store(DatabasePool(url), secret_keys=SECRET) as store:
            await store.save_login("zerodha", Credentials("stored"))
        assert await first(BROKERPOOL_SECRET_KEY=SECRET) == "stored"
        given = {"BROKERPOOL_BROKER_ACCESS_TOKEN": "given"}
        assert await first(BROKERPOOL_SECRET_KEY=SECRET, **given) == "given"
        assert await first(BROKERPOOL_SECRET_KEY=Fernet.generate_key().decode(), **given) == "given"

    asyncio.run(main())


def test_a_login_that_is_stored_while_the_gateway_runs_is_given_and_the_old_one_is_not(url: str) -> None:
    async def main() -> None:
        async with Store(DatabasePool(url), secret_keys=SECRET) as store:
            await store.save_login("zerodha", Credentials("yesterday"))
            given = {"BROKERPOOL_API_KEY": KEY, "BROKERPOOL_SECRET_KEY": SECRET}
            persistence = Persistence(settings(url, BROKERPOOL_BROKER_ACCESS_TOKEN="today", **given))
            await persistence.open()
            stored = login_of(persistence)
            await stored.first()
            logins = stored.newer()
            news = asyncio.ensure_future(anext(logins))
            await asyncio.wait({news}, timeout=0.5)
            assert not news.done(), "yesterday's login takes the place of nothing"
            await store.save_login("zerodha", Credentials("new"))
            assert (await asyncio.wait_for(news, 3)).access_token == "new"
            await logins.aclose()
            await persistence.close()

    asyncio.run(main())


# -- as processes ----------------------------------------------------------------------------------------


def cli(folder: Path, *arguments: str, **environ: str) -> str:
    """Run a command of ours in the folder and return what it printed."""
    done = preloaded.run(
        [sys.executable, "-m", "brokerpool", *arguments],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return done.stdout.strip()


def within(seconds: float, condition: Callable[[], bool]) -> float:
    """Return after how many seconds the condition held; fail when it does not in time."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)  # another process's state
    return time.monotonic() - began


def test_the_product_runs_on_stored_keys_and_logins_alone_and_a_new_login_needs_no_restart(
    tmp_path: Path,
) -> None:
    with processes.simulator(tmp_path, symbols=10, rate=100) as broker:
        control = broker.said["control_url"]
        lines = (tmp_path / "sim.env").read_text().splitlines()
        stripped = [
            line for line in lines if not line.startswith(("BROKERPOOL_API_KEY", "BROKERPOOL_BROKER_ACCESS"))
        ]
        (tmp_path / "sim.env").write_text("\n".join([*stripped, f"BROKERPOOL_SECRET_KEY={SECRET}"]))
        given = ("--env-file", "sim.env")

        def log_in(token: str) -> None:
            (tmp_path / "token").write_text(token)
            cli(tmp_path, "login", "--file", "token", *given)

        key = cli(tmp_path, "keys", "create", "strategy", *given)
        log_in(broker.said["access_token"])
        with processes.gateway(tmp_path) as gateway, connect(gateway.said["ws_url"]) as session:

            def ask(**request: Any) -> dict[str, Any]:
                session.send(json.dumps(request))
                while (reply := json.loads(session.recv(5))).get("type") == "market_data":
                    pass
                return dict(reply)

            assert ask(action="authenticate", api_key=key)["status"] == "success"
            assert ask(action="subscribe", symbol="INFY", exchange="NSE", mode=1)["status"] == "success"
            within(10, lambda: len(processes.get(f"{control}/sockets")) == 1)
            processes.post(f"{control}/faults", {"expire_token": {"close_sockets": True}})
            within(10, lambda: _parked(gateway.said["http_url"]))
            processes.post(f"{control}/faults", {"access_token": "the-next-days-token"})
            log_in("the-next-days-token")
            took = within(10, lambda: len(processes.get(f"{control}/sockets")) == 1)
            print(f"connected again {took:.1f} s after the new login")
        log = (tmp_path / "serve.log").read_text()
        assert key not in log
        assert "the-next-days-token" not in log
        assert broker.said["access_token"] not in log


def _parked(http_url: str) -> bool:
    pool = processes.get(f"{http_url}/stats")["websocket"]
    return [c["state"] for c in pool["per_connection"]] == ["parked"]


def test_where_nobody_has_logged_in_the_provider_says_so_and_what_cannot_be_opened_is_a_fault(
    url: str,
) -> None:
    async def main() -> None:
        given = {"BROKERPOOL_BROKER_ACCESS_TOKEN": "given", "BROKERPOOL_SECRET_KEY": SECRET}
        persistence = Persistence(settings(url, BROKERPOOL_API_KEY=KEY, **given))
        provider = login_of(persistence).provider
        assert provider is not None
        assert await provider() is None, "the database is not open yet"
        await persistence.open()
        try:
            assert await provider() is None
            other = Fernet.generate_key().decode()
            async with Store(DatabasePool(url), secret_keys=other) as store:
                await store.save_login("zerodha", Credentials("of another key"))
            with pytest.raises(StoreError) as caught:
                await provider()
            assert caught.value.code is ErrorCode.SECRET_KEY_WRONG
        finally:
            await persistence.close()

    asyncio.run(main())
