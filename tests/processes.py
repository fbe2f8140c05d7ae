"""The product as its users run it: `brokerpool simulate` and `brokerpool serve` as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dotenv import dotenv_values

from brokerpool import fetch_instruments
from tests import preloaded

START_SECONDS = 30
STOP_SECONDS = 15
#: How they are started.
_popen: type[subprocess.Popen[Any]] = preloaded.Popen


@contextmanager
def fresh() -> Iterator[None]:
    """What is started inside has imported nothing: for tests that measure it, or that are about starts."""
    global _popen
    before, _popen = _popen, subprocess.Popen
    try:
        yield
    finally:
        _popen = before


class Running(NamedTuple):
    """A started command and the line of JSON with which it said that it is ready."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    def terminate(self, seconds: float = STOP_SECONDS) -> int:
        """Send SIGTERM, wait for so long at most, and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that are none of ours."""
    return {k: v for k, v in environ.items() if not k.startswith(("BROKERPOOL_", "WEBSOCKET_", "MAX_"))}


@contextmanager
def command(
    *arguments: str, folder: Path, python: Path | str = sys.executable, **environ: str
) -> Iterator[Running]:
    """Run `brokerpool` until the block ends; its log is kept in the folder and shown if it does not start."""
    log = folder / f"{arguments[0]}.log"
    with log.open("a") as stderr:
        process = _popen(
            [str(python), "-m", "brokerpool", *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=folder,
            env={**without_settings(os.environ), **environ},
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, f"{arguments} did not start:\n{log.read_text()}"
        yield Running(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(2 * STOP_SECONDS)  # a feed node hands its accounts over first
        assert process.stdout is not None
        process.stdout.close()


@contextmanager
def simulator(folder: Path, **options: object) -> Iterator[Running]:
    """Run a simulated broker; the settings that make `serve` use it are in `folder/sim.env`."""
    options = {"broker": "zerodha", **options}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    env = str(folder / "sim.env")
    with command("simulate", *words, "--write-env", env, folder=folder) as running:
        yield running


@contextmanager
def gateway(folder: Path, **environ: str) -> Iterator[Running]:
    """Run the gateway on the simulator that was started in the same folder."""
    ports = {"WEBSOCKET_PORT": "0", "BROKERPOOL_HTTP_PORT": "0"}
    with command("serve", "--env-file", str(folder / "sim.env"), folder=folder, **ports | environ) as running:
        yield running


def api_key(folder: Path) -> str:
    """Return the key that the gateway's clients need."""
    key = dotenv_values(folder / "sim.env")["BROKERPOOL_API_KEY"]
    assert key
    return key


def listed(broker: Running) -> dict[int, dict[str, str]]:
    """Return what the simulator lists, in the clients' spelling, by token."""
    book = asyncio.run(fetch_instruments(broker.said["http_url"]))
    return {int(book.token(i) or 0): {"symbol": i.symbol, "exchange": i.exchange} for i in book}


def get(url: str, **headers: str) -> Any:
    """Return the JSON that a URL of the simulator or the gateway answers with."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as response:
        return json.load(response)


def post(url: str, body: Mapping[str, object] | None = None) -> Any:
    """Send JSON, to the simulator's control endpoint for one, and return the answer."""
    data, headers = json.dumps(body or {}).encode(), {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data=data, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)
