"""`python -m benchmarks.fanout.watching`: one gateway, watched in every other window of the same run.

Two runs of one gateway differ by more than being watched costs, two neighbouring windows by less.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .load_process import LoadError, build_load
from .measure import DISTURBED, Neighbours
from .peers import API_KEY, Cores, Rig, ServingProcess, environment, rig_ours
from .scenarios import SCENARIOS

#: What being watched may add to the CPU of a frame.
SHARE = 0.02
_WINDOW = 2.0
_SETTLE = 0.7


@dataclass(frozen=True)
class Window:
    """The figures of one window."""

    cpu_us: float
    p99_ms: float
    foreign: float


class Change(NamedTuple):
    """By which share a figure changes in the pairs: the median, and between what half of the pairs lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, found: list[tuple[Window, Window]], figure: str) -> Change:
        """Return the change from the windows without to those with tools."""
        changes = sorted(getattr(there, figure) / getattr(here, figure) - 1 for here, there in found)
        quarter = len(changes) // 4
        return cls(statistics.median(changes), changes[quarter], changes[-quarter - 1])

    def __str__(self) -> str:
        return f"{self.median:+.1%}, half of the pairs from {self.low:+.1%} to {self.high:+.1%}"


def pairs(count: int) -> list[tuple[Window, Window]]:
    """Return the figures without and with tools that watch, window by window; random which comes first."""
    scenario = next(scenario for scenario in SCENARIOS if scenario.key == "kite")
    program, chosen = build_load(), Cores.of_this_machine()
    os.sched_setaffinity(0, {chosen.load})
    found = []
    with ExitStack() as stack:
        rig = rig_ours(stack, program, chosen, scenario)
        rig.feed.tell(f"run {scenario.rate}")
        with watched(chosen, rig):  # what is made at the first request only is no part of it
            time.sleep(2 * _SETTLE)
        for _ in range(count):
            order = random.sample((False, True), 2)
            windows = {watching: _window(chosen, rig, watching=watching) for watching in order}
            found.append((windows[False], windows[True]))
            print(".", end="", file=sys.stderr, flush=True)
        rig.feed.ask("halt")
    return found


@contextmanager
def watched(cores: Cores, rig: Rig) -> Iterator[None]:
    """Let an operator's tools watch a gateway until the end of the context."""
    script = Path(__file__).with_name("watcher.py")
    with ExitStack() as stack:
        command = [sys.executable, str(script), rig.http_url, API_KEY]
        ServingProcess(stack, cores.load, command, environment()).first_line()
        yield


def _window(chosen: Cores, rig: Rig, *, watching: bool) -> Window:
    with ExitStack() as stack:
        if watching:
            stack.enter_context(watched(chosen, rig))
        time.sleep(_SETTLE)
        neighbours = Neighbours(rig)
        rig.clients.tell("start")
        time.sleep(_WINDOW)
        counted = rig.clients.ask("stop")
        foreign = neighbours.share()
    cpu_us = counted["watched_cpu_ns"] / 1000 / counted["frames"]
    return Window(cpu_us, counted["p99_us"] / 1000, foreign)


def main() -> int:
    """Return 0 when the target is met, 1 when it is missed, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout.watching", description=__doc__)
    parser.add_argument("--pairs", type=int, default=20, help="pairs of windows, 5.4 s each")
    try:
        found = pairs(parser.parse_args().pairs)
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    alone, with_tools = zip(*found, strict=True)
    for name, windows in (("alone", alone), ("watched", with_tools)):
        cpu, p99, foreign = (
            statistics.median(getattr(window, figure) for window in windows)
            for figure in ("cpu_us", "p99_ms", "foreign")
        )
        note = f", while others used {foreign:.0%} of the machine" if foreign > DISTURBED else ""
        print(f"{name:8} {cpu:.3f} us of CPU for each frame, p99 {p99:.2f} ms{note}")
    cpu, p99 = (Change.of(found, figure) for figure in ("cpu_us", "p99_ms"))
    word = "PASS" if cpu.median <= SHARE else "FAIL"
    print(f"{word}  CPU a frame at most +{SHARE:.0%}: {cpu}")
    print(f"      p99, not judged: {p99}")
    return 0 if cpu.median <= SHARE else 1


if __name__ == "__main__":
    sys.exit(main())
