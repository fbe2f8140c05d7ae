"""A broker that takes 10 ms for everything must be invisible to the gateway's other clients."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from websockets.asyncio.client import connect

from tests import processes
from tests.gateway_client import raw_client

DELAY = 0.01


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            await asyncio.sleep(DELAY)
            writer.write(data)
    finally:
        writer.close()


@asynccontextmanager
async def _slow_proxy(port: int) -> AsyncIterator[int]:
    """Pass TCP on to the port, each piece 10 ms late: connect, handshake and subscribe included."""
    tasks: list[asyncio.Task[None]] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(DELAY)
        there, back = await asyncio.open_connection("127.0.0.1", port)
        tasks.extend(asyncio.create_task(_relay(*ends)) for ends in ((reader, back), (there, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # the transports end in the loop's next turn


async def _discard(reader: asyncio.StreamReader) -> None:
    while await reader.read(2**20):
        pass


def test_3000_symbols_in_one_request_delay_no_other_clients_ping_by_50_ms(tmp_path: Path) -> None:
    async def main(broker: processes.Running, names: list[dict[str, str]]) -> tuple[list[float], int]:
        broker_port = int(broker.said["ws_url"].rstrip("/").rpartition(":")[2])
        async with _slow_proxy(broker_port) as port:
            url = f"ws://127.0.0.1:{port}/"
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
        processes.post(f"{broker.said['control_url']}/faults", {"latency_ms": 10})
        pings, served = asyncio.run(main(broker, [*processes.listed(broker).values()]))
    slowest = max(pings)
    print(f"slowest of {len(pings)} pings while 3000 symbols were subscribed: {slowest * 1000:.1f} ms")
    assert served == 3000
    assert slowest < 0.05
