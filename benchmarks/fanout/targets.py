"""What is promised of the gateway, and whether the medians keep it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .measure import DISTURBED, Sample

#: Runs by scenario and peer.
Runs = Mapping[tuple[str, str], Sequence[Sample]]

#: Share by which memory may still move once buffers have found their size.
FLAT = 0.05


@dataclass(frozen=True)
class Verdict:
    """What was reached; `kept` is None when it could not be judged."""

    promise: str
    reached: str
    kept: bool | None


Target = Callable[[Runs], Verdict | None]


def median(runs: Sequence[Sample], figure: str) -> float:
    """Return the median of one figure over the runs."""
    figures: list[float] = [getattr(sample, figure) for sample in runs]
    return statistics.median(figures)


def _beside(foreign: float) -> str:
    return f", while others used {foreign:.0%} of the machine" if foreign > DISTURBED else ""


def cheaper(scenario: str, peer: str, times: float) -> Target:
    """CPU per frame at least `times` less than the peer's."""

    def judge(runs: Runs) -> Verdict | None:
        ours, theirs = runs.get((scenario, "ours")), runs.get((scenario, peer))
        if not ours or not theirs:
            return None
        mine, other = median(ours, "cpu_us"), median(theirs, "cpu_us")
        ratio = other / mine
        return Verdict(
            f"{scenario}: CPU a frame at least {times:g}x less than {peer}",
            f"{ratio:.1f}x ({mine:.3f} against {other:.3f} us)",
            ratio >= times,
        )

    return judge


def no_later(scenario: str, peer: str, figure: str) -> Target:
    """A delay no worse than the peer's; a busy machine says nothing about either."""

    def judge(runs: Runs) -> Verdict | None:
        ours, theirs = runs.get((scenario, "ours")), runs.get((scenario, peer))
        if not ours or not theirs:
            return None
        mine, other = median(ours, figure), median(theirs, figure)
        foreign = max(median(ours, "foreign"), median(theirs, "foreign"))
        return Verdict(
            f"{scenario}: {figure.removesuffix('_ms')} no worse than {peer}",
            f"{mine:.3f} against {other:.3f} ms{_beside(foreign)}",
            None if foreign > DISTURBED else mine <= other,
        )

    return judge


def nothing_lost(scenario: str) -> Target:
    """Every tick reaches every subscriber once."""

    def judge(runs: Runs) -> Verdict | None:
        ours = runs.get((scenario, "ours"))
        if not ours:
            return None
        lost, repeated = sum(s.lost for s in ours), sum(s.repeated for s in ours)
        received = sum(s.received for s in ours)
        return Verdict(
            f"{scenario}: nothing lost, nothing twice",
            f"{lost} lost and {repeated} twice beside {received} received",
            lost == repeated == 0 < received,
        )

    return judge


def within(scenario: str, figure: str, limit: float) -> Target:
    """A delay under a limit, judged only where nobody else used the machine."""

    def judge(runs: Runs) -> Verdict | None:
        ours = runs.get((scenario, "ours"))
        if not ours:
            return None
        reached, foreign = median(ours, figure), median(ours, "foreign")
        kept = reached < limit
        return Verdict(
            f"{scenario}: {figure.removesuffix('_ms')} under {limit:g} ms on an otherwise idle machine",
            f"{reached:.2f} ms{_beside(foreign)}",
            kept if kept or foreign <= DISTURBED else None,
        )

    return judge


def flat_memory(scenario: str) -> Target:
    """Memory in the last third of the window as in the middle one.

    The first third is left to buffers that grow once. At some 9 million frames a second, a byte kept of
    every fifth frame would be seen.
    """

    def judge(runs: Runs) -> Verdict | None:
        ours = runs.get((scenario, "ours"))
        if not ours:
            return None
        rss = ours[0].rss_mb
        third = max(len(rss) // 3, 1)
        middle, last = statistics.median(rss[third:-third]), statistics.median(rss[-third:])
        return Verdict(
            f"{scenario}: stays flat at saturation (within {FLAT:.0%})",
            f"{middle:.1f} -> {last:.1f} MB, at most {max(rss):.1f}",
            last <= middle * (1 + FLAT),
        )

    return judge


def unmoved(scenario: str, share: float) -> Target:
    """A client that stops reading leaves the p99 of the others as it is."""

    def judge(runs: Runs) -> Verdict | None:
        ours = runs.get((scenario, "ours"))
        if not ours:
            return None
        without = statistics.median(ours[0].reading_p99_ms)
        stalled = statistics.median(ours[0].stalled_p99_ms)
        change = stalled / without - 1
        really, foreign = ours[0].stalled_lost, ours[0].foreign
        return Verdict(
            f"{scenario}: p99 of the others at most +{share:.0%}",
            f"{change:+.0%} ({without:.2f} -> {stalled:.2f} ms; the stopped client missed {really} frames)"
            + _beside(foreign),
            None if foreign > DISTURBED or not really else change <= share,
        )

    return judge


TARGETS: tuple[Target, ...] = (
    cheaper("saturation100", "nats", 3),
    cheaper("saturation100", "websockets", 25),
    cheaper("saturation1000", "nats", 1.5),
    no_later("fixed100k", "nats", "p99_ms"),
    no_later("light", "nats", "p50_ms"),
    no_later("light", "nats", "p99_ms"),
    nothing_lost("kite"),
    within("kite", "p99_ms", 10),
    flat_memory("memory"),
    unmoved("stall", 0.10),
)
