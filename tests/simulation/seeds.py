"""Rehearsals that are drawn from a seed: what becomes of each, and the program that plays many of them."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from brokerpool.testing.virtual_loop import LeakError, VirtualLoop, run


@dataclass(slots=True)
class Report:
    """What became of one seed."""

    seed: int
    #: The program that replays it.
    program: str = "swizzle"
    problems: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)
    trace_hash: str = ""
    virtual_seconds: float = 0.0
    recovery_seconds: float = 0.0
    steps: int = 0
    #: What the seed drew for the broker and the pool, and what the nemesis did.
    covered: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        told = "\n".join(f"  {problem}" for problem in self.problems[:10])
        more = f"\n  and {len(self.problems) - 10} more" if len(self.problems) > 10 else ""
        return (
            f"seed {self.seed}: {len(self.problems)} problems\n{told}{more}\n"
            f"replay with: python -m tests.simulation.{self.program} --seed {self.seed}"
        )


@contextlib.contextmanager
def errors_noted(problems: list[str]) -> Iterator[None]:
    """Take what the pool logs as an error for a problem, and let nothing else of its log through."""

    class Errors(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name != "brokerpool.callback_isolation":
                problems.append(f"logged as an error: {record.getMessage()}")

    logger, handler = logging.getLogger("brokerpool"), Errors(logging.ERROR)
    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def played(report: Report, play: Callable[[], Coroutine[Any, Any, None]], max_steps: int) -> Report:
    """Play a scenario to its end in invented time; whatever it raises is one of the report's problems."""
    loops: list[VirtualLoop] = []
    with errors_noted(report.problems):
        try:
            run(play, max_steps=max_steps, prepare=loops.append)
        except (Exception, LeakError) as error:
            report.problems += [f"{type(error).__name__}: {error}", *getattr(error, "__notes__", ())]
    report.steps = loops[0].steps
    return report


async def for_a_while(parties: Iterable[Coroutine[Any, Any, None]], seconds: float) -> None:
    """Let all go on at once for so long, or until one of them fails, which is raised."""
    tasks = [asyncio.create_task(party) for party in parties]
    done, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def play_seeds(
    program: str,
    rehearse: Callable[[int], Report],
    description: str | None,
    arguments: list[str] | None = None,
) -> int:
    """Run seeds, or replay one; return 1 when any of them has a problem."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.simulation.{program}", description=description)
    parser.add_argument("--seed", type=int, help="replay one seed and print its whole trace")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many (0)")
    parser.add_argument("--seeds", type=int, default=20_000, help="how many seeds (20000)")
    parser.add_argument("--jobs", type=int, default=2, help="how many processes (2)")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        report = rehearse(options.seed)
        print("\n".join(report.trace))
        print(f"{report}\ntrace {report.trace_hash}, {report.steps} steps")
        print(_listed(report.covered), _listed(report.counts), sep="\n")
        return bool(report.problems)
    began = time.perf_counter()
    failed: list[Report] = []
    covered: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    with ProcessPoolExecutor(options.jobs) as processes:
        seeds = range(options.first, options.first + options.seeds)
        for done, report in enumerate(processes.map(partial(_briefly, rehearse), seeds, chunksize=20), 1):
            covered.update(report.covered)
            counts.update(report.counts, virtual_seconds=int(report.virtual_seconds))
            if report.problems:
                failed.append(report)
                print(report, flush=True)
            if sys.stderr.isatty() and done % 100 == 0:
                print(f"{done:,} of {len(seeds):,} seeds, {len(failed)} failed", end="\r", file=sys.stderr)
    print(f"covered: {_listed(covered)}")
    print(f"judged: {_listed(counts)}")
    seconds = time.perf_counter() - began
    print(f"{len(seeds):,} seeds from {seeds.start:,} on, {len(failed)} failed, in {seconds:,.0f} s")
    return bool(failed)


def _listed(counter: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in counter.items())


def _briefly(rehearse: Callable[[int], Report], seed: int) -> Report:
    """Rehearse and leave the trace away, which would be much to send from process to process."""
    report = rehearse(seed)
    report.trace = []
    return report
