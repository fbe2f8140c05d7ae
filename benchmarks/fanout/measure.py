"""One run: a rig under its load, and the figures of the window."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .meters import cpu_seconds, machine_busy, read_process, rss
from .peers import PEERS, Cores, Rig
from .scenarios import Scenario

RSS_EVERY = 0.1


@dataclass
class Sample:
    """What one run reached."""

    scenario: str
    peer: str
    #: Microseconds of CPU, user and system, of the serving process for each frame that clients received.
    cpu_us: float = 0.0
    #: Share of that CPU time spent in the kernel.
    system_share: float = 0.0
    frames_per_s: float = 0.0
    bytes_per_frame: float = 0.0
    #: Frames that one read of a client returned: about as many as the server wrote together.
    frames_per_read: float = 0.0
    wakeups_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    p999_ms: float = 0.0
    #: Share of its core that the serving process used, and that all of the load used of the other.
    core: float = 0.0
    load: float = 0.0
    #: Share of the machine that processes outside the benchmark used.
    foreign: float = 0.0
    #: Frames that were skipped within the window, or never came.
    lost: int = 0
    received: int = 0
    repeated: int = 0
    #: How far the fixed-rate feed fell behind its plan.
    behind_ms: float = 0.0
    rss_mb: list[float] = field(default_factory=list)
    peak_mb: float = 0.0
    #: With a client that stops reading: p99 of the others with it, and without, window by window.
    stalled_p99_ms: list[float] = field(default_factory=list)
    reading_p99_ms: list[float] = field(default_factory=list)
    #: Frames that the stopped client missed: proof that it did stop.
    stalled_lost: int = 0


def run(program: Path, cores: Cores, scenario: Scenario, peer: str) -> Sample:
    """Start the peer, load it, return the figures; raises LoadError when any part gives up."""
    with ExitStack() as stack:
        rig = PEERS[peer](stack, program, cores, scenario)
        time.sleep(0.3)  # connections and collectors come to rest
        rig.feed.tell(f"run {scenario.rate}")
        time.sleep(scenario.warmup)
        sample = _window(rig, scenario, peer)
        if scenario.pairs:
            _stall(rig, scenario, sample)
        fed = rig.feed.ask("halt")
        sample.behind_ms = fed["behind_us"] / 1000
        if scenario.settles:
            rest = rig.clients.ask("settle " + " ".join(map(str, fed["made"])))
            sample.lost = rest["lost"] + rest["outstanding"]
        return sample


def _window(rig: Rig, scenario: Scenario, peer: str) -> Sample:
    before, own, feed, busy = (
        read_process(rig.pid),
        time.process_time(),
        cpu_seconds(rig.feed.pid),
        machine_busy(),
    )
    memory = []
    rig.clients.tell("start")
    end = time.monotonic() + scenario.window
    while (left := end - time.monotonic()) > 0:
        memory.append(rss(rig.pid))
        time.sleep(min(RSS_EVERY, left))
    counted = rig.clients.ask("stop")
    after, seconds, frames = read_process(rig.pid), counted["seconds"], max(counted["frames"], 1)
    user, system = after.user - before.user, after.system - before.system
    serving = counted["watched_cpu_ns"] / 1e9
    load = counted["cpu_ns"] / 1e9 + cpu_seconds(rig.feed.pid) - feed
    foreign = machine_busy() - busy - serving - load - (time.process_time() - own)
    return Sample(
        scenario.key,
        peer,
        cpu_us=serving * 1e6 / frames,
        system_share=system / max(user + system, 0.01),
        frames_per_s=counted["frames"] / seconds,
        bytes_per_frame=counted["bytes"] / frames,
        frames_per_read=frames / max(counted["reads"], 1),
        wakeups_per_s=(after.wakeups - before.wakeups) / seconds,
        p50_ms=counted["p50_us"] / 1000,
        p99_ms=counted["p99_us"] / 1000,
        p999_ms=counted["p999_us"] / 1000,
        core=serving / seconds,
        load=load / seconds,
        foreign=max(foreign, 0.0) / seconds / 2,
        lost=counted["lost"],
        received=counted["frames"],
        repeated=counted["repeated"],
        rss_mb=memory,
        peak_mb=after.peak,
    )


def _stall(rig: Rig, scenario: Scenario, sample: Sample) -> None:
    """Let clients stop reading in every other window of one run, so that both kinds compare fairly."""
    for _ in range(scenario.pairs):
        for command, found in (("resume", sample.reading_p99_ms), ("stall", sample.stalled_p99_ms)):
            rig.clients.tell(command)
            time.sleep(scenario.warmup)
            rig.clients.tell("start")
            time.sleep(scenario.window)
            found.append(rig.clients.ask("stop")["p99_us"] / 1000)
        rig.clients.tell("start")
        rig.clients.tell("resume")
        time.sleep(0.5)
        sample.stalled_lost += rig.clients.ask("stop")["stallable_lost"]


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return median, lowest and highest."""
    return statistics.median(values), min(values), max(values)
