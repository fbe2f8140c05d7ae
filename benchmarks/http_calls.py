"""What a kept connection saves, and what our pool costs on top of aiohttp: all peers in the same run.

`python -m benchmarks.http_calls` prints two tables and the reuse ratio, and exits 1 when a target is missed.
All load is on 127.0.0.1 and bounded. The broker is 50 ms away each way behind a proxy that only delays:
neither loss nor the slow start of a real line is modelled. CPU is user and system time of this process; the
server has one of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp
import httpx
import requests
from rich.console import Console
from rich.table import Table

from brokerpool import BrokerClient
from tests.http_server import Authority, DelayProxy, Reply, ScriptedBroker

ROUND_TRIP = 0.1
CPU_TARGET = 1.2
REUSE_TARGET = 0.99
CALLS = 10_000
AT_ONCE = 20
#: About what a quote of one instrument has.
BODY = b'{"status":"success","data":{"NSE:INFY":{"last_price":1412.95,"depth":"' + b"x" * 900 + b'"}}}'
HEADERS = {"X-Kite-Version": "3", "Authorization": "token key:secret"}
PARAMS = {"i": "NSE:INFY"}


class Far(NamedTuple):
    """How long calls took, in seconds: the first one on a new connection, and one on a kept one."""

    first: float
    later: float


class Broker(NamedTuple):
    """A server in a process of its own."""

    url: str
    authority: str

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.authority)


# -- distance ---------------------------------------------------------------------------------------------


async def distance(rounds: int) -> dict[str, Far]:
    """Return the times of each client behind a proxy that adds 50 ms each way; the best of all rounds."""
    authority = Authority()
    async with ScriptedBroker(authority.server()) as broker, DelayProxy(broker.port, ROUND_TRIP / 2) as proxy:
        broker.script = lambda seen: Reply(body=BODY)
        url = f"https://127.0.0.1:{proxy.port}/quote"
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / "authority.pem"
            bundle.write_bytes(authority.pem())
            ways: dict[str, Callable[[], Awaitable[Far]]] = {
                "brokerpool": lambda: _far_ours(url, authority.trusted()),
                "requests, no session": lambda: asyncio.to_thread(_far_requests, url, str(bundle)),
                "requests.Session": lambda: asyncio.to_thread(_far_session, url, str(bundle)),
                "httpx.Client": lambda: asyncio.to_thread(_far_httpx, url, authority.trusted()),
            }
            found: dict[str, list[Far]] = {}
            for _ in range(rounds):
                for name, way in ways.items():
                    found.setdefault(name, []).append(await way())
    return {name: Far(min(f.first for f in fars), min(f.later for f in fars)) for name, fars in found.items()}


async def _far_ours(url: str, context: ssl.SSLContext) -> Far:
    async with BrokerClient(url.removesuffix("/quote"), name="far", ssl_context=context) as client:
        times = []
        for _ in range(3):
            began = time.perf_counter()
            await client.request("GET", "/quote")
            times.append(time.perf_counter() - began)
    return Far(times[0], min(times[1:]))


def _far_requests(url: str, bundle: str) -> Far:
    return _timed(lambda: requests.get(url, verify=bundle, timeout=10).content)


def _far_session(url: str, bundle: str) -> Far:
    with requests.Session() as session:
        return _timed(lambda: session.get(url, verify=bundle, timeout=10).content)


def _far_httpx(url: str, context: ssl.SSLContext) -> Far:
    with httpx.Client(verify=context, timeout=10) as client:
        return _timed(lambda: client.get(url).content)


def _timed(call: Callable[[], bytes]) -> Far:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        assert call() == BODY
        times.append(time.perf_counter() - began)
    return Far(times[0], min(times[1:]))


# -- cost -------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """CPU for each call in microseconds, medians, and the median of the rounds' ratios."""

    what: str
    ours: float
    bare: float
    ratio: float


def costs(broker: Broker, rounds: int) -> list[Cost]:
    """Compare each round's CPU with that of bare aiohttp in the same round; they begin by turns."""
    found = []
    for what, at_once in (("one after the other", 1), (f"{AT_ONCE} at once", AT_ONCE)):
        ours: list[float] = []
        bare: list[float] = []
        for number in range(rounds):
            turns = [(ours, _cpu_ours), (bare, _cpu_bare)]
            for times, measure in turns if number % 2 else reversed(turns):
                times.append(asyncio.run(measure(broker, at_once)))
        ratio = statistics.median(o / b for o, b in zip(ours, bare, strict=True))
        found.append(Cost(what, statistics.median(ours), statistics.median(bare), ratio))
    return found


async def _cpu_ours(broker: Broker, at_once: int) -> float:
    async with BrokerClient(broker.url, name="cost", ssl_context=broker.trusted()) as client:

        async def call() -> None:
            await client.request("GET", "/quote", params=PARAMS, headers=HEADERS)

        return await _cpu(call, at_once)


async def _cpu_bare(broker: Broker, at_once: int) -> float:
    connector = aiohttp.TCPConnector(limit=AT_ONCE, ssl=broker.trusted())
    async with aiohttp.ClientSession(connector=connector) as session:

        async def call() -> None:
            async with session.get(f"{broker.url}/quote", params=PARAMS, headers=HEADERS) as answer:
                await answer.read()

        return await _cpu(call, at_once)


async def _cpu(call: Callable[[], Awaitable[None]], at_once: int, calls: int = 2000) -> float:
    async def worker(count: int) -> None:
        for _ in range(count):
            await call()

    await asyncio.gather(*(worker(3) for _ in range(at_once)))
    began = _cpu_now()
    await asyncio.gather(*(worker(calls // at_once) for _ in range(at_once)))
    return (_cpu_now() - began) / calls * 1e6


def _cpu_now() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def reuse(broker: Broker) -> float:
    """Return the share of 10,000 calls that found a kept connection."""
    async with BrokerClient(broker.url, name="reuse", ssl_context=broker.trusted()) as client:

        async def worker() -> None:
            for _ in range(CALLS // AT_ONCE):
                await client.request("GET", "/quote", params=PARAMS)

        await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
        ratio = client.stats()["reuse_ratio"]
        assert isinstance(ratio, float)
        return ratio


# -- the server's process ---------------------------------------------------------------------------------


@contextmanager
def broker_process() -> Iterator[Broker]:
    """Start a server and end it again."""
    command = [sys.executable, "-m", "benchmarks.http_calls", "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Broker(**json.loads(process.stdout.readline()))
        finally:
            process.terminate()


class _Answering(asyncio.Protocol):
    """Answers each request with the same body, and as cheaply as can be."""

    _ANSWER = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *requests_, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in requests_:
            self._transport.write(self._ANSWER)


async def _serve() -> None:
    authority = Authority()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Answering, "127.0.0.1", 0, ssl=authority.server())
    port = server.sockets[0].getsockname()[1]
    about = {"url": f"https://127.0.0.1:{port}", "authority": authority.pem().decode()}
    print(json.dumps(about), flush=True)
    await asyncio.sleep(900)  # ends by itself, should the benchmark be killed


# -- the report -------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_calls", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns that each client takes (default 15)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(_serve())
        return 0
    console = Console()
    console.print(_far_table(asyncio.run(distance(max(2, arguments.rounds // 5)))))
    with broker_process() as broker:
        found = costs(broker, arguments.rounds)
        kept = asyncio.run(reuse(broker))
    table = Table("calls", "brokerpool, us", "bare aiohttp, us", "ratio", "", title="CPU for each call, TLS")
    for what, ours, bare, ratio in found:
        table.add_row(what, f"{ours:.0f}", f"{bare:.0f}", f"{ratio:.2f}", _verdict(ratio <= CPU_TARGET))
    console.print(table)
    met = kept > REUSE_TARGET
    console.print(f"{CALLS} calls, {AT_ONCE} at once: {kept:.4f} of them on a kept connection", _verdict(met))
    return 0 if met and all(cost.ratio <= CPU_TARGET for cost in found) else 1


def _far_table(found: dict[str, Far]) -> Table:
    names = ("client", "first call", "later call", "saved")
    table = Table(*names, title="A broker 100 ms away, TLS 1.3, in round trips")
    for name, (first, later) in found.items():
        trips = (first / ROUND_TRIP, later / ROUND_TRIP, (first - later) / ROUND_TRIP)
        table.add_row(name, *(f"{trip:.2f}" for trip in trips))
    return table


def _verdict(met: bool) -> str:
    return "[green]met[/]" if met else "[red]missed[/]"


if __name__ == "__main__":
    sys.exit(main())
