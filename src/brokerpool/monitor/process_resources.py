"""What the operating system knows of this process."""

from __future__ import annotations

import os
from pathlib import Path

_STATM, _FDS = Path("/proc/self/statm"), Path("/proc/self/fd")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0

# /proc is memory, not a disk: reading it takes microseconds, so it may be done on the event loop.


def rss_bytes() -> int | None:
    """Return the memory that the process holds in bytes, None where the system does not tell."""
    try:
        with _STATM.open("rb", buffering=0) as statm:
            return int(statm.read().split()[1]) * _PAGE_BYTES
    except OSError:
        return None


def open_fds() -> int | None:
    """Return how many files and sockets are open, None where the system does not tell."""
    try:
        # Linux 6.2 and later count them; where the size is 0 they are listed, at a microsecond each.
        return _FDS.stat().st_size or len(os.listdir(_FDS)) - 1  # noqa: PTH208  (no path for each is wanted)
    except OSError:
        return None
