"""Clients of a gateway that note what reaches them, cheaply enough to watch a busy market."""

from __future__ import annotations

import asyncio
import json
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.gateway_client import masked, raw_client

_TICK = b'{"type":"market_data","symbol":"'
_STAMP = b'"timestamp":'


class Observer:
    """One client: when each symbol ticked, its longest pause, how late its ticks were, and all news."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.last: dict[str, float] = {}
        self.pauses: dict[str, float] = {}
        self.delays_ms: dict[str, list[float]] = {}
        #: Ticks that were marked as snapshots, and every frame that was no tick.
        self.snapshots: list[dict[str, Any]] = []
        self.news: list[dict[str, Any]] = []
        self.ticks = 0
        self.ended = False

    def reset(self) -> None:
        """Forget the past, except which symbols there are."""
        now = time.monotonic()
        self.last = dict.fromkeys(self.last, now)
        self.pauses = dict.fromkeys(self.last, 0.0)
        self.delays_ms = {}
        self.ticks = 0

    def symbol_news(self, status: str) -> list[dict[str, Any]]:
        """Return the frames that told of one symbol: `stale` or `gap`."""
        return [frame for frame in self.news if frame.get("status") == status and "symbol" in frame]

    def feed_news(self) -> list[dict[str, Any]]:
        """Return the frames that told of the whole feed."""
        return [f for f in self.news if f.get("type") == "feed_status" and "symbol" not in f]

    def take(self, payload: bytes) -> None:
        """Note one frame."""
        if not payload.startswith(_TICK):
            self.news.append(json.loads(payload))
            return
        if b'"snapshot":true' in payload:
            self.snapshots.append(json.loads(payload))
            return
        symbol = payload[len(_TICK) : payload.index(b'"', len(_TICK))].decode()
        now = time.monotonic()
        pause = now - self.last.get(symbol, now)
        if pause > self.pauses.get(symbol, 0.0):
            self.pauses[symbol] = pause
        self.last[symbol] = now
        self.ticks += 1
        if not self.ticks % 7:
            at = payload.index(_STAMP) + len(_STAMP)
            stamp = int(payload[at : at + 13])
            self.delays_ms.setdefault(symbol, []).append(time.time() * 1000 - stamp)

    async def listen(self, reader: asyncio.StreamReader) -> None:
        """Take frames until the gateway closes the connection."""
        rest = b""
        while piece := await reader.read(2**18):
            rest = self._frames(rest + piece)
        self.ended = True

    def _frames(self, data: bytes) -> bytes:
        at = 0
        while len(data) - at >= 2:
            opcode, size, start = data[at] & 0x0F, data[at + 1], at + 2
            if size == 126:
                if len(data) < start + 2:
                    break
                (size,) = struct.unpack_from(">H", data, start)
                start += 2
            elif size == 127:
                if len(data) < start + 8:
                    break
                (size,) = struct.unpack_from(">Q", data, start)
                start += 8
            if len(data) < start + size:
                break
            if opcode == 1:
                self.take(data[start : start + size])
            elif opcode == 9:  # who leaves pings unanswered is sent away
                self._writer.write(masked(data[start : start + size], 10))
            at = start + size
        return data[at:]


@asynccontextmanager
async def observing(
    ws_url: str,
    key: str,
    symbols: Sequence[Sequence[dict[str, str]]],
    mode: int = 1,
    kind: type[Observer] = Observer,
) -> AsyncIterator[list[Observer]]:
    """Connect one client for each list of symbols, and give the observers, of this kind."""
    observers, tasks, writers = [], [], []
    try:
        for rows in symbols:
            reader, writer = await raw_client(ws_url, list(rows), key, mode)
            observer = kind(writer)
            observers.append(observer)
            writers.append(writer)
            tasks.append(asyncio.create_task(observer.listen(reader)))
        yield observers
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:
            writer.close()


def p99(values: Sequence[float]) -> float:
    """Return the value that 99 of 100 do not exceed."""
    return sorted(values)[int(len(values) * 0.99)] if values else 0.0
