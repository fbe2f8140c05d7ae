"""No file descriptor is left: the log stays short, nothing spins, and the gateway comes back by itself."""

from __future__ import annotations

import os
import resource
import socket
import time
from pathlib import Path

import pytest

from tests import processes

SECONDS = 4.0
WAITING = 60
PLACES = 8


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("listener", ["http_url", "ws_url"])
def test_new_connections_wait_and_nothing_multiplies(listener: str, tmp_path: Path) -> None:
    log = tmp_path / "serve.log"
    with (
        processes.fresh(),  # its processor time is judged
        processes.simulator(tmp_path, symbols=10),
        processes.gateway(tmp_path) as gateway,
    ):
        pid = gateway.process.pid
        host, port = gateway.said[listener].partition("://")[2].split(":")
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        room = len([*Path(f"/proc/{pid}/fd").iterdir()]) + PLACES
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (room, before[1]))
        waiting = [socket.create_connection((host, int(port))) for _ in range(WAITING)]
        written, used = log.stat().st_size, cpu_seconds(pid)
        time.sleep(SECONDS)
        grown, used = log.stat().st_size - written, cpu_seconds(pid) - used
        for sock in waiting:
            sock.close()
        began = time.monotonic()
        while True:
            try:
                assert processes.get(f"{gateway.said['http_url']}/health/live")
                break
            except OSError:
                # Those who have gone are taken in first, eight in an attempt, of which there is one a second.
                assert time.monotonic() - began < WAITING / PLACES + 10, "it comes back by itself"
                time.sleep(0.1)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    print(log.read_text()[-3000:])
    print(f"{SECONDS:.0f} s without a descriptor: {grown} bytes of log, {used / SECONDS:.0%} of a processor")
    assert grown < 4_000
    assert used < SECONDS / 4
    assert log.read_text().count("no connection can be taken in") == 1
