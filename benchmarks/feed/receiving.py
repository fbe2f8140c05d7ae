"""Receiving and decoding over loopback: each side with its own client, from the handshake to the close."""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.feed.benchmark import Benchmark, Case, benchmark, peer_command
from benchmarks.feed.decoding import Row
from brokerpool.brokers.wire import MessageRun
from brokerpool.transport import Link, LinkHandler, Refusal, UpgradeRequest, dial, serve
from brokerpool.transport.frames import BINARY, server_frame

_DISTINCT = 20
_SECONDS = 120


def receiving(broker: str, cases: Sequence[Case], rounds: int) -> list[Row]:
    """Measure the receiving process of each side in turns; raises SystemExit where packets are lost."""
    ours_command = [sys.executable, "-m", "benchmarks.feed", "--receive", broker]
    rows = []
    for case in cases:
        ours: list[float] = []
        official: list[float] = []
        for _ in range(rounds):
            ours.append(_stream(broker, case, ours_command))
            official.append(_stream(broker, case, peer_command(broker)))
        rows.append(Row(case.mode, case.packets, statistics.median(ours), statistics.median(official)))
    return rows


def _stream(broker: str, case: Case, receiving: Sequence[str]) -> float:
    """Return the microseconds of CPU that one side's process needs per packet."""
    sending = [sys.executable, "-m", "benchmarks.feed", "--send", broker, *map(str, case)]
    with subprocess.Popen(sending, stdout=subprocess.PIPE, text=True) as sender:
        try:
            url = sender.stdout.readline().strip() if sender.stdout else ""
            receiver = subprocess.run([*receiving, url], stdout=subprocess.PIPE, check=True, timeout=_SECONDS)
        finally:
            sender.terminate()
    packets, seconds = json.loads(receiver.stdout)
    expected = case.packets * case.messages
    if packets != expected:
        raise SystemExit(f"{receiving}: {packets} of {expected} packets arrived")
    return float(seconds) * 1e6 / expected


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


async def send(broker: str, case: Case) -> None:
    """Print the address, and stream the case to who dials it; the parent ends this process."""
    made = benchmark(broker).frames(case.mode, case.packets, _DISTINCT)
    frames = [server_frame(message, BINARY) for message in made]

    def accept(_: UpgradeRequest) -> LinkHandler | Refusal:
        return _Stream(frames, case.messages)

    server = await serve(accept, "127.0.0.1", 0)
    print(f"ws://127.0.0.1:{server.port}/", flush=True)
    await asyncio.sleep(_SECONDS)  # it ends itself when there is no parent


class _Counter(LinkHandler):
    def __init__(self, benchmark: Benchmark) -> None:
        self._wire = benchmark.wire()
        self._routes = benchmark.routes
        self.packets = 0
        self.done = asyncio.Event()
        self.started = self.ended = 0.0

    def opened(self, link: Link) -> None:
        self.started = time.process_time()
        if self._wire.run_sizes:
            link.take_runs(self._wire.run_sizes)

    def run(self, frames: memoryview, head: int, size: int) -> None:
        run = MessageRun(frames, head, size)
        self.packets += len(self._wire.run(run, self._routes, time.time_ns() // 1_000_000))

    def binary(self, message: bytes | memoryview) -> None:
        self.packets += len(self._wire.binary(message, self._routes, time.time_ns() // 1_000_000))

    def closed(self, code: int, reason: str) -> None:
        self.ended = time.process_time()
        self.done.set()


async def receive(broker: str, url: str) -> None:
    """Receive there as the pool does, and print packets and seconds of CPU."""
    gc.freeze()
    counter = _Counter(benchmark(broker))
    await dial(url, counter)
    await counter.done.wait()
    print(json.dumps([counter.packets, counter.ended - counter.started]))
