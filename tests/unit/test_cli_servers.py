"""Promises of the commands that start a server or ask one: stats, check, serve, simulate and demo."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brokerpool.settings import NAMES
from brokerpool.simulator.registry import brokers
from tests import command_line, preloaded, processes

COMMAND = (sys.executable, "-m", "brokerpool")
START_SECONDS = 30
STOP_SECONDS = 10

run = command_line.run


@contextmanager
def server(*arguments: str, **environ: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Run one of the servers and give the first line that it prints."""
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    process = preloaded.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**clean, **environ},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        yield process, json.loads(line)
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A simulated broker and a gateway that uses it: the settings file and the gateway's addresses."""
    folder = tmp_path_factory.mktemp("rehearsal")
    database = f"sqlite:///{folder / 'test.db'}"
    with processes.simulator(folder), processes.gateway(folder, DATABASE_URL=database) as gateway:
        yield folder / "sim.env", gateway.said


# -- stats, check and the servers ------------------------------------------------------------------------


def test_stats_without_a_gateway_is_one_line(run: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = run("stats", "--url", f"http://127.0.0.1:{port}")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "no gateway answers" in ran.err


def test_stats_shows_what_the_gateway_tells(run: Any, rehearsal: tuple[Path, dict[str, str]]) -> None:
    _, addresses = rehearsal
    ran = run("stats", "--url", addresses["http_url"])
    assert ran.code == 0
    assert "0 of at most 3 connections carry 0 symbols" in ran.out
    ran = run("stats", "--url", addresses["http_url"], "--json")
    answer = json.loads(ran.out)
    assert answer["websocket"]["total_symbols"] == 0


def test_check_passes_where_serve_would_start(run: Any, rehearsal: tuple[Path, dict[str, str]]) -> None:
    env_file, _ = rehearsal
    ran = run("check", "--env-file", str(env_file), WEBSOCKET_PORT="0", BROKERPOOL_HTTP_PORT="0")
    assert (ran.code, ran.err) == (0, "")


def test_check_lists_every_fault_and_ends_with_2(run: Any, rehearsal: tuple[Path, dict[str, str]]) -> None:
    env_file, addresses = rehearsal
    ran = run(
        "check",
        "--env-file",
        str(env_file),
        WEBSOCKET_PORT=addresses["ws_url"].rpartition(":")[2],
        BROKERPOOL_HTTP_PORT=addresses["http_url"].rpartition(":")[2],
        BROKERPOOL_BROKER_HTTP_URL="http://127.0.0.1:9",
        BROKERPOOL_BROKER_ACCESS_TOKEN="yesterdays-token",
    )
    assert ran.code == 2
    for part in (
        "WEBSOCKET_PORT",
        "BROKERPOOL_HTTP_PORT",
        "BROKER_UNREACHABLE",
        "BROKERPOOL_BROKER_ACCESS_TOKEN",
    ):
        assert part in ran.err
    assert "yesterdays-token" not in ran.err
    assert "Traceback" not in ran.err


def test_check_names_all_that_is_missing_beside_what_is_wrong_in_one_go(run: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = run(
            "check",
            WEBSOCKET_PORT=str(taken.getsockname()[1]),
            BROKERPOOL_HTTP_PORT="0",
            BROKERPOOL_BROKER_HTTP_URL="http://127.0.0.1:9",
            BROKERPOOL_TLS_CERT_FILE="no such file",
            BROKERPOOL_TLS_KEY_FILE="no such file",
            BROKERPOOL_MAX_CLIENTS="many",
            BROKERPOOL_MAX_CLEINTS="3",
            DATABASE_URL="sqlite:////no/such/folder/brokerpool.db",
        )
    assert ran.code == 2
    for setting in (
        "BROKERPOOL_BROKER_API_KEY is missing",
        "BROKERPOOL_BROKER_ACCESS_TOKEN is not set",
        "BROKERPOOL_API_KEY is not set",
        "WEBSOCKET_PORT: cannot listen",
        "BROKERPOOL_BROKER_HTTP_URL: BROKER_UNREACHABLE",
        "BROKERPOOL_TLS_CERT_FILE",
        "BROKERPOOL_MAX_CLIENTS must be",
        "BROKERPOOL_MAX_CLEINTS is not a setting",
        "DATABASE_URL: the folder /no/such/folder",
    ):
        assert setting in ran.err
    assert all(line.startswith("brokerpool: ") for line in ran.err.splitlines())


def test_check_names_in_full_the_database_in_which_it_found_no_key_and_no_login(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run("check", WEBSOCKET_PORT="0", BROKERPOOL_HTTP_PORT="0")
    missing = [line for line in ran.err.splitlines() if "not been made yet" in line]
    assert len(missing) == 2
    assert all(str(tmp_path / "brokerpool.db") in line for line in missing)


@pytest.mark.parametrize("stored", [False, True])
def test_check_blames_a_dead_token_and_no_address(
    run: Any, rehearsal: tuple[Path, dict[str, str]], tmp_path: Path, *, stored: bool
) -> None:
    env_file, _ = rehearsal
    environ = {
        "WEBSOCKET_PORT": "0",
        "BROKERPOOL_HTTP_PORT": "0",
        "BROKERPOOL_SECRET_KEY": "Zm9yIHRlc3RzIG9ubHksIG5vdCBhIHNlY3JldCBrZXk=",
    }
    if stored:
        lines = env_file.read_text().splitlines(keepends=True)
        env_file = tmp_path / "stored.env"
        env_file.write_text("".join(line for line in lines if "ACCESS_TOKEN" not in line))
        (tmp_path / "token").write_text("yesterdays-token")
        assert run("login", "--untried", "--file", "token", "--env-file", str(env_file), **environ).code == 0
    else:
        environ["BROKERPOOL_BROKER_ACCESS_TOKEN"] = "yesterdays-token"
    ran = run("check", "--env-file", str(env_file), **environ)
    assert ran.code == 2
    named = "The stored login" if stored else "BROKERPOOL_BROKER_ACCESS_TOKEN"
    assert ran.err.startswith(f"brokerpool: {named}: the broker refuses it")
    assert ran.err.count("\n") == 1
    assert "`brokerpool login`" in ran.err
    assert "_URL" not in ran.err


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"WEBSOCKET_PORT": "taken"}, "ADDRESS_IN_USE: WEBSOCKET_PORT"),
        ({"WEBSOCKET_HOST": "192.0.2.1"}, "cannot listen: "),
        ({"BROKERPOOL_BROKER_HTTP_URL": "http://127.0.0.1:9"}, "BROKER_UNREACHABLE: 127.0.0.1"),
    ],
)
def test_serve_that_cannot_start_says_why_in_one_line_and_ends_with_1(
    rehearsal: tuple[Path, dict[str, str]], wrong: dict[str, str], expected: str, tmp_path: Path
) -> None:
    env_file, addresses = rehearsal
    taken = addresses["ws_url"].rpartition(":")[2]
    environ = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0", "BROKERPOOL_LOG_LEVEL": "ERROR", **wrong}
    ran = preloaded.run(
        [*COMMAND, "serve", "--env-file", str(env_file)],
        env={**os.environ, **{name: taken if value == "taken" else value for name, value in environ.items()}},
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        cwd=tmp_path,
    )
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"brokerpool: {expected}")
    assert ran.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_servers_drain_and_exit_0_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    env_file = tmp_path / "sim.env"
    free = {
        "WEBSOCKET_PORT": "0",
        "BROKERPOOL_HTTP_PORT": "0",
        "DATABASE_URL": f"sqlite:///{tmp_path / 'test.db'}",
    }
    with server("simulate", "--broker", "zerodha", "--write-env", str(env_file)) as (simulate, _):
        with server("serve", "--env-file", str(env_file), **free) as (serve, addresses):
            with urllib.request.urlopen(f"{addresses['http_url']}/stats", timeout=STOP_SECONDS) as answer:
                assert json.load(answer)["websocket"]["connections"] == 0
            serve.send_signal(number)
            assert serve.wait(STOP_SECONDS) == 0
        simulate.send_signal(number)
        assert simulate.wait(STOP_SECONDS) == 0


@pytest.mark.parametrize(
    "arguments", [("--broker", "nobody"), ("--broker", "zerodha", "--replay", "no-such-tape")]
)
def test_simulate_refuses_what_it_cannot_do_in_one_line(run: Any, arguments: tuple[str, ...]) -> None:
    ran = run("simulate", *arguments)
    assert ran.code == 1
    assert ran.err.startswith("brokerpool: ")
    assert ran.err.count("\n") == 1


def test_the_demo_shows_ticks_and_ends_by_itself() -> None:
    ran = subprocess.run(
        [*COMMAND, "demo", "--seconds", "3"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "3 of at most 3 connections carry 12 symbols" in ran.stdout
    assert ran.stdout.rstrip().endswith("ticks of 12 symbols arrived.")
    assert ran.stderr == ""


def test_a_demo_of_several_accounts_gives_each_its_part_of_the_symbols() -> None:
    named = [*brokers(), brokers()[0]]
    ran = subprocess.run(
        [*COMMAND, "demo", "--seconds", "2", "--accounts", ",".join(named)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.rstrip().endswith("ticks of 12 symbols arrived.")
    carried = re.findall(r"By account: (.+)\.$", ran.stdout, re.MULTILINE)[-1].split(", ")
    assert [int(each.split()[1]) > 0 for each in carried] == [True] * len(named)
    assert sum(int(each.split()[1]) for each in carried) == 12
    assert carried[-1].startswith(f"{named[0]}-2 "), "a second account of a broker has a name of its own"
    assert ran.stderr == ""


def test_a_demo_of_a_broker_that_cannot_be_simulated_is_refused_and_names_those_that_can(run: Any) -> None:
    ran = run("demo", "--accounts", f"{brokers()[0]},nobody")
    assert ran.code == 2
    assert all(name in ran.err for name in brokers())
