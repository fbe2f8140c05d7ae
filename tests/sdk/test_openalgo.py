"""OpenAlgo's own SDK against the gateway, each in its own process (1.x on Python 3.11, 2.x from 3.12 on)."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from tests import processes

PROGRAM = Path(__file__).with_name("openalgo_program.py")
SECOND_GENERATION = int(version("openalgo").split(".")[0]) >= 2


def run_program(folder: Path, ws_url: str, scenario: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(PROGRAM), ws_url, processes.api_key(folder), scenario, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=folder,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.alone
def test_it_connects_within_a_second_and_fills_callbacks_and_getters_with_the_brokers_values(
    tmp_path: Path,
) -> None:
    with (
        processes.simulator(tmp_path, symbols=20, rate=0) as broker,
        processes.gateway(tmp_path) as gateway,
    ):
        login = f"token {broker.said['api_key']}:{broker.said['access_token']}"
        urls = broker.said["control_url"], f"{broker.said['http_url']}/quote?i=NSE:INFY"
        seen = run_program(tmp_path, gateway.said["ws_url"], "ticks", *urls, login)
    assert seen["connected"] is True
    assert seen["connect_seconds"] < 1.0
    for mode in ("ltp", "quote", "depth"):
        assert seen["callbacks"][mode] >= 5, mode
        assert seen["after_unsubscribe"][mode] == 0, "ticks stop"
    # The market stood still meanwhile: the getters hold what the broker quotes over HTTP.
    quote = seen["broker_quote"]["data"]["NSE:INFY"]
    assert seen["ltp"]["ltp"] == quote["last_price"]
    assert seen["quote"]["ltp"] == quote["last_price"]
    assert seen["quote"]["volume"] == quote["volume"]
    for ours, theirs in (("open", "open"), ("high", "high"), ("low", "low"), ("close", "close")):
        assert seen["quote"][ours] == quote["ohlc"][theirs]
    for side, book in (("buy", "buyBook"), ("sell", "sellBook")):
        levels = seen["depth"][book]
        for n, level in enumerate(quote["depth"][side], start=1):
            assert float(levels[str(n)]["price"]) == level["price"]
            assert int(levels[str(n)]["qty"]) == level["quantity"]
            assert int(levels[str(n)]["orders"]) == level["orders"]


def test_a_wrong_key_is_refused(tmp_path: Path) -> None:
    with processes.simulator(tmp_path, symbols=5), processes.gateway(tmp_path) as gateway:
        seen = run_program(tmp_path, gateway.said["ws_url"], "wrong-key")
    assert seen["connected"] is False


@pytest.mark.skipif(
    not SECOND_GENERATION,
    reason="the 1.x SDK does not reconnect: take Python 3.12 (VENV=.venv312 PYTHON=python3.12)",
)
def test_it_survives_a_restart_of_the_gateway_with_everything_restored(tmp_path: Path) -> None:
    with processes.simulator(tmp_path, symbols=20, rate=200):
        with processes.gateway(tmp_path) as first:
            port = first.said["ws_url"].rpartition(":")[2]
            program = subprocess.Popen(
                [sys.executable, str(PROGRAM), first.said["ws_url"], processes.api_key(tmp_path), "restart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=tmp_path,
            )
            assert program.stdin is not None
            assert program.stdout is not None
            assert "ticking" in program.stdout.readline()
            assert first.terminate() == 0
        with processes.gateway(tmp_path, WEBSOCKET_PORT=port):
            output, _ = program.communicate("restarted\n", timeout=40)
    seen = json.loads(output.splitlines()[-1])
    assert all(count > 0 for count in seen["after_restart"].values()), seen
