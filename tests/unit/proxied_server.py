"""A server behind a fault proxy and a client in front of it, which see what the proxy does to TCP."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from brokerpool.simulator import FaultProxy
from tests.rehearsal import no_task_dies, until

DEADLINE = 5.0

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Served(asyncio.Protocol):
    """The server's side of a connection: answers with what it gets, unless it was told to say nothing."""

    def __init__(self, among: list[Served]) -> None:
        self._among = among
        self.got = b""
        self.paused = False
        self.ended = self.lost = False
        self.error: Exception | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._among.append(self)

    def data_received(self, data: bytes) -> None:
        self.got += data
        self.transport.write(data)

    def eof_received(self) -> None:
        self.ended = True

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost, self.error = True, exc


class Place:
    """The proxy, and what is behind it."""

    def __init__(self, proxy: FaultProxy, served: list[Served]) -> None:
        self.proxy = proxy
        self.served = served

    async def dial(self) -> Ends:
        return await asyncio.open_connection("127.0.0.1", self.proxy.port)

    async def dialled(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, Served]:
        """Dial, and return once the server has it."""
        before = len(self.served)
        reader, writer = await self.dial()
        await until(lambda: len(self.served) > before)
        return reader, writer, self.served[-1]


@asynccontextmanager
async def place(seed: int = 1) -> AsyncIterator[Place]:
    """Give an echoing server behind a clean proxy; afterwards nothing that the proxy opened is left."""
    served: list[Served] = []
    loop = asyncio.get_running_loop()
    async with no_task_dies():
        server = await loop.create_server(lambda: Served(served), "127.0.0.1", 0)
        tasks = asyncio.all_tasks()
        try:
            async with FaultProxy(
                "127.0.0.1", server.sockets[0].getsockname()[1], random=Random(seed)
            ) as proxy:
                yield Place(proxy, served)
            assert proxy.report()["connections"] == 0
            assert asyncio.all_tasks() == tasks
            await until(lambda: all(one.lost for one in served))
        finally:
            server.close()
            await server.wait_closed()


async def stalled(measure: Callable[[], int]) -> int:
    """Return a figure once it has stopped changing."""
    seen: list[int] = []

    def stopped() -> bool:
        seen.append(measure())
        return len(seen) > 20 and len(set(seen[-20:])) == 1

    await until(stopped)
    return seen[-1]


def descriptors() -> int:
    """How many files and sockets this process has open."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario; it leaves no open file behind."""

    async def main() -> None:
        async with asyncio.timeout(20):
            await scenario()

    before = descriptors()
    asyncio.run(main())
    assert descriptors() == before
