"""No room is left on the disk: prices go on, the log stays short, and the store comes back by itself."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

from tests import processes

SECONDS = 4.0
#: Bytes that a file may have: enough for the log of this test, too few for one commit of the database.
FULL = 8_000


def ticks(client: ClientConnection, seconds: float) -> int:
    """Read for so long and return how many prices came."""
    until, count = time.monotonic() + seconds, 0
    while (left := until - time.monotonic()) > 0:
        try:
            count += json.loads(client.recv(timeout=left))["type"] == "market_data"
        except TimeoutError:
            break
    return count


def test_a_gateway_whose_files_cannot_grow_goes_on_says_so_and_recovers(tmp_path: Path) -> None:
    log = tmp_path / "serve.log"

    def subscribe(client: ClientConnection, rows: list[dict[str, str]]) -> None:
        client.send(json.dumps({"action": "subscribe", "symbols": rows, "mode": 1}))

    with (
        processes.simulator(tmp_path, symbols=20, rate=200) as broker,
        processes.gateway(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path / 'gateway.db'}") as gateway,
        connect(gateway.said["ws_url"]) as client,
    ):
        pid, url, key = gateway.process.pid, gateway.said["http_url"], processes.api_key(tmp_path)

        def health() -> dict[str, Any]:
            answer: dict[str, Any] = processes.get(f"{url}/health")
            return answer

        def until(status: str) -> None:
            began = time.monotonic()
            while health()["status"] != status:
                assert time.monotonic() - began < 20, health()
                time.sleep(0.1)

        client.send(json.dumps({"action": "authenticate", "api_key": key}))
        rows = list(processes.listed(broker).values())
        subscribe(client, rows[:10])
        assert ticks(client, 1.0)
        until("ok")
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (FULL, before[1]))
        written = log.stat().st_size
        subscribe(client, rows[10:])
        during = ticks(client, SECONDS)
        until("degraded")
        reasons = health()["reasons"]
        grown = log.stat().st_size - written
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
        until("ok")
        after = ticks(client, 1.0)
        events = {entry["event"] for entry in processes.get(f"{url}/journal")["entries"]}
    print(f"{SECONDS:.0f} s without room on the disk: {during} prices, {grown} bytes of log, {reasons}")
    assert during > 100
    assert after > 25
    assert any("database" in str(reason) for reason in reasons)
    assert {"database away", "database back"} <= events
    assert grown < 2_000
    assert "Traceback" not in log.read_text()
