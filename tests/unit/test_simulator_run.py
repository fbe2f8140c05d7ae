"""`simulate` as a process: one line of JSON, a settings file for the owner only, a clean end."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from websockets.sync.client import connect

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.simulator import simulate
from brokerpool.simulator.registry import brokers

SCRIPT = """
import asyncio, pathlib, sys
from brokerpool.simulator import simulate
env = pathlib.Path(sys.argv[1])
asyncio.run(simulate(broker="zerodha", symbols=50, rate=500, seed=3, write_env=env))
"""


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_it_announces_itself_and_ends_on_a_signal(tmp_path: Path, signum: signal.Signals) -> None:
    env = tmp_path / "sim.env"
    env.touch(0o644)
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(env)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            said = json.loads(process.stdout.readline())
            names = {"broker", "ws_url", "http_url", "control_url", "api_key", "access_token"}
            assert set(said) == names | {"api_secret", "login_url"}
            assert said["broker"] == "zerodha"
            assert stat.S_IMODE(env.stat().st_mode) == 0o600
            settings = dict(line.split("=", 1) for line in env.read_text().splitlines())
            assert settings.pop("BROKERPOOL_API_KEY")
            assert settings == {
                "BROKERPOOL_BROKER": "zerodha",
                "BROKERPOOL_BROKER_API_KEY": said["api_key"],
                "BROKERPOOL_BROKER_ACCESS_TOKEN": said["access_token"],
                "BROKERPOOL_BROKER_API_SECRET": said["api_secret"],
                "BROKERPOOL_BROKER_LOGIN_URL": said["login_url"].partition("?")[0],
                "BROKERPOOL_BROKER_WS_URL": said["ws_url"],
                "BROKERPOOL_MARKET_HOURS": "always",
                "BROKERPOOL_BROKER_HTTP_URL": said["http_url"],
            }
            url = f"{said['ws_url']}?api_key={said['api_key']}&access_token={said['access_token']}"
            with connect(url) as client:
                client.send('{"a": "subscribe", "v": [408065]}')
                assert isinstance(client.recv(timeout=5.0), bytes)
                process.send_signal(signum)
                assert process.wait(timeout=10.0) == 0
            assert said["access_token"] not in process.stderr.read()
        finally:
            if process.poll() is None:
                process.kill()


def test_openalgo_is_announced_with_its_key_alone_and_writes_what_a_gateway_needs(tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "brokerpool", "simulate", "--broker", "openalgo"]
    env = tmp_path / "sim.env"
    with subprocess.Popen([*command, "--write-env", str(env)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            settings = dict(line.split("=", 1) for line in env.read_text().splitlines())
        finally:
            process.terminate()
        assert process.wait(timeout=10.0) == 0
    assert set(said) == {"broker", "ws_url", "http_url", "control_url", "api_key"}
    assert settings.pop("BROKERPOOL_API_KEY")
    assert settings == {
        "BROKERPOOL_BROKER": "openalgo",
        "BROKERPOOL_BROKER_API_KEY": said["api_key"],
        "BROKERPOOL_BROKER_WS_URL": said["ws_url"],
        "BROKERPOOL_BROKER_HTTP_URL": said["http_url"],
        "BROKERPOOL_MARKET_HOURS": "always",
    }


def test_a_taken_port_is_told_with_what_to_do_next() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerpoolError, match=f"cannot listen on port {port}") as refused:
            asyncio.run(simulate(broker="zerodha", port=port))
    assert refused.value.code is ErrorCode.ADDRESS_IN_USE


def test_only_known_brokers_are_simulated() -> None:
    with pytest.raises(ValueError, match=f"brokers: {', '.join(brokers())}"):
        asyncio.run(simulate(broker="moonbroker"))


def test_signal_handlers_are_given_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(FileNotFoundError):
        asyncio.run(simulate(broker="zerodha", replay=tmp_path / "missing"))
    assert signal.getsignal(signal.SIGTERM) == before
