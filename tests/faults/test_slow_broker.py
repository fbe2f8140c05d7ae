"""A broker that takes 10 ms for everything must be invisible to the gateway's other clients."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from brokerpool.simulator import FaultProxy, Latency
from tests import processes
from tests.gateway_client import raw_client

pytestmark = pytest.mark.alone


DELAY_MS = 10


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**20):
        pass


def test_3000_symbols_in_one_request_delay_no_other_clients_ping_by_50_ms(tmp_path: Path) -> None:
    async def main(broker: processes.Running, names: list[dict[str, str]]) -> tuple[list[float], int]:
        broker_port = int(broker.said["ws_url"].rstrip("/").rpartition(":")[2])
        async with FaultProxy("127.0.0.1", broker_port) as proxy:
            # Each piece is late, both ways: handshake and subscribe included.
            proxy.add("there", Latency(latency=DELAY_MS, stream="upstream"))
            proxy.add("back", Latency(latency=DELAY_MS))
            url = f"ws://127.0.0.1:{proxy.port}/"
            with processes.gateway(tmp_path, BROKERPOOL_BROKER_WS_URL=url) as gateway:
                return await measure(gateway, names)

    async def measure(gateway: processes.Running, names: list[dict[str, str]]) -> tuple[list[float], int]:
        login = json.dumps({"action": "authenticate", "api_key": processes.api_key(tmp_path)})
        where = gateway.said["ws_url"]
        async with connect(where) as other:
            await other.send(login)
            await other.recv()
            # Read and thrown away unparsed: what is measured is the gateway, not this process.
            reader, writer = await raw_client(where, names, processes.api_key(tmp_path))
            reading = asyncio.create_task(_discard(reader))
            pings: list[float] = []
            served = 0
            deadline = time.monotonic() + 20
            while served < len(names) and time.monotonic() < deadline:
                for _ in range(20):
                    began = time.perf_counter()
                    await other.send('{"action":"ping"}')
                    await other.recv()
                    pings.append(time.perf_counter() - began)
                stats = await asyncio.to_thread(processes.get, f"{gateway.said['http_url']}/stats")
                served = sum(c["sent"] for c in stats["websocket"]["per_connection"])
            reading.cancel()
            writer.close()
        return pings, served

    with processes.simulator(tmp_path, symbols=3000, rate=0) as broker:
        processes.post(f"{broker.said['control_url']}/faults", {"latency_ms": DELAY_MS})
        pings, served = asyncio.run(main(broker, [*processes.listed(broker).values()]))
    slowest = max(pings)
    print(f"slowest of {len(pings)} pings while 3000 symbols were subscribed: {slowest * 1000:.1f} ms")
    assert served == 3000
    assert slowest < 0.05
