"""The run: windows without and with the attack in turn, and what both kinds of them came to."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fanout.load_process import LoadError
from benchmarks.fanout.meters import cpu_seconds, rss

from .clients import BUCKET_US
from .rig import Order, Rig, started

#: A window is no longer, and there are two of each kind at least: what else happens on the machine changes.
LONGEST_WINDOW = 20.0
FEWEST_WINDOWS = 2
#: Of each attack alone, when that is asked for.
ALONE_SECONDS = 5.0
#: What an attack has left behind is over by then; short runs have less time for it.
SETTLE_SECONDS = 2.0
#: For starting and ending everything; whatever is left then ends by itself.
_AROUND_SECONDS = 60.0
_LOOK_SECONDS = 0.25
#: Of a gateway's log, when it has ended.
_LAST_LINES = 20

#: Is told what is going on, and how many seconds of it have passed since the last time.
Progress = Callable[[str, float], None]


class GatewayEndedError(Exception):
    """The gateway's process is gone; the text says what it said."""


@dataclass
class Deliveries:
    """What the clients got in windows of one kind, and what the gateway used for it."""

    seconds: float = 0.0
    frames: int = 0
    #: Ticks of the broker meanwhile.
    ticks: int = 0
    #: Frames so late that nobody remembers their tick.
    unknown: int = 0
    buckets: Counter[int] = field(default_factory=Counter)
    most_ms: float = 0.0
    gateway_cpu: float = 0.0
    attackers_cpu: float = 0.0
    #: Seconds for which the gateway could have gone on and somebody else had its core.
    gateway_waited: float = 0.0
    #: Of each window alone.
    p99s_ms: list[float] = field(default_factory=list)

    def at_ms(self, share: float) -> float:
        """Return the delay that this share of the frames did not exceed, to 10 microseconds."""
        return _quantile_ms(self.buckets, share)

    @property
    def per_second(self) -> float:
        return self.frames / self.seconds if self.seconds else 0.0


@dataclass
class Managed:
    """What one attacker did beside the others, and for how long."""

    seconds: float = 0.0
    done: int = 0
    shut_out: int = 0


@dataclass
class Result:
    """The whole run."""

    order: Order
    without: Deliveries = field(default_factory=Deliveries)
    attacked: Deliveries = field(default_factory=Deliveries)
    attacks: dict[str, Managed] = field(default_factory=dict)
    #: By attack, its window alone, if that was asked for; not judged.
    alone: dict[str, Deliveries] = field(default_factory=dict)
    #: Why each lost client was lost.
    lost: list[str] = field(default_factory=list)
    memory_before: float = 0.0
    memory_peak: float = 0.0
    log_kinds: list[tuple[str, int]] = field(default_factory=list)
    log_errors: list[str] = field(default_factory=list)

    @property
    def log_lines(self) -> int:
        return sum(count for _, count in self.log_kinds)


def windows(seconds: float) -> int:
    """Return how many windows of each kind there are in a run."""
    return max(FEWEST_WINDOWS, -int(-seconds // LONGEST_WINDOW))


def settling(seconds: float) -> float:
    """Return for how long what an attack has left behind may take to be over, before the next window."""
    return min(SETTLE_SECONDS, seconds / 4)


def duration(order: Order) -> float:
    """Return the seconds that are spent in and between windows."""
    settle = settling(order.seconds)
    extra = len(order.names) * (ALONE_SECONDS + settle) if order.alone else 0.0
    return 2 * order.seconds + (windows(order.seconds) + 1) * settle + extra


def run(order: Order, progress: Progress) -> Result:
    """Measure; raises GatewayEndedError when the gateway did not stand it, LoadError for any other part."""
    result = Result(order, attacks={name: Managed() for name in order.names})
    with ExitStack() as stack:
        rig = started(stack, order, int(duration(order) + _AROUND_SECONDS))
        try:
            _measure(rig, order, result, progress)
        except (LoadError, OSError) as error:  # OSError: a process that ended cannot be read any more
            if rig.gateway.poll() is None:
                raise LoadError(str(error)) from None
            end = "\n".join(rig.log.lines()[-_LAST_LINES:])
            raise GatewayEndedError(
                f"The gateway ended with exit code {rig.gateway.returncode}:\n{end}"
            ) from None
    return result


def _measure(rig: Rig, order: Order, result: Result, progress: Progress) -> None:
    measurement, settle = _Measurement(rig, result, progress), settling(order.seconds)
    measurement.wait("everything settles", settle)
    result.memory_before = rss(rig.pid)
    each = order.seconds / windows(order.seconds)
    for _ in range(windows(order.seconds)):
        measurement.window("without the attack", each, result.without)
        measurement.attacked("under attack", each, order.names, result.attacked)
        measurement.wait("what was attacked settles", settle)
    result.log_kinds, result.log_errors = rig.log.kinds(), rig.log.errors()
    if not order.alone:
        return
    apart = _Measurement(rig, Result(order), progress)
    for name in order.names:
        result.alone[name] = Deliveries()
        apart.attacked(f"{name} alone", ALONE_SECONDS, [name], result.alone[name])
        apart.wait("what was attacked settles", settle)


class _Measurement:
    def __init__(self, rig: Rig, result: Result, progress: Progress) -> None:
        self._rig = rig
        self._result = result
        self._progress = progress

    def wait(self, what: str, seconds: float) -> None:
        """Let time pass, and look at the gateway's memory meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._result.memory_peak = max(self._result.memory_peak, rss(self._rig.pid))
            nap = min(_LOOK_SECONDS, left)
            time.sleep(nap)
            self._progress(what, nap)

    def window(self, what: str, seconds: float, into: Deliveries) -> None:
        """Add one window to those of its kind."""
        gateway, waited = cpu_seconds(self._rig.pid), waited_seconds(self._rig.pid)
        self._rig.clients.tell("start")
        self.wait(what, seconds)
        counted = self._rig.clients.ask("stop")
        into.gateway_cpu += cpu_seconds(self._rig.pid) - gateway
        into.gateway_waited += waited_seconds(self._rig.pid) - waited
        into.seconds += counted["seconds"]
        into.frames += counted["frames"]
        into.ticks += counted["ticks"]
        into.unknown += counted["unknown"]
        buckets = Counter({int(bucket): count for bucket, count in counted["buckets"].items()})
        into.buckets += buckets
        into.p99s_ms.append(_quantile_ms(buckets, 0.99))
        into.most_ms = max(into.most_ms, counted["most_us"] / 1000)
        self._result.lost = counted["lost"]

    def attacked(self, what: str, seconds: float, names: Sequence[str], into: Deliveries) -> None:
        """Add one window in which these attack from its first to its last moment."""
        self._rig.attack(names)
        self.window(what, seconds, into)
        for managed in self._rig.rest():
            into.attackers_cpu += managed["cpu"]
            for name, figures in managed["attacks"].items():
                attack = self._result.attacks.setdefault(name, Managed())
                attack.seconds += managed["seconds"]
                attack.done += figures["done"]
                attack.shut_out += figures["shut_out"]


def waited_seconds(pid: int) -> float:
    """Return for how long the main thread of a process has waited for a core while it could have run."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


def _quantile_ms(buckets: Counter[int], share: float) -> float:
    left = share * buckets.total()
    for bucket in sorted(buckets):
        left -= buckets[bucket]
        if left <= 0:
            return (bucket + 1) * BUCKET_US / 1000
    return math.nan  # nothing came at all
