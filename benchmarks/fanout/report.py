"""The table and the verdicts, as text."""

from __future__ import annotations

from collections.abc import Sequence

from .measure import DISTURBED, Sample, spread
from .scenarios import Scenario
from .targets import TARGETS, Runs, Verdict

_HEAD = (
    f"{'':12}{'CPU us/frame':>24} {'sys':>5} {'frames/s':>11} {'core':>5} {'load':>5} {'f/read':>7}"
    f" {'p50 ms':>8} {'p99 ms':>8} {'p99.9':>8} {'lost':>7} {'RSS MB':>7} {'peak':>6} {'B/frame':>7}"
)


def line(sample: Sample) -> str:
    """Return one run as a line, for watching it go."""
    return (
        f"{sample.scenario:15} {sample.peer:11} {sample.cpu_us:8.3f} us/frame  {sample.frames_per_s:10,.0f}/s"
        f"  p50 {sample.p50_ms:.2f} p99 {sample.p99_ms:.2f} ms  core {sample.core:.0%},"
        f" {sample.system_share:.0%} of it system, {sample.wakeups_per_s:,.0f} wake-ups/s"
        f"  load {sample.load:.0%}  {sample.frames_per_read:.1f} frames/read"
        f"  feed behind {sample.behind_ms:.1f} ms  others {sample.foreign:.0%}"
    )


def table(scenarios: Sequence[Scenario], runs: Runs) -> str:
    """Return medians over the runs, with lowest and highest CPU, by scenario and peer."""
    lines = []
    for scenario in scenarios:
        lines += ["", scenario.title, _HEAD]
        for peer in scenario.peers:
            found = runs.get((scenario.key, peer))
            if found:
                lines.append(_row(peer, found))
    return "\n".join(lines)


def _row(peer: str, found: Sequence[Sample]) -> str:
    def mid(figure: str) -> float:
        return spread([getattr(sample, figure) for sample in found])[0]

    cpu, low, high = spread([sample.cpu_us for sample in found])
    memory = spread([sample.rss_mb[-1] for sample in found])[0]
    lost = sum(s.lost for s in found) / max(sum(s.lost + s.received for s in found), 1)
    mark = " load-bound" if mid("load") > 0.95 else ""
    if mid("foreign") > DISTURBED:
        mark += " disturbed by others"
    return (
        f"{peer:12}{cpu:9.3f} ({low:.3f}-{high:.3f})  {mid('system_share'):>5.0%}"
        f" {mid('frames_per_s'):>11,.0f} {mid('core'):>5.0%} {mid('load'):>5.0%}"
        f" {mid('frames_per_read'):>7.1f} {mid('p50_ms'):>8.2f} {mid('p99_ms'):>8.2f} {mid('p999_ms'):>8.2f}"
        f" {lost:>7.2%} {memory:>7.1f} {mid('peak_mb'):>6.1f} {mid('bytes_per_frame'):>7.0f}{mark}"
    )


def verdicts(runs: Runs) -> list[Verdict]:
    """Judge every target of which all parts were measured."""
    return [verdict for target in TARGETS if (verdict := target(runs)) is not None]


def verdict_lines(found: Sequence[Verdict]) -> str:
    """Return one line a target, the failed ones plain to see."""
    words = {True: "PASS", False: "FAIL", None: "NOT JUDGED"}
    return "\n".join(f"{words[v.kept]:10}  {v.promise}: {v.reached}" for v in found)
