"""A broker that another package brings: everything works with it, and nothing of ours knows its name.

The package of `tests/foreign_broker` is built and installed into an environment of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from websockets.asyncio.client import connect

import brokerpool
from brokerpool.brokers.registry import names
from tests import processes
from tests.beside import beside
from tests.foreign_broker import server
from tests.foreign_broker.server import AcmeBroker
from tests.gateway_client import Client

KEY = "a-key-for-the-gateway"
PACKAGE = Path(server.__file__).parent
PORTS = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"}
SECRET_KEY = {"BROKERPOOL_SECRET_KEY": "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk="}
LIMITS = {"MAX_SYMBOLS_PER_WEBSOCKET": "40", "MAX_WEBSOCKET_CONNECTIONS": "2"}
GATEWAY = {**PORTS, **LIMITS, **SECRET_KEY, "BROKERPOOL_API_KEY": KEY}

Ran: TypeAlias = subprocess.CompletedProcess[str]


def done(*command: object, folder: Path, typed: str = "", **environ: str) -> Ran:
    """Run a program to its end, without a terminal, so that what is `typed` answers its questions."""
    return subprocess.run(
        [*map(str, command)],
        cwd=folder,
        env={**processes.without_settings(os.environ), **environ},
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with brokerpool, what that needs, and the wheel of Acme's package."""
    folder = tmp_path_factory.mktemp("acme")
    python = folder / "env" / "bin" / "python"
    build = f"from hatchling.build import build_wheel; print(build_wheel({str(folder)!r}))"
    wheel = done(sys.executable, "-c", build, folder=PACKAGE)
    made = done(sys.executable, "-m", "venv", "--without-pip", folder / "env", folder=folder)
    assert (wheel.returncode, made.returncode) == (0, 0), wheel.stderr + made.stderr
    (site,) = (folder / "env").glob("lib/python*/site-packages")
    ours = Path(brokerpool.__file__).parents[1]
    (site / "ours.pth").write_text(f"{sysconfig.get_path('purelib')}\n{ours}\n")
    # Without a PATH, on which pip would look for programs of no concern here.
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "install")
    installed = done(
        *pip, "--no-deps", "--no-index", folder / wheel.stdout.split()[-1], folder=folder, PATH=""
    )
    assert installed.returncode == 0, installed.stderr
    return python


@pytest.fixture
def acme() -> Iterator[AcmeBroker]:
    with beside(AcmeBroker()) as broker:
        yield broker


@pytest.fixture
def run(python: Path, acme: AcmeBroker, tmp_path: Path) -> Callable[..., Ran]:
    """Run `brokerpool` in that environment, with the settings for the broker that runs."""

    def run(*arguments: object, typed: str = "", **environ: str) -> Ran:
        settings = acme.settings | SECRET_KEY | environ
        return done(python, "-m", "brokerpool", *arguments, folder=tmp_path, typed=typed, **settings)

    return run


def ready_made(acme: AcmeBroker) -> dict[str, str]:
    """The settings of a login that was made elsewhere."""
    return {
        "BROKERPOOL_BROKER_ACCESS_TOKEN": acme.access_token,
        "BROKERPOOL_BROKER_LOGIN_FIELDS": json.dumps({"feed_token": acme.feed_token}),
    }


def test_check_passes_with_a_good_login_and_blames_what_the_broker_refuses(
    run: Callable[..., Ran], acme: AcmeBroker
) -> None:
    good = GATEWAY | ready_made(acme)
    ran = run("check", **good)
    assert (ran.returncode, ran.stderr) == (0, "")
    ran = run("check", **good | {"BROKERPOOL_BROKER_ACCESS_TOKEN": "yesterdays-token"})
    assert ran.returncode == 2
    assert ran.stderr.startswith("brokerpool: BROKERPOOL_BROKER_ACCESS_TOKEN: the broker refuses it")
    assert ran.stderr.count("\n") == 1, ran.stderr
    assert "yesterdays-token" not in ran.stderr
    ran = run("check", **good | {"BROKERPOOL_BROKER_LOGIN_FIELDS": '{"feed_token": "yesterdays"}'})
    assert ran.returncode == 2
    assert "the feed refuses" in ran.stderr
    assert "this token is not of today" in ran.stderr


def test_without_its_package_the_broker_is_not_installed_and_check_says_which_are(
    acme: AcmeBroker, tmp_path: Path
) -> None:
    settings = GATEWAY | ready_made(acme) | acme.settings
    ran = done(sys.executable, "-m", "brokerpool", "check", folder=tmp_path, **settings)
    assert ran.returncode == 2
    said = (
        f"no broker of this name is installed, but {', '.join(names())}; install the package that brings it"
    )
    assert ran.stderr == f"brokerpool: BROKERPOOL_BROKER: {said}\n", (
        "and nothing of the login is tried elsewhere"
    )
    assert not acme.heard


def test_plan_tells_where_symbols_would_go_and_what_is_above_the_brokers_own_limit(
    run: Callable[..., Ran],
) -> None:
    symbols = ("NSE:INFY", "NSE:SBIN", "NSE:TCS")
    ran = run("plan", "--empty", *symbols, MAX_SYMBOLS_PER_WEBSOCKET="41", MAX_WEBSOCKET_CONNECTIONS="2")
    assert ran.returncode == 0
    assert "acme-1" in ran.stdout
    assert "3 of 3 symbols fit" in ran.stdout
    assert "MAX_SYMBOLS_PER_WEBSOCKET is 41, above the 40 that acme publishes" in ran.stderr


def test_a_login_is_stored_with_both_of_its_tokens_and_check_finds_it_good(
    run: Callable[..., Ran], acme: AcmeBroker, tmp_path: Path
) -> None:
    told = f"of acme is stored: AC1 (Wile E. Coyote), until second {server.ENDS_AT} of Acme's calendar."
    (tmp_path / "token").write_text(acme.access_token)
    ran = run("login", "--file", "token")
    assert (ran.returncode, ran.stdout) == (0, f"Login 1 {told}\n"), ran.stderr
    ran = run("login", typed=f"{acme.log_in()}\n")
    assert (ran.returncode, ran.stdout) == (0, f"Login 2 {told}\n"), ran.stderr
    assert f"Log in here: {acme.settings['BROKERPOOL_BROKER_LOGIN_URL']}?app={acme.app}" in ran.stderr
    ran = run("check", **GATEWAY)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_gateway_serves_the_broker_from_its_feed_to_the_dashboard_and_ends_when_told(
    run: Callable[..., Ran], python: Path, acme: AcmeBroker, tmp_path: Path
) -> None:
    settings = GATEWAY | acme.settings | ready_made(acme)
    with processes.command("serve", folder=tmp_path, python=python, **settings) as gateway:
        asyncio.run(trade(acme, gateway.said["ws_url"], lambda: look(run, acme, gateway.said["http_url"])))
        assert gateway.terminate() == 0


def test_serve_with_a_dead_token_waits_for_the_login_that_brings_the_list_for_customers_only(
    run: Callable[..., Ran], python: Path, acme: AcmeBroker, tmp_path: Path
) -> None:
    dead = {"BROKERPOOL_BROKER_ACCESS_TOKEN": "yesterdays-token"}
    settings = GATEWAY | acme.settings | dead
    with processes.command("serve", folder=tmp_path, python=python, **settings) as gateway:
        stats = f"{gateway.said['http_url']}/stats"
        assert processes.get(stats)["broker"]["instruments"] == 0
        reasons = processes.get(stats)["health"]["reasons"]
        assert reasons["login_refused"] is reasons["instruments_missing"] is True
        assert processes.get(stats)["broker"]["instruments_fault"]
        stored = run("login", typed=f"{acme.log_in()}\n", **dead)
        assert stored.returncode == 0, stored.stderr
        asyncio.run(ticking(gateway.said["ws_url"], stats))
        assert processes.get(stats)["broker"]["instruments_fault"] == ""
        assert gateway.terminate() == 0
    log = (tmp_path / "serve.log").read_text()
    assert log.count("the gateway waits for a new login") == 1
    assert "logged in as AC1" in log
    assert acme.heard["hello"] == 1, "no dial with the dead token"


async def ticking(url: str, stats: str) -> None:
    """Return once the list is there and a symbol of it ticks."""
    async with asyncio.timeout(20):
        while not (await asyncio.to_thread(processes.get, stats))["broker"]["instruments"]:
            pass
    async with connect(url, compression=None) as connection:
        client = Client(connection)
        await client.ask(action="authenticate", api_key=KEY)
        assert (await client.subscribe("INFY"))["status"] == "success"
        assert (await client.take(1))[0]["data"]["ltp"] == server.PRICE


async def trade(acme: AcmeBroker, url: str, look: Callable[[], None]) -> None:
    """Connect as OpenAlgo's programs do, until ticks and a sign of life have passed, and look at it all."""
    async with connect(url, compression=None) as connection:
        client = Client(connection)
        assert (await client.ask(action="authenticate", api_key=KEY))["broker"] == "acme"
        assert (await client.ask(action="get_supported_brokers"))["brokers"] == sorted(["acme", *names()])
        assert (await client.ask(action="get_broker_info"))["broker"] == "acme"
        assert (await client.subscribe("INFY", "SECRET", mode=3))["status"] == "success"
        first, *_ = await client.take(1)
        assert (first["symbol"], first["data"]["ltp"]) == ("INFY", server.PRICE)
        assert first["data"]["depth"]["buy"][0]["quantity"] == 10
        async with asyncio.timeout(10):
            while not acme.heard["alive"]:
                await client.take(1)
        await asyncio.to_thread(look)


def look(run: Callable[..., Ran], acme: AcmeBroker, url: str) -> None:
    """See what people and programs see: a refusal with its reason, a quote, and the connection."""
    told = run("explain", "NSE:SECRET", "--url", url, BROKERPOOL_GATEWAY_KEY=KEY)
    assert "NSE:SECRET is refused" in told.stdout, told.stdout + told.stderr
    assert f"acme-1: {server.WHY}" in told.stdout
    quote = posted(f"{url}/api/v1/quotes", symbol="SBIN", exchange="NSE")
    assert quote["data"]["ltp"] == server.PRICE
    assert acme.heard["/quotes"] == 1
    (connection,) = processes.get(f"{url}/stats", **{"X-API-KEY": KEY})["websocket"]["per_connection"]
    assert (connection["name"], connection["state"]) == ("acme-1", "live")
    shown = snapshot(url)
    assert (shown["broker"], shown["logins"]["acme"]["user"]) == ("acme", "AC1")
    assert shown["stats"]["websocket"]["per_connection"][0]["state"] == "live"
    assert sorted(shown["pictured"]["acme-1"]) == ["NSE:INFY", "NSE:SECRET"]


def posted(url: str, **body: object) -> Any:
    """Return what the REST API answers a program that shows the key."""
    data = json.dumps({"apikey": KEY, **body}).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method="POST")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def snapshot(url: str) -> Any:
    """Return the first snapshot that the dashboard's page gets."""
    request = urllib.request.Request(f"{url}/dashboard/stream", headers={"Authorization": f"Bearer {KEY}"})
    with urllib.request.urlopen(request, timeout=10) as stream:
        for line in stream:
            found = json.loads(line)
            if found["kind"] == "snapshot":
                return found
    raise AssertionError("the stream has ended")
