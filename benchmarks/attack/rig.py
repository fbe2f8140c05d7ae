"""Who takes part: broker, gateway, clients and attackers as processes that all end with the stack."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.fanout.load_process import LoadError, LoadProcess
from benchmarks.fanout.meters import on_core
from benchmarks.fanout.peers import Cores
from brokerpool.simulator.zerodha.instruments import INDICES
from tests import processes

from .attacks import ATTACKS
from .clients import Plan

#: How many clients hold a symbol, as far as there are so many; and symbols of the market for each client.
HOLDERS = 5
SYMBOLS_EACH = 20
_READY_SECONDS = 30.0
#: Which attacks one process of attackers has, and which the other.
_PROCESSES = (ATTACKS[:4], ATTACKS[4:])
_NUMBER = re.compile(r"\d+")
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \S+ ")


class GatewayLog:
    """The gateway's log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from = path.stat().st_size

    def lines(self) -> list[str]:
        """Return the lines since then."""
        with self._path.open("rb") as log:
            log.seek(self._from)
            return log.read().decode(errors="replace").splitlines()

    def kinds(self) -> list[tuple[str, int]]:
        """Return the lines without times and numbers and how many there are of each, most first."""
        return Counter(_NUMBER.sub("N", _STAMP.sub("", line)) for line in self.lines()).most_common()

    def errors(self) -> list[str]:
        """Return the lines of the level ERROR, and the heads of tracebacks."""
        return [line for line in self.lines() if " ERROR " in line or "Traceback" in line]


@dataclass(frozen=True)
class Order:
    """What a run is asked to do."""

    clients: int
    #: Frames a second for all clients together.
    rate: float
    #: Under attack, and as many without it.
    seconds: float
    #: Which attack, and by what their limits are multiplied.
    names: Sequence[str]
    pace: float
    #: Whether each attacks alone as well, when all is measured.
    alone: bool
    #: Whether all but the attackers run before other programs of the machine.
    ahead: bool


@dataclass(frozen=True)
class Rig:
    """Everybody, running; the attackers wait."""

    gateway: subprocess.Popen[str]
    log: GatewayLog
    clients: LoadProcess
    attackers: Sequence[LoadProcess]

    @property
    def pid(self) -> int:
        """The gateway's."""
        return self.gateway.pid

    def attack(self, names: Sequence[str]) -> None:
        """Let these attackers begin."""
        for process, attacks in zip(self.attackers, _PROCESSES, strict=True):
            process.tell("attack " + ",".join(attack.name for attack in attacks if attack.name in names))

    def rest(self) -> list[dict[str, Any]]:
        """Let all attackers stop, and return what each process of them managed."""
        return [process.ask("rest") for process in self.attackers]


def started(stack: ExitStack, order: Order, seconds: int) -> Rig:
    """Start everybody and wait until each client is subscribed; what is left after `seconds` ends by itself.

    With `order.ahead` all but the attackers have their core whenever they want it. Raises LoadError when
    there is one core only, when that is not allowed, or when a part gives up.
    """
    cores = Cores.of_this_machine()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="attack-")))
    clients, holders = order.clients, min(HOLDERS, order.clients)
    with on_core(cores.load):
        broker = stack.enter_context(
            processes.simulator(folder, symbols=clients * SYMBOLS_EACH, rate=order.rate / holders)
        )
    with on_core(cores.serving):
        gateway = stack.enter_context(processes.gateway(folder))
    # Indices have no volume, by which ticks are told apart.
    listed = {token: row for token, row in processes.listed(broker).items() if token & 0xFF != INDICES}
    rows = list(listed.values())
    said = broker.said
    plan: Plan = {
        "ws_port": _port(gateway.said["ws_url"]),
        "api_key": processes.api_key(folder),
        "broker_url": f"{said['ws_url']}?api_key={said['api_key']}&access_token={said['access_token']}",
        "names": {str(token): row["symbol"] for token, row in listed.items()},
        "wanted": [
            [row for n, row in enumerate(rows) if (n - client) % clients < holders]
            for client in range(clients)
        ],
        "seconds": seconds,
    }
    with on_core(cores.load):
        subscribers = stack.enter_context(LoadProcess(Path(sys.executable), "-mbenchmarks.attack.clients"))
        options: dict[str, object] = {
            "ws_port": plan["ws_port"],
            "http_port": _port(gateway.said["http_url"]),
            "seconds": seconds,
            "pace": order.pace,
        }
        attackers = [
            stack.enter_context(LoadProcess(Path(sys.executable), "-mbenchmarks.attack.attackers", **options))
            for _ in _PROCESSES
        ]
    subscribers.tell(json.dumps(plan))
    subscribers.answer(_READY_SECONDS)
    if order.ahead:
        _put_ahead(gateway.process.pid, subscribers.pid, broker=broker.process.pid)
    return Rig(gateway.process, GatewayLog(folder / "serve.log"), subscribers, attackers)


def _put_ahead(*pids: int, broker: int) -> None:
    try:
        for pid in pids:
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
        os.sched_setscheduler(
            broker, os.SCHED_RR, os.sched_param(2)
        )  # before those who wait for what it writes
    except PermissionError:
        raise LoadError("--ahead is for root, or needs CAP_SYS_NICE; leave it out.") from None


def _port(url: str) -> int:
    return urlsplit(url).port or 0
