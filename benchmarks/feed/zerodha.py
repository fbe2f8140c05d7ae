"""CPU of a broker packet from the socket to a Tick: brokerpool and kiteconnect 5.2.2 in the same run.

`python -m benchmarks.feed` prints two tables and exits 1 when decoding misses its target. All load is on
127.0.0.1 and bounded. Figures are ratios of two programs that took turns on one machine; the microseconds
beside them are that machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import random
import resource
import statistics
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from kiteconnect import KiteTicker
from rich.console import Console
from rich.table import Table

from brokerpool.brokers.zerodha import KiteWire
from brokerpool.instruments import Instrument, Token
from brokerpool.transport import Link, LinkHandler, Refusal, UpgradeRequest, dial, serve
from brokerpool.transport.frames import BINARY, server_frame

TARGET = 8.0
#: The target is judged at this size: the frames of a busy feed. Smaller and larger ones are shown.
JUDGED_SIZE = 100
MODES = ("ltp", "quote", "full")
SIZES = (1, 10, 100, 3000)
TOKENS = [(exchange_token << 8) + 1 for exchange_token in range(1000, 4000)]
ROUTES: dict[Token, Instrument] = {token: Instrument("NSE", f"SIM{token}") for token in TOKENS}
RECEIVED_MS = 1_790_000_000_123

_QUOTE = struct.Struct(">IiIiIIIiiii")
_TIMES_AND_OI = struct.Struct(">IIIII")
_LEVEL = struct.Struct(">IiHxx")


class Market:
    """Packets of 3000 instruments in the middle of a day; seeded, so that every run decodes the same bytes.

    Every packet brings new prices and quantities; one in a hundred moves the day's high or low, which is how
    often a random walk of one step a second over a trading day does it.
    """

    def __init__(self, seed: int = 17) -> None:
        self._rng = random.Random(seed)  # a benchmark's input, not a secret
        self._opens = {token: self._rng.randrange(5_000, 500_000, 5) for token in TOKENS}
        self._extremes = {token: (max(5, price - 500), price + 500) for token, price in self._opens.items()}

    def frame(self, mode: str, packets: int) -> bytes:
        """Return a message with the next packets of the first `packets` instruments."""
        parts = [struct.pack(">H", packets)]
        for token in TOKENS[:packets]:
            packet = self._packet(mode, token)
            parts += (struct.pack(">H", len(packet)), packet)
        return b"".join(parts)

    def _packet(self, mode: str, token: int) -> bytes:
        rng, open_ = self._rng, self._opens[token]
        last = max(5, open_ + rng.randrange(-90, 91) * 5)
        if mode == "ltp":
            return struct.pack(">Ii", token, last)
        low, high = self._extremes[token]
        if rng.random() < 0.01:
            self._extremes[token] = low, high = low, high + 5
        volume, buys, sells = (rng.randrange(10_000_000) for _ in range(3))
        quote = _QUOTE.pack(
            token, last, rng.randrange(1, 500), open_, volume, buys, sells, open_, high, low, open_ - 50
        )
        if mode == "quote":
            return quote
        seconds = 1_700_000_000 + rng.randrange(10_000)
        book = b"".join(
            _LEVEL.pack(rng.randrange(5_000), max(5, last + 5 * step), rng.randrange(60))
            for step in (-1, -2, -3, -4, -5, 1, 2, 3, 4, 5)
        )
        return quote + _TIMES_AND_OI.pack(seconds, rng.randrange(1_000_000), 0, 0, seconds) + book


# -- decoding only ----------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One line of a table: microseconds of CPU per packet."""

    what: str
    packets: int
    ours: float
    official: float

    @property
    def ratio(self) -> float:
        return self.official / self.ours


def decoding(rounds: int) -> list[Row]:
    """Measure `KiteWire.decode` and `KiteTicker._parse_binary` on the same frames, in turns."""
    wire, ticker = KiteWire(), KiteTicker("key", "token")
    rows = []
    for mode in MODES:
        for size in SIZES:
            market = Market()
            frames = [market.frame(mode, size) for _ in range(max(8, 1000 // size) if size < 3000 else 4)]
            views = [memoryview(frame) for frame in frames]
            ours: list[float] = []
            official: list[float] = []
            for number in range(rounds + 1):
                mine, theirs = _cpu_ours(wire, views), _cpu_official(ticker, frames)
                if number:  # the first round warms caches and memory
                    ours.append(mine)
                    official.append(theirs)
            per_packet = 1e6 / (len(frames) * size)
            rows.append(
                Row(
                    mode, size, statistics.median(ours) * per_packet, statistics.median(official) * per_packet
                )
            )
    if any(wire.skipped.values()):
        raise SystemExit(f"packets were skipped: {wire.skipped}")
    return rows


# Both decode one frame unmeasured first: the other program's memory has just gone back to the system.


def _cpu_ours(wire: KiteWire, frames: Sequence[memoryview]) -> float:
    wire.binary(frames[0], ROUTES, RECEIVED_MS)
    started = time.process_time()
    for frame in frames:
        wire.binary(frame, ROUTES, RECEIVED_MS)
    return time.process_time() - started


def _cpu_official(ticker: KiteTicker, frames: Sequence[bytes]) -> float:
    ticker._parse_binary(frames[0])
    started = time.process_time()
    for frame in frames:
        ticker._parse_binary(frame)
    return time.process_time() - started


# -- receiving and decoding -------------------------------------------------------------------------------


class Case(NamedTuple):
    """One loopback run: how many messages of how many packets in which mode."""

    mode: str
    packets: int
    messages: int


CASES = (Case("full", 1, 20_000), Case("full", 10, 8_000), Case("quote", 10, 20_000), Case("ltp", 10, 40_000))


def receiving(rounds: int) -> list[Row]:
    """Measure the receiving process from the handshake to the close, each side with its own client."""
    rows = []
    for case in CASES:
        spent: dict[str, list[float]] = {"ours": [], "official": []}
        for _ in range(rounds):
            for side, figures in spent.items():
                figures.append(_stream(case, side))
        ours, official = (statistics.median(figures) for figures in spent.values())
        rows.append(Row(case.mode, case.packets, ours, official))
    return rows


def _stream(case: Case, side: str) -> float:
    """Return the microseconds of CPU that one side's process needs per packet."""
    command = [sys.executable, "-m", "benchmarks.feed"]
    sending = [*command, "--send", *map(str, case)]
    with subprocess.Popen(sending, stdout=subprocess.PIPE, text=True) as sender:
        try:
            port = sender.stdout.readline().strip() if sender.stdout else ""
            receiver = subprocess.run(
                [*command, "--receive", side, port], stdout=subprocess.PIPE, check=True, timeout=120
            )
        finally:
            sender.terminate()
    result = json.loads(receiver.stdout)
    expected = case.packets * case.messages
    if result["packets"] != expected:
        raise SystemExit(f"{side}: {result['packets']} of {expected} packets arrived")
    return float(result["cpu_seconds"]) * 1e6 / expected


class _Stream(LinkHandler):
    """Sends every message to its one client as fast as that client reads, then closes."""

    def __init__(self, frames: list[bytes], messages: int) -> None:
        self._frames = frames
        self._left = messages
        self._link: Link | None = None
        self._flowing = True

    def opened(self, link: Link) -> None:
        self._link = link
        asyncio.get_running_loop().call_soon(self._send)

    def paused(self) -> None:
        self._flowing = False

    def resumed(self) -> None:
        self._flowing = True
        self._send()

    def _send(self) -> None:
        link = self._link
        while self._flowing and self._left and link is not None:
            batch = self._frames[: self._left]
            self._left -= len(batch)
            link.send_frames(b"".join(batch))
            if not self._left:
                link.close()


async def _send(case: Case) -> None:
    market = Market()
    frames = [server_frame(market.frame(case.mode, case.packets), BINARY) for _ in range(20)]

    def accept(_: UpgradeRequest) -> LinkHandler | Refusal:
        return _Stream(frames, case.messages)

    server = await serve(accept, "127.0.0.1", 0)
    print(server.port, flush=True)
    await asyncio.sleep(120)  # the parent ends this process; it ends itself when there is no parent


def _now() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class _Counter(LinkHandler):
    def __init__(self) -> None:
        self._wire = KiteWire()
        self.packets = 0
        self.done = asyncio.Event()
        self.started = self.ended = 0.0

    def opened(self, link: Link) -> None:
        self.started = _now()

    def binary(self, message: bytes | memoryview) -> None:
        self.packets += len(self._wire.binary(message, ROUTES, time.time_ns() // 1_000_000))

    def closed(self, code: int, reason: str) -> None:
        self.ended = _now()
        self.done.set()


async def _receive_ours(port: str) -> tuple[int, float]:
    counter = _Counter()
    await dial(f"ws://127.0.0.1:{port}/", counter)
    await counter.done.wait()
    return counter.packets, counter.ended - counter.started


def _receive_official(port: str) -> tuple[int, float]:
    """Run the official client as its documentation does; it brings autobahn and Twisted."""
    logging.disable()  # it logs a close as an error
    ticker = KiteTicker("key", "token", root=f"ws://127.0.0.1:{port}/", reconnect=False)
    packets, started, ended = 0, 0.0, 0.0

    def on_connect(_: KiteTicker, __: object) -> None:
        nonlocal started
        started = _now()

    def on_ticks(_: KiteTicker, ticks: list[dict[str, Any]]) -> None:
        nonlocal packets
        packets += len(ticks)

    def on_close(official: KiteTicker, _: int, __: str) -> None:
        nonlocal ended
        ended = _now()
        official.stop_retry()
        official.stop()

    ticker.on_connect, ticker.on_ticks, ticker.on_close = on_connect, on_ticks, on_close
    ticker.connect()
    return packets, ended - started


def _receive(side: str, port: str) -> None:
    gc.freeze()
    packets, seconds = asyncio.run(_receive_ours(port)) if side == "ours" else _receive_official(port)
    print(json.dumps({"packets": packets, "cpu_seconds": seconds}))


# -- the report -------------------------------------------------------------------------------------------


def _is_judged(row: Row) -> bool:
    return row.packets == JUDGED_SIZE


def _table(title: str, rows: Sequence[Row], judged: Callable[[Row], bool]) -> Table:
    table = Table("mode", "packets per message", "ours, µs", "kiteconnect, µs", "ratio", "", title=title)
    for row in rows:
        verdict = ("" if row.ratio >= TARGET else "[red]missed[/]") if judged(row) else "[dim]not judged[/]"
        table.add_row(
            row.what,
            str(row.packets),
            f"{row.ours:.3f}",
            f"{row.official:.3f}",
            f"[bold]{row.ratio:.1f}x[/]",
            verdict or "[green]met[/]",
        )
    return table


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="turns that each program takes (default 15)")
    parser.add_argument("--send", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--receive", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        mode, packets, messages = arguments.send
        asyncio.run(_send(Case(mode, int(packets), int(messages))))
        return 0
    if arguments.receive:
        _receive(*arguments.receive)
        return 0
    gc.collect()
    gc.freeze()  # as the gateway does once it runs
    console = Console()
    decoded = decoding(arguments.rounds)
    title = f"Decoding: CPU per packet (target: {TARGET:g}x in messages of {JUDGED_SIZE} packets)"
    console.print(_table(title, decoded, _is_judged))
    received = receiving(max(1, arguments.rounds // 5))
    title = "Receiving and decoding over loopback: picows + KiteWire, autobahn (Twisted) + KiteTicker"
    console.print(_table(title, received, lambda _: False))
    return 0 if all(row.ratio >= TARGET for row in decoded if _is_judged(row)) else 1


if __name__ == "__main__":
    sys.exit(main())
