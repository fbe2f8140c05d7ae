"""CPU of a broker packet from the socket to a Tick: brokerpool and each official client in the same run.

`python -m benchmarks.feed` prints two tables a broker and exits 1 when decoding misses its target. All load
is on 127.0.0.1 and bounded. Figures are ratios of two programs that took turns on one machine; the
microseconds beside them are that machine's.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.fanout.load_process import LoadError
from benchmarks.feed.benchmark import Benchmark, Case, benchmark, brokers
from benchmarks.feed.decoding import Row, decoding
from benchmarks.feed.receiving import receive, receiving, send
from tests.sdk.environments import CannotMakeError


def _table(title: str, of: Benchmark, rows: Sequence[Row], judged: Callable[[Row], bool]) -> Table:
    table = Table("mode", "packets per message", "ours, µs", f"{of.peer}, µs", "ratio", "", title=title)
    for row in rows:
        verdict = "[dim]not judged[/]"
        if judged(row):
            verdict = "[green]met[/]" if row.ratio >= of.target else "[red]missed[/]"
        table.add_row(
            row.what,
            str(row.packets) if row.together == 1 else f"{row.packets}, {row.together} messages at once",
            f"{row.ours:.3f}",
            f"{row.official:.3f}",
            f"[bold]{row.ratio:.1f}x[/]",
            verdict,
        )
    return table


def _measured(broker: str, rounds: int, console: Console) -> bool:
    """Print one broker's tables, and tell whether its target is met."""
    of = benchmark(broker)

    def judged(row: Row) -> bool:
        return (row.packets, row.together) == (of.judged_size, of.together)

    decoded = decoding(broker, of, rounds)
    size = f"messages of {of.judged_size} packet{'s' if of.judged_size > 1 else ''}"
    if of.together > 1:
        size += f", {of.together} at once"
    title = f"Decoding {broker}: CPU per packet (target: {of.target:g}x in {size})"
    console.print(_table(title, of, decoded, judged))
    if of.cases:
        received = receiving(broker, of.cases, max(1, rounds // 5))
        title = f"Receiving and decoding over loopback: picows + {of.ours}, {of.peer} as its users run it"
        console.print(_table(title, of, received, lambda _: False))
    return all(row.ratio >= of.target for row in decoded if judged(row))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feed", description=__doc__)
    parser.add_argument(
        "brokers", nargs="*", metavar="BROKER", help=f"of {', '.join(brokers())}; default: all"
    )
    parser.add_argument("--rounds", type=int, default=15, help="turns that each program takes (default 15)")
    parser.add_argument("--send", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--receive", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.send:
        broker, mode, packets, messages = arguments.send
        asyncio.run(send(broker, Case(mode, int(packets), int(messages))))
        return 0
    if arguments.receive:
        asyncio.run(receive(*arguments.receive))
        return 0
    if unknown := set(arguments.brokers) - set(brokers()):
        parser.error(f"{', '.join(sorted(unknown))} cannot be measured; brokers: {', '.join(brokers())}")
    gc.collect()
    gc.freeze()  # as the gateway does once it runs
    console = Console()
    try:
        met = [_measured(broker, arguments.rounds, console) for broker in arguments.brokers or brokers()]
    except (CannotMakeError, LoadError) as error:
        sys.exit(f"benchmarks.feed: {error}")
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
