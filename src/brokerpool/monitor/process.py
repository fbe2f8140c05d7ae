"""What the operating system knows of this process."""

from __future__ import annotations

import os
from pathlib import Path

_STATM, _FDS = Path("/proc/self/statm"), Path("/proc/self/fd")

# /proc is memory, not a disk: reading it takes microseconds, so it may be done on the event loop.


def rss_bytes() -> int | None:
    """Return the memory that the process holds in bytes, None where the system does not tell."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


def open_fds() -> int | None:
    """Return how many files and sockets are open, None where the system does not tell."""
    try:
        return len(os.listdir(_FDS))  # noqa: PTH208  (no path per descriptor is wanted)
    except OSError:
        return None
