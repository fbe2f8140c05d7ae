"""The demonstration: simulators and the gateway as the commands that users run, and a sample client."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import aiohttp
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from brokerpool import process_signals as signals
from brokerpool.brokers import registry
from brokerpool.commands.terminal_tables import pool_line, several_accounts, statistics
from brokerpool.settings import NAMES
from brokerpool.transport import DialError, Link, LinkHandler, dial

START_SECONDS = 30.0
STOP_SECONDS = 12.0
LINE_SECONDS = 2.0
FRAME_SECONDS = 0.25

#: What the sample client asks for, by mode: enough for three connections.
WANTED = {
    1: ("RELIANCE", "INFY", "SBIN", "TCS", "HDFCBANK", "ICICIBANK"),
    2: ("AXISBANK", "ITC", "KOTAKBANK", "LT"),
    3: ("HINDUNILVR", "BHARTIARTL"),
}
CONNECTIONS = 3
#: The file of the accounts, in the folder in which everything runs.
ACCOUNTS = "accounts.toml"
#: Ten ticks a second for each symbol.
MARKET = ("--symbols", "30", "--rate", "300")


class Row(NamedTuple):
    """The newest tick of one symbol, as the client got it."""

    symbol: str
    mode: int
    data: Mapping[str, Any]
    ticks: int
    at: float


class SampleClient(LinkHandler):
    """A program as an OpenAlgo user would write it: authenticates, subscribes, keeps the newest ticks."""

    def __init__(self, api_key: str) -> None:
        self._api_key = api_key
        self.rows: dict[str, Row] = {}
        self.ticks = 0
        self.ended = asyncio.Event()

    def opened(self, link: Link) -> None:
        link.send_text(json.dumps({"action": "authenticate", "api_key": self._api_key}))
        for mode, symbols in WANTED.items():
            wanted = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
            link.send_text(json.dumps({"action": "subscribe", "symbols": wanted, "mode": mode}))

    def text(self, message: str) -> None:
        frame = json.loads(message)
        if frame.get("type") != "market_data":
            return
        symbol = frame["symbol"]
        before = self.rows.get(symbol)
        count = before.ticks + 1 if before else 1
        self.rows[symbol] = Row(symbol, frame["mode"], frame["data"], count, time.monotonic())
        self.ticks += 1

    def closed(self, code: int, reason: str) -> None:
        self.ended.set()


async def run(
    brokers: Sequence[str], seconds: float | None, console: Console, *, cluster: bool = False
) -> int:
    """Show ticks for `seconds`, or until somebody interrupts; return the exit code, 0 when ticks arrived.

    There is an account at each of the `brokers`, by preference in this order. As a `cluster` it is two feed
    nodes, which hold the accounts, and two gateways with a client each. Raises BusError where a NATS server
    is needed and cannot be started. Everything that was started is
    stopped before this returns, also when a part of it fails.
    """
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(signals.handled(dict.fromkeys(signals.STOP, over.set)))
        # Windows lets nobody delete a file that a process which was killed has only just let go.
        made = TemporaryDirectory(prefix="brokerpool-demo-", ignore_cleanup_errors=True)
        folder = stack.enter_context(made)
        api_key = secrets.token_hex(16)
        clean = {name: value for name, value in os.environ.items() if name not in NAMES}
        gateway_env = {
            **clean,
            "BROKERPOOL_API_KEY": api_key,
            "WEBSOCKET_PORT": "0",
            "BROKERPOOL_HTTP_PORT": "0",
            "DATABASE_URL": f"sqlite:///{Path(folder) / 'demo.db'}",
        }
        for place, broker in enumerate(brokers):
            simulate = ("simulate", "--broker", broker, *MARKET, "--write-config", ACCOUNTS)
            await stack.enter_async_context(_command(simulate, clean, folder))
            _give_room(Path(folder, ACCOUNTS), brokers, place)
        started = _cluster if cluster else _alone
        async with started(gateway_env, folder, console) as gateways:
            for gateway in gateways:
                console.print(f"The gateway accepts clients at {gateway['ws_url']}")
                console.print(f"Its statistics are at {gateway['http_url']}/stats")
                console.print(f"Its dashboard is at {gateway['http_url']}/dashboard (its key: {api_key})")
            clients = [SampleClient(api_key) for _ in gateways]
            try:
                links = [await dial(g["ws_url"], c) for g, c in zip(gateways, clients, strict=True)]
                if seconds is not None:
                    loop.call_later(seconds, over.set)
                async with aiohttp.ClientSession(gateways[0]["http_url"]) as http:
                    await _show(clients[0], http, over, console)
            except (DialError, aiohttp.ClientError) as error:
                sys.exit(f"brokerpool: the gateway does not answer: {error}")
            if any(client.ended.is_set() for client in clients):
                sys.exit("brokerpool: the gateway closed the sample client's connection")
            for link, client in zip(links, clients, strict=True):
                link.close()
                await client.ended.wait()  # bounded: the link drops the TCP connection when the peer is slow
    for client in clients:
        console.print(f"{client.ticks} ticks of {len(client.rows)} symbols arrived.")
    return 0 if all(client.ticks for client in clients) else 1


@contextlib.asynccontextmanager
async def _alone(
    env: Mapping[str, str], folder: str, console: Console
) -> AsyncIterator[list[dict[str, Any]]]:
    """Run one gateway that does everything, and give what it says."""
    async with _command(("serve", "--config", ACCOUNTS), env, folder) as gateway:
        yield [gateway]


@contextlib.asynccontextmanager
async def _cluster(
    env: Mapping[str, str], folder: str, console: Console
) -> AsyncIterator[list[dict[str, Any]]]:
    """Run two feed nodes and two gateways that meet at a NATS server, and give what the gateways say."""
    from brokerpool.cluster.nats_server import NatsServer  # needs the extra

    server = NatsServer(Path(folder) / "nats")
    await asyncio.to_thread(server.start)
    try:
        (Path(folder) / "gateway.env").touch()
        async with contextlib.AsyncExitStack() as until_end:

            async def run(command: str, name: str, *settings: str) -> dict[str, Any]:
                own = {
                    "BROKERPOOL_NATS_URL": server.url,
                    "BROKERPOOL_NODE": name,
                    "DATABASE_URL": f"sqlite:///{Path(folder) / name}.db",
                }
                arguments = (command, *settings)
                return await until_end.enter_async_context(_command(arguments, {**env, **own}, folder, name))

            for name in ("feed-1", "feed-2"):
                said = await run("feed", name, "--config", ACCOUNTS)
                console.print(f"The feed node {name} tells how it is at {said['status_url']}/stats")
            # The gateways have no credentials of the broker.
            gateways = [
                await run("serve", name, "--env-file", "gateway.env") for name in ("gateway-1", "gateway-2")
            ]
            yield gateways
    finally:
        await asyncio.to_thread(server.stop)


def _give_room(accounts: Path, brokers: Sequence[str], place: int) -> None:
    """Let the account that was written last carry its part of the symbols and no more: all carry some."""
    wanted, several = sum(map(len, WANTED.values())), len(brokers)
    part = max(1, wanted * (place + 1) // several - wanted * place // several)
    allowed = registry.broker(brokers[place]).limits.max_connections
    connections = min(math.ceil(CONNECTIONS / several), allowed)
    with accounts.open("a", encoding="utf-8") as file:
        file.write(f"max_symbols_per_websocket = {math.ceil(part / connections)}\n")
        file.write(f"max_websocket_connections = {connections}\n")


async def _show(
    client: SampleClient, http: aiohttp.ClientSession, over: asyncio.Event, console: Console
) -> None:
    """Show what arrives, live on a terminal and else as a line now and then, until it is over."""
    live = Live(console=console, auto_refresh=False) if console.is_terminal else None
    with live or contextlib.nullcontext():
        while not (over.is_set() or client.ended.is_set()):
            async with http.get("/stats") as response:
                stats = await response.json()
            if live is not None:
                live.update(
                    Group(_ticks_view(client), statistics(stats), "Ctrl-C ends the demo."), refresh=True
                )
            else:
                _print_lines(client, stats, console)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FRAME_SECONDS if live else LINE_SECONDS):
                    await over.wait()


def _ticks_view(client: SampleClient) -> Table:
    table = Table("symbol", "mode", "last price", "change", "volume", "best bid", "best ask", "ticks", "age")
    now = time.monotonic()
    for row in sorted(client.rows.values(), key=lambda row: (row.mode, row.symbol)):
        table.add_row(
            f"NSE:{row.symbol}",
            ("", "LTP", "Quote", "Depth")[row.mode],
            f"{row.data['ltp']:.2f}",
            f"{row.data['change_percent']:+.2f} %" if "change_percent" in row.data else "",
            str(row.data.get("volume", "")),
            _best(row, "buy"),
            _best(row, "sell"),
            str(row.ticks),
            f"{now - row.at:.1f} s",
        )
    return table


def _best(row: Row, side: str) -> str:
    levels = row.data.get("depth", {}).get(side, [])
    return f"{levels[0]['quantity']} at {levels[0]['price']:.2f}" if levels else ""


def _print_lines(client: SampleClient, stats: Mapping[str, Any], console: Console) -> None:
    newest = sorted(client.rows.values(), key=lambda row: row.at)[-3:]
    prices = ", ".join(f"NSE:{row.symbol} {row.data['ltp']:.2f}" for row in newest) or "no tick yet"
    shares = ", ".join(f"{each['name']} {each['symbols']}" for each in several_accounts(stats))
    told = f"{prices}; {client.ticks} ticks so far. {pool_line(stats)}"
    console.print(f"{told} By account: {shares}." if shares else told, highlight=False, soft_wrap=True)


@contextlib.asynccontextmanager
async def _command(
    arguments: tuple[str, ...], env: Mapping[str, str], folder: str, name: str = ""
) -> AsyncIterator[dict[str, Any]]:
    """Run one of our servers and yield the first line that it prints; stop it at the end."""
    name = name or arguments[0]
    log = Path(folder) / f"{name}.log"
    with log.open("wb") as stderr:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "brokerpool",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=env,
            cwd=folder,  # where no settings of the user's are
            # Ctrl-C shall reach the demo alone, which then stops the gateway before the broker.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )
    assert process.stdout is not None
    try:
        try:
            line = await asyncio.wait_for(process.stdout.readline(), START_SECONDS)
        except TimeoutError:
            line = b""
        if not line:
            said = log.read_text("utf-8", "replace").strip()
            sys.exit(f"brokerpool: {name} did not start. It said: {said or 'nothing'}")
        yield json.loads(line)
    finally:
        await _stop(process)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    # On Windows SIGTERM would end it there and then; Ctrl-Break it can hear.
    process.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGTERM))
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
