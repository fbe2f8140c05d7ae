"""`python -m benchmarks.cluster`: a feed node and gateways over NATS, beside one process that does it all.

Prints CPU, delay and loss of each, and exits 1 when a promise was not kept; 2 when it could not be measured.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cluster.rig import ClusterRig, rig
from benchmarks.fanout.load_process import LoadError, build_load
from benchmarks.fanout.measure import DISTURBED
from benchmarks.fanout.meters import cpu_seconds, machine_busy
from benchmarks.fanout.peers import Cores
from benchmarks.fanout.scenarios import Scenario

#: What a feed node may cost above the pool alone, in microseconds a tick.
FEED_US = 6.0
#: What a frame may cost at a gateway of a cluster, of what it costs in one process.
FRAME_TIMES = 1.3
#: What two gateways deliver at saturation, of what one process does.
DELIVERED = 1.7
#: What the way over NATS may add to the p99, in milliseconds.
MORE_MS = 2.0
KINDS = ("pool", "one", "cluster", "split")
LOAD = Scenario(
    "cluster",
    "",
    ("ours",),
    clients=50,
    symbols=3000,
    each=300,
    rate=20_000,
    sockets=3,
    warmup=2.0,
    window=5.0,
    settles=True,
)


@dataclass(frozen=True)
class Figures:
    """What one run reached; CPU in microseconds."""

    feed_us_a_tick: float
    frame_us: float
    nats_us_a_tick: float
    frames_per_s: float
    p50_ms: float
    p99_ms: float
    lost: int
    #: Share of the machine that others used.
    foreign: float


def measured(program: Path, cores: Cores, scenario: Scenario, kind: str, gateways: int) -> Figures:
    """Return the figures of one run. Raises LoadError."""
    with ExitStack() as stack:
        if kind == "split":
            scenario = replace(scenario, clients=scenario.clients // gateways)
        system = rig(stack, program, cores, scenario, kind, gateways)
        time.sleep(0.5)  # connections come to rest
        system.kite.tell(f"run {scenario.rate}")
        time.sleep(scenario.warmup)
        ids = _ids(system)
        before, busy, began = {pid: cpu_seconds(pid) for pid in ids}, machine_busy(), time.monotonic()
        for clients in system.clients:
            clients.tell("start")
        time.sleep(scenario.window)
        counted = [clients.ask("stop") for clients in system.clients]
        seconds = time.monotonic() - began
        used = {pid: cpu_seconds(pid) - was for pid, was in before.items()}
        foreign = max(0.0, machine_busy() - busy - sum(used.values())) / seconds / (os.cpu_count() or 1)
        made = system.kite.ask("halt")["made"]
        settle = "settle " + " ".join(map(str, made))
        rests = [clients.ask(settle) for clients in system.clients]
        ticks = scenario.rate * seconds
        frames = sum(one["frames"] for one in counted)
        of_gateways = sum(used[gateway.pid] for gateway in system.gateways)
        return Figures(
            feed_us_a_tick=used[system.feed.pid] * 1e6 / ticks,
            frame_us=of_gateways * 1e6 / frames if frames else 0.0,
            nats_us_a_tick=used[system.nats] * 1e6 / ticks if system.nats else 0.0,
            frames_per_s=frames / seconds,
            p50_ms=max((one["p50_us"] / 1000 for one in counted), default=0.0),
            p99_ms=max((one["p99_us"] / 1000 for one in counted), default=0.0),
            lost=sum(rest["lost"] + rest["outstanding"] for rest in rests),
            foreign=foreign,
        )


def _ids(system: ClusterRig) -> set[int]:
    ids = {system.kite.pid, system.feed.pid, *(c.pid for c in system.clients)}
    return ids | {g.pid for g in system.gateways} | ({system.nats} if system.nats else set())


def judged(runs: Mapping[str, Sequence[Figures]], gateways: int) -> list[tuple[str, str, bool]]:
    """Return each promise with what was reached, and whether that keeps it."""

    def median(kind: str, figure: str) -> float:
        return float(statistics.median(getattr(run, figure) for run in runs[kind]))

    lost = sum(run.lost for each in runs.values() for run in each)
    more_feed = median("cluster", "feed_us_a_tick") - median("pool", "feed_us_a_tick")
    times = median("cluster", "frame_us") / median("one", "frame_us")
    later = median("split", "p99_ms") - median("one", "p99_ms")
    return [
        ("nothing is lost", f"{lost} ticks lost", not lost),
        (
            f"a feed node costs at most {FEED_US:g} us a tick more",
            f"{more_feed:+.2f} us",
            more_feed <= FEED_US,
        ),
        (f"a frame costs at most {FRAME_TIMES:g} times as much", f"{times:.2f} times", times <= FRAME_TIMES),
        (
            f"{gateways} gateways deliver at least {DELIVERED * gateways / 2:g} times as much as one process",
            f"{gateways / times:.2f} times, by the CPU of a frame",
            gateways / times >= DELIVERED * gateways / 2,
        ),
        (
            f"with as many frames the p99 is at most {MORE_MS:g} ms later",
            f"{later:+.2f} ms",
            later <= MORE_MS,
        ),
    ]


def main() -> int:
    """Return 0 when every promise was kept, 1 when not, 2 without a measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--rate", type=int, default=LOAD.rate, help="ticks a second (default %(default)s)")
    parser.add_argument("--gateways", type=int, default=2, help="gateways of the cluster (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each (default 3)")
    arguments = parser.parse_args()
    runs: dict[str, list[Figures]] = {kind: [] for kind in KINDS}
    table = Table(
        "system", "feed us/tick", "NATS us/tick", "us/frame", "frames/s", "p50 ms", "p99 ms", "lost", "others"
    )
    try:
        program, cores = build_load(), Cores.of_this_machine()
        for _ in range(arguments.rounds):
            for kind, done in runs.items():
                scenario = replace(LOAD, rate=arguments.rate)
                done.append(found := measured(program, cores, scenario, kind, arguments.gateways))
                table.add_row(
                    kind,
                    f"{found.feed_us_a_tick:.2f}",
                    f"{found.nats_us_a_tick:.2f}",
                    f"{found.frame_us:.3f}",
                    f"{found.frames_per_s:,.0f}",
                    f"{found.p50_ms:.2f}",
                    f"{found.p99_ms:.2f}",
                    str(found.lost),
                    f"{found.foreign:.0%}",
                )
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    console = Console()
    console.print(table)
    verdicts = judged(runs, arguments.gateways)
    for promise, reached, kept in verdicts:
        console.print(f"{'kept' if kept else 'NOT KEPT'}: {promise}: {reached}")
    quiet = all(run.foreign <= DISTURBED for each in runs.values() for run in each)
    if all(kept for _, _, kept in verdicts):
        return 0
    return 1 if quiet else 2


if __name__ == "__main__":
    sys.exit(main())
