"""A cluster as its users run it: NATS, simulated broker, feed nodes and gateways as processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

from brokerpool.cluster.nats_server import NatsServer
from tests import processes, rehearsal
from tests.processes import Running

#: From now on nothing takes longer, on a machine that others use too.
SECONDS = 60.0


class Cluster:
    """One folder in which all of it runs until the block ends."""

    def __init__(self, folder: Path, until_end: ExitStack) -> None:
        self.folder = folder
        self._until_end = until_end
        self.nats = NatsServer(folder / "nats")
        self.broker: Running
        self._started = 0

    def start(self, **simulated: object) -> None:
        """Start NATS and the broker."""
        self.nats.start()
        self._until_end.callback(self.nats.stop)
        self.broker = self._until_end.enter_context(processes.simulator(self.folder, **simulated))

    def feed(self, name: str, **environ: str) -> Running:
        """Start a feed node."""
        return self._command(name, "feed", ("feed", "--env-file", str(self.folder / "sim.env")), environ)

    def gateway(self, name: str, **environ: str) -> Running:
        """Start a gateway, which has no credentials of the broker."""
        empty = self.folder / "gateway.env"
        empty.write_text(f"BROKERPOOL_API_KEY={self.api_key}\n")
        return self._command(name, "gateway", ("serve", "--env-file", str(empty)), environ)

    @property
    def api_key(self) -> str:
        """The key of the gateways' clients."""
        key = dotenv_values(self.folder / "sim.env")["BROKERPOOL_API_KEY"]
        assert key
        return key

    def symbols(self) -> list[str]:
        """Return the shares that the broker lists."""
        return [row["symbol"] for row in processes.listed(self.broker).values() if row["exchange"] == "NSE"]

    def log(self, name: str) -> str:
        """Return what a process has logged."""
        return "".join(file.read_text() for file in (self.folder / name).glob("*.log"))

    def broker_stats(self) -> dict[str, Any]:
        """Return the broker's ledger."""
        told: dict[str, Any] = processes.get(f"{self.broker.said['control_url']}/stats")
        return told

    def _command(self, name: str, kind: str, arguments: tuple[str, ...], environ: dict[str, str]) -> Running:
        self._started += 1
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        settings = {
            "BROKERPOOL_NATS_URL": self.nats.url,
            "BROKERPOOL_NODE": f"{name}-{self._started}",
            "DATABASE_URL": f"sqlite:///{folder / 'brokerpool.db'}",
            "WEBSOCKET_PORT": "0",
            "BROKERPOOL_HTTP_PORT": "0",
        }
        return self._until_end.enter_context(_process(folder, arguments, {**settings, **environ}))


@contextmanager
def cluster(folder: Path, **simulated: object) -> Iterator[Cluster]:
    """Run NATS and a simulated broker; what is started in the cluster ends with the block, NATS last."""
    with ExitStack() as until_end:
        started = Cluster(folder, until_end)
        started.start(**simulated)
        yield started


@contextmanager
def _process(folder: Path, arguments: tuple[str, ...], environ: dict[str, str]) -> Iterator[Running]:
    with processes.command(*arguments, folder=folder, **environ) as running:
        yield running
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.process.pid, signal.SIGCONT)  # one that was stopped is to hear SIGTERM


async def until(holds: Callable[[], object], seconds: float = SECONDS) -> None:
    """Return once it holds; fail when it does not within `seconds`."""
    await rehearsal.until(holds, seconds)


def told(url: str) -> dict[str, Any]:
    """Return what a process says at a URL, {} while it does not answer."""
    try:
        answer: dict[str, Any] = processes.get(url)
    except (OSError, json.JSONDecodeError):
        return {}
    return answer


def holder(running: Running) -> str:
    """Return the node that holds the broker's account, as a process of the cluster sees it; "" for none."""
    url = running.said.get("status_url") or running.said["http_url"]
    accounts = told(f"{url}/stats").get("cluster", {}).get("accounts", [])
    return next((str(account["node"]) for account in accounts), "")
