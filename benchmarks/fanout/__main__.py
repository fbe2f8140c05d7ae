"""`python -m benchmarks.fanout`: measure, print table and verdicts; exit code 1 when a target is missed."""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import sys
import time
from collections import defaultdict
from dataclasses import asdict, replace
from pathlib import Path

from .load_process import LoadError, build_load
from .measure import DISTURBED, Sample, run
from .peers import PEERS, Cores
from .report import line, table, verdict_lines, verdicts
from .scenarios import SCENARIOS, Scenario

_QUICK_WINDOW = 0.8
#: For repeating runs that were disturbed.
_SPARE_SECONDS = 90.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fanout", description=__doc__)
    names = ",".join(s.key for s in SCENARIOS)
    parser.add_argument("--only", metavar="NAMES", default=names, help=f"scenarios, of {names}")
    parser.add_argument("--peers", metavar="NAMES", default=",".join(PEERS), help=f"of {','.join(PEERS)}")
    parser.add_argument("--rounds", type=int, help="runs of each scenario and peer")
    parser.add_argument(
        "--quick", action="store_true", help="one short run each: shows that it works, no figures"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every run there")
    return parser.parse_args()


def _chosen(arguments: argparse.Namespace) -> list[Scenario]:
    keys, peers = arguments.only.split(","), arguments.peers.split(",")
    unknown = [*(set(keys) - {s.key for s in SCENARIOS}), *(set(peers) - set(PEERS))]
    if unknown:
        raise LoadError(f"No such scenario or peer: {', '.join(unknown)}; see --help.")
    chosen = []
    for scenario in SCENARIOS:
        if scenario.key not in keys:
            continue
        rounds = arguments.rounds or (1 if arguments.quick else scenario.rounds)
        chosen.append(replace(scenario, peers=tuple(p for p in scenario.peers if p in peers), rounds=rounds))
        if arguments.quick:
            chosen[-1] = replace(chosen[-1], warmup=0.5, window=_QUICK_WINDOW, pairs=min(scenario.pairs, 2))
    return chosen


def _measure(scenarios: list[Scenario], spare_seconds: float) -> dict[tuple[str, str], list[Sample]]:
    """Run everything, round by round in random order, so that a disturbance does not meet one peer only.

    A run during which others used the machine is repeated at the end of its round, as long as the spare
    time lasts; the quieter of the two counts.
    """
    program, chosen = build_load(), Cores.of_this_machine()
    os.sched_setaffinity(0, {chosen.load})
    runs: defaultdict[tuple[str, str], list[Sample]] = defaultdict(list)
    for turn in range(max(s.rounds for s in scenarios)):
        jobs = [(s, peer) for s in scenarios if turn < s.rounds for peer in s.peers]
        random.shuffle(jobs)
        disturbed: list[tuple[Scenario, Sample]] = []
        for scenario, peer in jobs:
            sample = _shown(run(program, chosen, scenario, peer))
            if sample.foreign > DISTURBED:
                disturbed.append((scenario, sample))
            else:
                runs[scenario.key, peer].append(sample)
        for scenario, sample in disturbed:
            began, kept = time.monotonic(), sample
            if spare_seconds > 0:
                again = _shown(run(program, chosen, scenario, sample.peer))
                kept = min(again, sample, key=lambda s: s.foreign)
            runs[scenario.key, sample.peer].append(kept)
            spare_seconds -= time.monotonic() - began
    return runs


def _shown(sample: Sample) -> Sample:
    print(line(sample), file=sys.stderr, flush=True)
    return sample


def main() -> int:
    """Return 0 when every target is met, 1 when one is missed, 2 when one could not be measured."""
    arguments = _arguments()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 4096), hard), hard))
    try:
        scenarios = _chosen(arguments)
        runs = _measure(scenarios, 0.0 if arguments.quick else _SPARE_SECONDS)
    except LoadError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(s) for found in runs.values() for s in found], indent=1))
    found = verdicts(runs)
    print(table(scenarios, runs))
    print()
    print(verdict_lines(found))
    if arguments.quick:
        print("\nOne short run each: no figures to rely on, and no target is judged by the exit code.")
        return 0
    if any(verdict.kept is False for verdict in found):
        return 1
    return 2 if any(verdict.kept is None for verdict in found) else 0


if __name__ == "__main__":
    sys.exit(main())
