"""What Linux says about processes: CPU time, memory, wake-ups; and which core they may use."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of all threads of a process, to the nanosecond (Linux' per-process clock)."""
    return time.clock_gettime(~pid << 3 | 2)


@dataclass(frozen=True)
class Reading:
    """State of a process at one moment; times in seconds since its start, memory in MB."""

    user: float
    system: float
    rss: float
    peak: float
    wakeups: int


def read_process(pid: int) -> Reading:
    """Read `/proc/PID`; user and system time have a grain of 10 ms there."""
    process = Path(f"/proc/{pid}")
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    status = _status(process / "status")
    wakeups = sum(
        _status(task / "status")["voluntary_ctxt_switches"] for task in (process / "task").iterdir()
    )
    return Reading(
        int(fields[11]) / _TICK,
        int(fields[12]) / _TICK,
        status["VmRSS"] / 1024,
        status["VmHWM"] / 1024,
        wakeups,
    )


def rss(pid: int) -> float:
    """Return the resident memory in MB."""
    return _status(Path(f"/proc/{pid}/status"))["VmRSS"] / 1024


def _status(path: Path) -> dict[str, int]:
    """Return the numbers of a status file; raises ProcessLookupError when the process has ended."""
    entries = (line.split() for line in path.read_text().splitlines())
    numbers = {e[0].rstrip(":"): int(e[1]) for e in entries if len(e) > 1 and e[1].isdigit()}
    if "VmRSS" not in numbers:
        raise ProcessLookupError(f"process {path.parent.name} has ended by itself")
    return numbers


def machine_busy() -> float:
    """Return the seconds that all cores were not idle, or stolen by the host, since the machine started."""
    user, nice, system, _idle, _wait, irq, softirq, steal = map(
        int, Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    )
    return (user + nice + system + irq + softirq + steal) / _TICK


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Let the processes that are started inside run on one core only, from their first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
