"""The systems under test: the pool alone, one process that does it all, and a cluster of several gateways."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.fanout.load_process import LoadError, LoadProcess
from benchmarks.fanout.meters import on_core
from benchmarks.fanout.peers import (
    API_KEY,
    Cores,
    ServingProcess,
    clients_of,
    environment,
    feed_of,
    serve_instruments,
)
from benchmarks.fanout.scenarios import Scenario
from brokerpool.cluster.nats_server import NatsServer

#: Without another subscription for so long the broker has all of them.
_SETTLED_SECONDS = 3.0


@dataclass(frozen=True)
class ClusterRig:
    """What runs, with a broker that waits for "run"."""

    kite: LoadProcess
    #: What has the broker's connections; in one process also the gateway.
    feed: ServingProcess
    gateways: Sequence[ServingProcess]
    #: Of each gateway.
    clients: Sequence[LoadProcess]
    #: The process id of the NATS server; None without.
    nats: int | None = None


def rig(
    stack: ExitStack, program: Path, cores: Cores, scenario: Scenario, kind: str, gateways: int
) -> ClusterRig:
    """Start the `pool` alone, all in `one` process, or a cluster. Raises LoadError when a part gives up."""
    kite = feed_of(stack, program, cores, scenario, "kite")
    broker = {
        "BROKERPOOL_BROKER_API_KEY": "bench",
        "BROKERPOOL_BROKER_ACCESS_TOKEN": "bench",
        "BROKERPOOL_BROKER_WS_URL": f"ws://127.0.0.1:{kite.answer()['port']}/",
        "BROKERPOOL_BROKER_HTTP_URL": serve_instruments(stack, scenario.symbols),
        "BROKERPOOL_MARKET_HOURS": "always",
        "MAX_SYMBOLS_PER_WEBSOCKET": scenario.symbols // scenario.sockets,
        "MAX_WEBSOCKET_CONNECTIONS": scenario.sockets,
    }

    def process(core: int, *command: str, **settings: object) -> ServingProcess:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        own = {
            "BROKERPOOL_API_KEY": API_KEY,
            "DATABASE_URL": f"sqlite:///{folder}/bench.db",
            "WEBSOCKET_PORT": 0,
            "BROKERPOOL_HTTP_PORT": 0,
        }
        return ServingProcess(stack, core, [sys.executable, *command], environment(**own, **settings))

    nats, serving = None, []
    if kind == "pool":
        feed = process(cores.serving, str(Path(__file__).with_name("pool_alone.py")), **broker)
        feed.first_line()
    elif kind == "one":
        feed = process(cores.serving, "-m", "brokerpool", "serve", **broker)
        serving = [feed]
    else:
        server = NatsServer(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        with on_core(cores.load):
            server.start()
        stack.callback(server.stop)
        assert server.process is not None
        nats, joins = server.process.pid, {"BROKERPOOL_NATS_URL": server.url}
        feed = process(cores.serving, "-m", "brokerpool", "feed", **broker, **joins)
        feed.first_line()
        # With two cores the last gateway has that of the load; more cores are the scheduler's to give.
        places = [cores.serving, cores.load]
        serving = [process(places[n % 2], "-m", "brokerpool", "serve", **joins) for n in range(gateways)]
    clients = []
    for gateway in serving:
        port = urlsplit(gateway.first_line()["ws_url"]).port or 0
        clients.append(clients_of(stack, program, cores, scenario, gateway.pid, port, "openalgo"))
        clients[-1].answer(60)
    _settled(kite)
    return ClusterRig(kite, feed, serving, clients, nats)


def _settled(kite: LoadProcess) -> None:
    """Return once the broker is asked for nothing more."""
    asked, since = 0, time.monotonic()
    while not asked or time.monotonic() - since < _SETTLED_SECONDS:
        try:
            asked = kite.answer(_SETTLED_SECONDS)["subscribed"]
            since = time.monotonic()
        except LoadError:
            if not asked:
                raise
            return
