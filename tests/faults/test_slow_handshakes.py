"""Two hundred clients that never finish their handshake, or never authenticate, beside one that does."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests import processes

pytestmark = pytest.mark.alone


CLIENTS = 200


def test_they_are_all_closed_in_time_and_a_normal_client_connects_meanwhile_in_50_ms(tmp_path: Path) -> None:
    async def main(port: int, key: str) -> tuple[float, float]:
        ends = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS)]
        for n, (_, writer) in enumerate(ends):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n" if n % 2 else b"G")
        began = time.perf_counter()
        async with connect(f"ws://127.0.0.1:{port}") as normal:
            await normal.send(json.dumps({"action": "authenticate", "api_key": key}))
            assert json.loads(await normal.recv())["status"] == "success"
            connected = time.perf_counter() - began
            async with asyncio.timeout(10):
                for reader, writer in ends:
                    assert await reader.read(-1) == b""
                    writer.close()
        return connected, time.perf_counter() - began

    with processes.simulator(tmp_path, symbols=5), processes.gateway(tmp_path) as gateway:
        port = int(gateway.said["ws_url"].rpartition(":")[2])
        connected, closed = asyncio.run(main(port, processes.api_key(tmp_path)))
    print(f"{CLIENTS} half handshakes closed in {closed:.1f} s; one came in in {connected * 1000:.0f} ms")
    assert connected < 0.05
    log = (tmp_path / "serve.log").read_text()
    assert "Traceback" not in log, "strangers do not fill the log"
    assert len(log.splitlines()) < 20
