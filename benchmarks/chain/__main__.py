"""`python -m benchmarks.chain`: one, two and three brokerpools one behind the other, in one run.

Prints what was lost and the delay at the end of each chain, and exits 1 when anything was lost or a hop adds
more than its share to the p99; 2 when something could not be measured.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rich.console import Console
from rich.table import Table

from benchmarks.fanout.load_process import LoadError, build_load
from benchmarks.fanout.measure import DISTURBED, Sample, run
from benchmarks.fanout.peers import Cores
from benchmarks.fanout.scenarios import Scenario

#: By how much the p99 may grow with each hop, in milliseconds.
MOST_MS = 2.0
LOAD = Scenario(
    "chain",
    "",
    ("ours",),
    clients=2,
    symbols=1000,
    rate=20_000,
    warmup=2.0,
    window=5.0,
    settles=True,
)


def measure(rate: int, hops: int, rounds: int) -> dict[int, list[Sample]]:
    """Return the runs of each length, which take turns in random order."""
    program, cores = build_load(), Cores.of_this_machine()
    os.sched_setaffinity(0, {cores.load})
    runs: defaultdict[int, list[Sample]] = defaultdict(list)
    for _ in range(rounds):
        for length in random.sample(range(1, hops + 1), hops):
            sample = run(program, cores, replace(LOAD, rate=rate, hops=length), "ours")
            text = f"{length}: p99 {sample.p99_ms:.2f} ms, {sample.lost} lost, others {sample.foreign:.0%}"
            print(text, file=sys.stderr, flush=True)
            runs[length].append(sample)
    return runs


def median(samples: Sequence[Sample], figure: str) -> float:
    """Return the median of a figure over the runs that others left alone, or over all if there are none."""
    quiet = [sample for sample in samples if sample.foreign <= DISTURBED] or samples
    return float(statistics.median(getattr(sample, figure) for sample in quiet))


def report(runs: Mapping[int, Sequence[Sample]], rate: int) -> tuple[Table, bool]:
    """Return the table, and whether every promise was kept."""
    title = f"{rate:,} ticks/s of Kite's through brokerpools in a row"
    table = Table("hops", "frames/s", "lost, twice", "p50, ms", "p99, ms", "more", "us/frame", "others")
    table.title = title
    kept, before = True, 0.0
    for hops, samples in sorted(runs.items()):
        lost, twice = (sum(getattr(s, name) for s in samples) for name in ("lost", "repeated"))
        p99 = median(samples, "p99_ms")
        growth = p99 - before if before else 0.0
        fine = not lost and not twice and growth <= MOST_MS
        kept, before = kept and fine, p99
        table.add_row(
            str(hops),
            f"{median(samples, 'frames_per_s'):,.0f}",
            f"{lost}, {twice}",
            f"{median(samples, 'p50_ms'):.2f}",
            f"{p99:.2f}",
            f"{growth:+.2f}" if hops > 1 else "",
            f"{median(samples, 'cpu_us'):.2f}",
            f"{median(samples, 'foreign'):.0%}",
            style="" if fine else "red",
        )
    return table, kept


def main() -> int:
    """Return 0 when nothing was lost and each hop kept to its share, 1 when not, 2 without a measurement."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=__doc__)
    parser.add_argument("--rate", type=int, default=LOAD.rate, help="ticks a second (default %(default)s)")
    parser.add_argument("--hops", type=int, default=3, help="length of the longest chain (default 3)")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each length (default 3)")
    arguments = parser.parse_args()
    try:
        runs = measure(arguments.rate, arguments.hops, arguments.rounds)
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    table, kept = report(runs, arguments.rate)
    console = Console()
    console.print(table)
    if any(median(samples, "foreign") > DISTURBED for samples in runs.values()):
        console.print("[yellow]Others used the machine meanwhile: what is missed is not judged.[/]")
        return 0 if kept else 2
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
