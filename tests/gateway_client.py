"""A gateway on a simulated broker in this process, and a client of it as small as the protocol allows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from brokerpool import ZerodhaFeed
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.router import Router
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.clustered_upstream import ClusteredUpstream
from tests.late_upstream import LateUpstream
from tests.rehearsal import feed, no_task_dies, until

KEY = "a-key-for-the-gateway"


@asynccontextmanager
async def gateway(
    simulator: dict[str, Any] | None = None,
    grace: float = 60.0,
    account: Callable[[KiteSimulator], ZerodhaFeed] = feed,
    /,
    **environ: str,
) -> AsyncIterator[tuple[KiteSimulator, Gateway]]:
    """Run both; with a DATABASE_URL the gateway has its database; `grace` is for what it restores."""
    async with no_task_dies(), KiteSimulator(**{"rate": 0, "symbols": 30, **(simulator or {})}) as broker:
        environ = {
            "BROKERPOOL_API_KEY": KEY,
            "BROKERPOOL_BROKER_API_KEY": broker.api_key,
            "BROKERPOOL_BROKER_ACCESS_TOKEN": broker.access_token,
            "WEBSOCKET_PORT": "0",
            "BROKERPOOL_HTTP_PORT": "0",
            **environ,
        }
        settings = Settings.load(environ={k: v for k, v in environ.items() if v})
        persistence = Persistence(settings, grace=grace) if "DATABASE_URL" in environ else None
        if persistence is not None:
            await persistence.open()
        certificate = Certificate.of(settings.tls_cert_file, settings.tls_key_file)
        served_by = compose(settings, account(broker), persistence=persistence, certificate=certificate)
        try:
            await served_by.start()
            yield broker, served_by
        finally:
            await served_by.close()


def pool_of(served_by: Gateway) -> WebSocketPool:
    """Return the pool that the gateway's upstream is, or that stands behind it."""
    upstream = served_by.upstream
    if isinstance(upstream, Router):
        return upstream._members[0].pool
    pool = upstream.pool if isinstance(upstream, LateUpstream | ClusteredUpstream) else upstream
    assert isinstance(pool, WebSocketPool)
    return pool


async def trade(broker: KiteSimulator, served_by: Gateway, ticks: int) -> None:
    """Let the market trade, and return when the gateway has had it all: what clients get is on its way.

    For pools that have lost no connection: the statistics begin anew with each.
    """
    await broker.step(ticks)
    counts = broker.stats()
    sent = counts["ticks_sent"] + counts["snapshots_sent"]
    await until(lambda: received(served_by) == sent and told(served_by))


def received(served_by: Gateway) -> int:
    """Return how many packets have come on the connections that there are, those left out included."""
    connections = served_by.upstream.get_pool_stats()["websocket"]["per_connection"]
    return sum(each["ticks"] + sum(each["skipped_packets"].values()) for each in connections)


def told(served_by: Gateway) -> bool:
    """Tell whether the gateway has heard of all that its upstream has had, and gathers no frames of it."""
    upstream = served_by.upstream
    if isinstance(upstream, LateUpstream | ClusteredUpstream) and upstream.untold:
        return False
    return not gathers(served_by)


def gathers(served_by: Gateway) -> bool:
    """Tell whether frames wait for the flush window to end: an answer to a request would come before them."""
    return served_by._fanout._flush_handle is not None


class Client:
    """A client as small as the protocol allows."""

    def __init__(self, connection: ClientConnection, served_by: Gateway | None = None) -> None:
        """`served_by` is the gateway where that runs in this process."""
        self.connection = connection
        self._served_by = served_by
        self.ticks: list[dict[str, Any]] = []
        #: News of single symbols: which have stopped, and which holes are over.
        self.symbol_news: list[dict[str, Any]] = []

    async def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its reply; ticks that come before it are kept."""
        await self.connection.send(json.dumps(request))
        return await self.reply()

    async def reply(self) -> dict[str, Any]:
        return await self._next("reply")

    async def news(self) -> dict[str, Any]:
        """Return the next `feed_status` frame of the whole feed."""
        return await self._next("news")

    async def _next(self, wanted: str) -> dict[str, Any]:
        async with asyncio.timeout(5):
            while True:
                frame: dict[str, Any] = json.loads(await self.connection.recv())
                if frame.get("type") == "market_data":
                    self.ticks.append(frame)
                elif frame.get("type") == "feed_status" and "symbol" in frame:
                    self.symbol_news.append(frame)
                elif wanted == ("news" if frame.get("type") == "feed_status" else "reply"):
                    return frame

    async def subscribe(self, *symbols: str, mode: int | str = 1) -> dict[str, Any]:
        wanted = [{"symbol": symbol, "exchange": "NSE"} for symbol in symbols]
        return await self.ask(action="subscribe", symbols=wanted, mode=mode)

    async def take(self, count: int) -> list[dict[str, Any]]:
        """Return the next ticks, at least so many."""
        ticks = await self.drain()
        async with asyncio.timeout(5):
            while len(ticks) < count:
                ticks += await self.drain()
        return ticks

    async def drain(self) -> list[dict[str, Any]]:
        """Return every tick that was published before now: the answer to a ping comes behind them."""
        if (gateway := self._served_by) is not None:
            await until(lambda: not gathers(gateway))
        await self.ask(action="ping")
        ticks, self.ticks = self.ticks, []
        return ticks


@asynccontextmanager
async def client(served_by: Gateway, *, key: str | None = KEY) -> AsyncIterator[Client]:
    async with connect(served_by.ws_url, compression=None, max_queue=None) as connection:
        session = Client(connection, served_by)
        if key is not None:
            assert (await session.ask(action="authenticate", api_key=key))["status"] == "success"
        yield session


async def raw_client(
    ws_url: str, rows: list[dict[str, str]], key: str | None = KEY, mode: int = 3
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, subscribe (in Depth mode), and read nothing: a library would read on its own."""
    host, port = ws_url.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
    writer.write(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    await reader.readuntil(b"\r\n\r\n")
    if key is not None:
        writer.write(masked(json.dumps({"action": "authenticate", "api_key": key}).encode()))
    if rows:
        writer.write(masked(json.dumps({"action": "subscribe", "symbols": rows, "mode": mode}).encode()))
    return reader, writer


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """Return a client's frame; the mask is zero, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


async def read_frame(reader: asyncio.StreamReader) -> dict[str, Any]:
    head = await reader.readexactly(2)
    size = head[1] if head[1] < 126 else int.from_bytes(await reader.readexactly(2), "big")
    payload = await reader.readexactly(size)
    return json.loads(payload) if head[0] == 0x81 else {}
