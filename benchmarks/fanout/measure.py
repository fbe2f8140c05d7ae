"""One run: a rig under its load, and the figures of the window."""

from __future__ import annotations

import os
import statistics
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from .load_process import LoadError
from .meters import cpu_seconds, machine_busy, read_process, rss
from .peers import PEERS, Cores, Rig
from .scenarios import Scenario

RSS_EVERY = 0.25
#: Share of the machine that others may use before a run, or a pair of windows, is not to be relied on.
DISTURBED = 0.10


class Neighbours:
    """How much of the machine is used by processes that are no part of the benchmark."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._since = time.monotonic()
        self._others = self._read()

    def _read(self) -> float:
        rig = self._rig
        parts = (rig.clients.pid, rig.feed.pid, *(each.pid for each in (rig.server, *rig.before)))
        return machine_busy() - sum(map(cpu_seconds, parts)) - time.process_time()

    def share(self) -> float:
        """Return the share of all cores since this was made."""
        seconds = (time.monotonic() - self._since) * (os.cpu_count() or 1)
        return max(self._read() - self._others, 0.0) / seconds


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
        try:
            return _loaded(rig, scenario, peer)
        except (LoadError, OSError) as error:  # OSError: a process that ended cannot be read any more
            raise rig.server.failure(str(error)) from None


def _loaded(rig: Rig, scenario: Scenario, peer: str) -> Sample:
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
        sample.repeated = rest["repeated"]
    return sample


def _window(rig: Rig, scenario: Scenario, peer: str) -> Sample:
    before, feed, neighbours = read_process(rig.server.pid), cpu_seconds(rig.feed.pid), Neighbours(rig)
    memory = []
    rig.clients.tell("start")
    end = time.monotonic() + scenario.window
    while (left := end - time.monotonic()) > 0:
        memory.append(rss(rig.server.pid))
        time.sleep(min(RSS_EVERY, left))
    counted = rig.clients.ask("stop")
    load = counted["cpu_ns"] / 1e9 + cpu_seconds(rig.feed.pid) - feed
    if counted["frames"] == 0:
        raise LoadError("no frame reached any client")
    foreign, after = neighbours.share(), read_process(rig.server.pid)
    seconds, frames, serving = counted["seconds"], counted["frames"], counted["watched_cpu_ns"] / 1e9
    user, system = after.user - before.user, after.system - before.system
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
        foreign=foreign,
        lost=counted["lost"],
        received=counted["frames"],
        repeated=counted["repeated"],
        rss_mb=memory,
        peak_mb=after.peak,
    )


@dataclass(frozen=True)
class _Pair:
    """A window in which all clients read and one in which some do not, right after each other."""

    reading_p99_ms: float
    stalled_p99_ms: float
    stalled_lost: int
    foreign: float


def _stall(rig: Rig, scenario: Scenario, sample: Sample) -> None:
    """Let clients stop reading in every other window of one run, so that both kinds compare fairly.

    Disturbed pairs are replaced by further ones, up to as many again.
    """
    pairs: list[_Pair] = []
    while len(pairs) < 2 * scenario.pairs and sum(p.foreign <= DISTURBED for p in pairs) < scenario.pairs:
        pairs.append(_pair(rig, scenario))
    quietest = sorted(pairs, key=lambda pair: pair.foreign)[: scenario.pairs]
    sample.reading_p99_ms = [pair.reading_p99_ms for pair in quietest]
    sample.stalled_p99_ms = [pair.stalled_p99_ms for pair in quietest]
    sample.stalled_lost = sum(pair.stalled_lost for pair in quietest)
    sample.foreign = statistics.median(pair.foreign for pair in quietest)


def _pair(rig: Rig, scenario: Scenario) -> _Pair:
    neighbours = Neighbours(rig)
    reading = _p99_after(rig, scenario, "resume")
    stalled = _p99_after(rig, scenario, "stall")
    rig.clients.tell("start")
    rig.clients.tell("resume")
    time.sleep(0.5)
    return _Pair(reading, stalled, rig.clients.ask("stop")["stallable_lost"], neighbours.share())


def _p99_after(rig: Rig, scenario: Scenario, command: str) -> float:
    rig.clients.tell(command)
    time.sleep(scenario.warmup)
    rig.clients.tell("start")
    time.sleep(scenario.window)
    p99_us: int = rig.clients.ask("stop")["p99_us"]
    return p99_us / 1000


def spread(values: list[float]) -> tuple[float, float, float]:
    """Return median, lowest and highest."""
    return statistics.median(values), min(values), max(values)
