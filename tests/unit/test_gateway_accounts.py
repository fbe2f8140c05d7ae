"""Promises of a gateway of two accounts: each has its own login, list and calls, and none stops the other."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import preloaded, processes
from tests.faults.observer import observing
from tests.rehearsal import until

SECRET_KEY = "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="


@contextmanager
def two_brokers(folder: Path) -> Iterator[tuple[processes.Running, processes.Running]]:
    """Run two simulated brokers, which write themselves into `folder/two.toml`."""
    options = ("--broker", "zerodha", "--symbols", "20", "--rate", "200", "--write-config", "two.toml")
    with ExitStack() as stack:
        first = stack.enter_context(processes.command("simulate", *options, folder=folder))
        second = stack.enter_context(processes.command("simulate", *options, folder=folder))
        yield first, second


@contextmanager
def serving(folder: Path, **environ: str) -> Iterator[processes.Running]:
    ports = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"}
    with processes.command("serve", "--config", "two.toml", folder=folder, **ports, **environ) as running:
        yield running


def brokerpool(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    clean = processes.without_settings(os.environ)
    return preloaded.run(
        [sys.executable, "-m", "brokerpool", *words, "--config", "two.toml"],
        cwd=folder,
        env={**clean, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def without_token(folder: Path, account: str) -> None:
    """Take an account's access token out of the file."""
    head, *tables = (folder / "two.toml").read_text().split("[[accounts]]\n")
    rows = [
        "".join(r for r in t.splitlines(True) if f'name = "{account}"\n' not in t or "access_token" not in r)
        for t in tables
    ]
    (folder / "two.toml").write_text("[[accounts]]\n".join([head, *rows]))


def quoted(url: str, body: dict[str, str]) -> Any:
    asked = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return json.load(answer)


def accounts_of(gateway: processes.Running) -> dict[str, Any]:
    stats = processes.get(f"{gateway.said['http_url']}/stats")
    return {account["name"]: account for account in stats["websocket"]["accounts"]}


def test_two_simulators_make_a_gateway_of_two_accounts_that_check_passes(tmp_path: Path) -> None:
    with two_brokers(tmp_path) as (first, second):
        written = tomllib.loads((tmp_path / "two.toml").read_text())
        assert stat.S_IMODE((tmp_path / "two.toml").stat().st_mode) == 0o600
        assert [(t["name"], t["ws_url"]) for t in written["accounts"]] == [
            ("zerodha", first.said["ws_url"]),
            ("zerodha-2", second.said["ws_url"]),
        ]
        ports = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"}
        checked = brokerpool(tmp_path, "check", **ports)
        assert checked.returncode == 0, checked.stderr
        with serving(tmp_path) as gateway:
            assert list(accounts_of(gateway)) == ["zerodha", "zerodha-2"]
            key, url = written["BROKERPOOL_API_KEY"], f"{gateway.said['http_url']}/api/v1/quotes"
            symbol = next(iter(processes.listed(first).values()))
            assert quoted(url, {"apikey": key, **symbol})["status"] == "success"
            http = processes.get(f"{gateway.said['http_url']}/stats")["http"]
            assert [account["name"] for account in http["accounts"]] == ["zerodha", "zerodha-2"]
            assert http["requests"] == sum(account["requests"] for account in http["accounts"])
            # The second one's dead token is told under its name, and so is a broker that is away.
            processes.post(f"{second.said['control_url']}/faults", {"expire_token": {}})
        faulty = brokerpool(tmp_path, "check", **ports)
        assert faulty.returncode == 2
        assert "accounts.zerodha-2.access_token: the broker refuses it" in faulty.stderr
        assert "accounts.zerodha." not in faulty.stderr
        second.terminate()
        away = brokerpool(tmp_path, "check", **ports).stderr
        assert "accounts.zerodha-2.http_url: " in away
        assert "accounts.zerodha." not in away


def test_an_account_without_a_login_keeps_nobody_from_being_served_and_takes_the_one_that_is_stored_for_it(
    tmp_path: Path,
) -> None:
    with two_brokers(tmp_path) as (first, second):
        without_token(tmp_path, "zerodha")
        secret = {"BROKERPOOL_SECRET_KEY": SECRET_KEY}
        rows = [*processes.listed(second).values()]
        key = tomllib.loads((tmp_path / "two.toml").read_text())["BROKERPOOL_API_KEY"]
        with serving(tmp_path, **secret) as gateway:
            log = tmp_path / "serve.log"
            assert "account zerodha does not serve yet" in log.read_text()
            assert "account zerodha-2: logged in as SIM001" in log.read_text()
            health = processes.get(f"{gateway.said['http_url']}/health")
            assert health["status"] == "degraded", health
            assert "The broker refused the access token of the account zerodha, and" in json.dumps(health)

            async def main() -> None:
                async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                    await until(lambda: len(client.last) == len(rows), seconds=20)
                    assert await asyncio.to_thread(lambda: accounts_of(gateway)["zerodha-2"]["connected"])
                    (tmp_path / "token").write_text(first.said["access_token"])
                    done = await asyncio.to_thread(brokerpool, tmp_path, "login", "--file", "token", **secret)
                    assert done.returncode == 2
                    assert "say which account: zerodha, zerodha-2." in done.stderr
                    login = ("login", "zerodha", "--file", "token")
                    done = await asyncio.to_thread(brokerpool, tmp_path, *login, **secret)
                    assert done.returncode == 0, done.stderr
                    assert "Login 1 of zerodha is stored: SIM001" in done.stdout
                    await until(lambda: "account zerodha: logged in as SIM001" in log.read_text(), seconds=20)

            asyncio.run(main())
            assert not accounts_of(gateway)["zerodha"]["login_refused"]
        dials = processes.get(f"{first.said['control_url']}/stats")["refusals"]
        assert not dials.get("403"), "no dial without a login"


def test_a_broker_that_is_away_at_the_start_is_told_in_health_and_serves_when_it_is_back(
    tmp_path: Path,
) -> None:
    with two_brokers(tmp_path) as (first, second):
        first.terminate()
        rows = [*processes.listed(second).values()]
        key = tomllib.loads((tmp_path / "two.toml").read_text())["BROKERPOOL_API_KEY"]
        with serving(tmp_path) as gateway:
            assert "account zerodha does not serve yet" in (tmp_path / "serve.log").read_text()
            health = processes.get(f"{gateway.said['http_url']}/health")
            assert json.dumps(health).count("zerodha: ") == 1

            async def main() -> None:
                async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                    await until(lambda: len(client.last) == len(rows), seconds=20)

            asyncio.run(main())


@pytest.mark.parametrize("account", ["zerodha", "zerodha-2"])
def test_a_token_that_is_written_into_the_file_reaches_the_account_whose_it_is(
    tmp_path: Path, account: str
) -> None:
    with two_brokers(tmp_path):
        good = (tmp_path / "two.toml").read_text()
        without_token(tmp_path, account)
        with serving(tmp_path):
            log = tmp_path / "serve.log"
            assert f"account {account}: logged in" not in log.read_text()
            (tmp_path / "new.toml").write_text(good)
            (tmp_path / "new.toml").replace(tmp_path / "two.toml")

            async def main() -> None:
                await until(lambda: f"account {account}: logged in as SIM001" in log.read_text(), seconds=20)

            asyncio.run(main())


def test_symbols_of_an_account_whose_token_dies_tick_from_the_other_and_quotes_are_answered_by_it(
    tmp_path: Path,
) -> None:
    with two_brokers(tmp_path) as (first, _):
        rows = [*processes.listed(first).values()]
        key = tomllib.loads((tmp_path / "two.toml").read_text())["BROKERPOOL_API_KEY"]
        with serving(tmp_path, BROKERPOOL_FAILOVER_SECONDS="1") as gateway:
            url = f"{gateway.said['http_url']}/api/v1/quotes"

            async def main() -> None:
                async with observing(gateway.said["ws_url"], key, [rows]) as (client,):
                    await until(lambda: len(client.last) == len(rows), seconds=20)
                    assert accounts_of(gateway)["zerodha"]["symbols"] == len(rows)
                    dead = {"expire_token": {"close_sockets": True}}
                    await asyncio.to_thread(processes.post, f"{first.said['control_url']}/faults", dead)
                    await until(lambda: accounts_of(gateway)["zerodha-2"]["symbols"] == len(rows), seconds=20)
                    client.reset()
                    await until(lambda: client.ticks > len(rows), seconds=20)
                    assert not client.ended

            asyncio.run(main())
            assert quoted(url, {"apikey": key, **rows[0]})["status"] == "success"
            health = json.dumps(processes.get(f"{gateway.said['http_url']}/health"))
            assert "The broker refused the access token of the account zerodha, and" in health
