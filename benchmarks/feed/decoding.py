"""Decoding alone: our wire and the official client's parser on the same messages, in turns."""

from __future__ import annotations

import json
import statistics
import subprocess
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks.fanout.meters import on_core
from benchmarks.fanout.peers import Cores
from benchmarks.feed.benchmark import Benchmark, peer_command
from benchmarks.feed.timing import cpu_of
from brokerpool.brokers.wire import MessageRun
from brokerpool.ticks import Tick
from brokerpool.transport.frames import BINARY, server_frame

RECEIVED_MS = 1_790_000_000_123


class Row(NamedTuple):
    """One line of a table: microseconds of CPU per packet."""

    what: str
    packets: int
    ours: float
    official: float
    #: Messages that our side was given at once, as they are read.
    together: int = 1

    @property
    def ratio(self) -> float:
        return self.official / self.ours


def decoding(broker: str, benchmark: Benchmark, rounds: int) -> list[Row]:
    """Measure every mode and size; raises SystemExit where a packet was left out by either side.

    Each has a core of its own: on one that they share, the caches are the other's whenever a turn begins,
    and some runs would have them so and others not. Raises LoadError where there is one core.
    """
    rows = []
    cores = Cores.of_this_machine()
    with _peer(broker, cores.load) as peer, on_core(cores.serving):
        for mode in benchmark.modes:
            for size in benchmark.sizes:
                count = max(8, 1000 // size) if size < 3000 else 4
                frames = benchmark.frames(mode, size, count)
                rows += [
                    _compared(benchmark, peer, mode, size, frames, together, rounds)
                    for together in sorted({1, benchmark.together})
                ]
    return rows


def _compared(
    benchmark: Benchmark,
    peer: _Peer,
    mode: str,
    size: int,
    frames: Sequence[bytes],
    together: int,
    rounds: int,
) -> Row:
    wire, routes = benchmark.wire(), benchmark.routes

    def decode(message: memoryview) -> list[Tick]:
        return wire.binary(message, routes, RECEIVED_MS)

    def decode_run(read: memoryview) -> list[Tick]:
        return wire.run(MessageRun(read, head, len(frames[0])), routes, RECEIVED_MS)

    head = len(server_frame(frames[0], BINARY)) - len(frames[0])
    reads = [server_frame(frame, BINARY) for frame in frames] if together > 1 else frames
    views = [memoryview(b"".join(reads[at : at + together])) for at in range(0, len(reads), together)]
    decoded = decode_run if together > 1 else decode
    packets = len(frames) * size
    made = sum(len(decoded(view)) for view in views)
    theirs = peer.takes(frames)
    if made != packets or theirs != packets:
        raise SystemExit(f"{mode}: of {packets} packets we read {made} ({wire.skipped}), the peer {theirs}")
    ours: list[float] = []
    official: list[float] = []
    for number in range(rounds + 1):
        turns = cpu_of(decoded, views), peer.turn()
        if number:  # the first round warms caches and memory
            ours.append(turns[0])
            official.append(turns[1])
    per_packet = 1e6 / packets
    return Row(
        mode, size, statistics.median(ours) * per_packet, statistics.median(official) * per_packet, together
    )


class _Peer:
    """The official client's process; it works only while we wait for its answer."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def takes(self, frames: Sequence[bytes]) -> int:
        """Hand over messages, and return how many packets it read in them."""
        return int(self._asked(json.dumps([b64encode(frame).decode() for frame in frames])))

    def turn(self) -> float:
        """Return the seconds of CPU in which it has decoded them all."""
        return float(self._asked(""))

    def _asked(self, line: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit("the official client's process has ended")
        return answer


@contextmanager
def _peer(broker: str, core: int) -> Iterator[_Peer]:
    with on_core(core):
        process = subprocess.Popen(
            peer_command(broker), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
    with process:
        try:
            yield _Peer(process)
        finally:
            process.terminate()
