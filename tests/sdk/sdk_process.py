"""An official client in a process of its own, told line by line what to do, and our own codec beside it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from brokerpool.brokers.wire import ControlBatch, Wire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Tick
from brokerpool.transport import Link, LinkHandler
from tests import rehearsal

#: Seconds within which the client answers, and what is waited for comes.
DEADLINE = 30.0

until = partial(rehearsal.until, seconds=DEADLINE)


class Sdk:
    """The process in which the official client runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, line: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(line).encode() + b"\n")
        await self._process.stdin.drain()

    async def ask(self, *command: object) -> Any:
        assert self._process.stdout is not None
        await self.tell(command)
        answer = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE)
        assert answer, "the client's process has ended"
        return json.loads(answer)


@asynccontextmanager
async def running(
    python: Path | str,
    program: Path,
    account: Mapping[str, object],
    *,
    folder: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> AsyncIterator[Sdk]:
    """Run the program, which is first told the account; it is ended with the block, whatever it does."""
    process = await asyncio.create_subprocess_exec(
        str(python),
        str(program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=2**27,
        cwd=folder,
        env={**os.environ, **(environ or {})},
    )
    try:
        sdk = Sdk(process)
        await sdk.tell(account)
        yield sdk
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


class Receiver(LinkHandler):
    """Our own client: an adapter's codec on our transport, which asks for its batches as soon as it may."""

    def __init__(self, wire: Wire, batches: Sequence[ControlBatch], tokens: Collection[Token]) -> None:
        self.wire = wire
        self._batches = batches
        self._routes = {token: Instrument("NSE", str(token)) for token in tokens}
        self.ticks: list[Tick] = []

    def opened(self, link: Link) -> None:
        for batch in self._batches:
            for request in self.wire.requests(batch):
                if isinstance(request, str):
                    link.send_text(request)
                else:
                    link.send_binary(request)

    def binary(self, message: bytes | memoryview) -> None:
        self.ticks += self.wire.binary(message, self._routes, 0)

    def text(self, message: str) -> None:
        self.wire.text(message, self._routes, 0)
