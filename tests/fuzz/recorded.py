"""What a client, a program with HTTP calls and a broker say in a real session, recorded as it passes.

A gateway on a simulated broker talks through ports that keep what passes. Market, clock and names are the
same in each recording, and so are then the frames toward the gateway: of what their senders draw at random,
masks are taken off and the handshake's key is replaced. Each HTTP request had a connection of its own, but
does not say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from websockets.asyncio.client import connect

from brokerpool import WebSocketPool
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.fuzz.attacked import gateway_on
from tests.gateway_client import KEY, Client, masked, pool_of
from tests.rehearsal import demanded, instruments, served, until

_CLOCK = 1_790_000_000.0
_INFY = {"symbol": "INFY", "exchange": "NSE"}
_HEARTBEAT = b"\x82\x01\x00"
_DAYS = {"start_date": "2026-09-14", "end_date": "2026-09-18"}


@dataclass(frozen=True)
class Recording:
    """The frames of each direction, in their order."""

    #: The request that opens a client's WebSocket, and its frames; all are masked with zeros.
    upgrade: bytes
    client: tuple[bytes, ...]
    #: What the gateway told the client.
    replies: tuple[bytes, ...]
    #: HTTP requests, each whole, and the answers.
    requests: tuple[bytes, ...]
    answers: tuple[bytes, ...]
    #: A broker's frames, and what the pool asked for.
    broker: tuple[bytes, ...]
    orders: tuple[bytes, ...]

    @property
    def digest(self) -> str:
        """The same for recordings that have the same frames toward the gateway."""
        parts = (self.upgrade, *self.client, b"", *self.requests, b"", *self.broker)
        return hashlib.sha256(b"".join(b"%d:%s" % (len(part), part) for part in parts)).hexdigest()[:8]


class Tap:
    """A port in front of another one that keeps what passes: of each connection, both directions."""

    def __init__(self, url: str) -> None:
        """Whatever comes goes to the host and port of the URL."""
        self._to = urlsplit(url)
        #: What the one that connects has said, and the other.
        self.passed: list[tuple[bytearray, bytearray]] = []
        #: Host and port where it listens.
        self.netloc = ""
        self._server: asyncio.Server

    async def open(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.netloc = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def close(self) -> None:
        """Listen no more; connections end with their parties."""
        self._server.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(self._to.hostname, self._to.port)
        said, answered = bytearray(), bytearray()
        self.passed.append((said, answered))
        async with asyncio.TaskGroup() as ways:
            ways.create_task(_pump(reader, back, said))
            ways.create_task(_pump(there, writer, answered))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(2**16):
            kept += data
            writer.write(data)
            await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def _tapped(url: str) -> AsyncIterator[Tap]:
    tap = Tap(url)
    await tap.open()
    try:
        yield tap
    finally:
        tap.close()


async def record() -> Recording:
    """Have a session, and return what was said in it."""
    simulated = KiteSimulator(
        symbols=30,
        rate=0,
        # Kite's answer to a subscribe and its mode is one frame or two, as they happen to arrive.
        snapshot=False,
        api_key="recorded",
        access_token="recorded-token",
        http_rates={},
        heartbeat_seconds=0.2,
        clock=lambda: _CLOCK,
    )
    async with simulated as simulator, _tapped(simulator.ws_url) as broker:
        gateway = await gateway_on(simulator, f"ws://{broker.netloc}/")
        try:
            async with _tapped(gateway.ws_url) as ws, _tapped(gateway.http_url) as http:
                await _converse(ws, simulator, pool_of(gateway), meanwhile=lambda: _call(http))
        finally:
            await gateway.close()
    said, replied = ws.passed[0]
    head, frames = bytes(said).split(b"\r\n\r\n", 1)
    head = re.sub(rb"(?i)(sec-websocket-key: )\S+", rb"\1dGhlIHNhbXBsZSBub25jZQ==", head)
    asked, served = broker.passed[0]
    return Recording(
        upgrade=head.replace(ws.netloc.encode(), b"localhost") + b"\r\n\r\n",
        client=tuple(_frames(frames)),
        replies=tuple(_frames(_behind_head(replied))),
        requests=tuple(_kept_alive(bytes(one), http.netloc) for one, _ in http.passed),
        answers=tuple(bytes(answer) for _, answer in http.passed),
        broker=tuple(_without_repeated(_frames(_behind_head(served)))),
        orders=tuple(_frames(_behind_head(asked))),
    )


async def _converse(
    ws: Tap, simulator: KiteSimulator, pool: WebSocketPool, meanwhile: Callable[[], Awaitable[None]]
) -> None:
    """Say what the official clients say, and some that they could; `meanwhile` the prices are live."""
    listed = [{"symbol": i.symbol, "exchange": i.exchange} for i in instruments(simulator, 12)]
    odd = [_INFY, {"symbol": "NOPE", "exchange": "NSE"}]

    async def ask(**request: Any) -> None:
        await client.ask(**request)
        # The same requests to the broker each time, and not as many in one as happen to be there.
        await until(lambda: served(simulator) == demanded(pool))

    async with connect(f"ws://{ws.netloc}", compression=None, max_queue=None) as connection:
        client = Client(connection)
        await ask(action="authenticate", api_key=KEY)
        await ask(action="get_broker_info")
        await ask(action="get_supported_brokers")
        for mode in (1, 2, 3):
            await ask(action="subscribe", symbols=listed[:3], mode=mode)
            await simulator.step(60)
        await ask(action="subscribe", symbols=listed, mode="Depth", depth=5, request_id="all")
        await ask(action="subscribe", **_INFY, mode=3, depth_level=5)
        for _ in range(10):
            await simulator.step(20)
            await ask(action="ping", timestamp=1_790_000_000_000, _pingId="7")
        await meanwhile()
        await (await connection.ping(b"sign of life"))
        await ask(action="subscribe_orders")
        await ask(action="list_subscriptions", request_id=12)
        await ask(action="unsubscribe", symbols=[{**_INFY, "mode": 1}])
        await ask(action="unsubscribe", symbols=listed[:3], mode="LTP")
        await ask(action="subscribe", symbols=odd, mode="ltp")
        heartbeats = simulator.sockets()[0]["frames_sent"]
        await until(lambda: simulator.sockets()[0]["frames_sent"] > heartbeats)  # a heartbeat
        await ask(action="unsubscribe_all")


async def _call(http: Tap) -> None:
    """Make each call once, on a connection of its own."""
    calls: dict[str, dict[str, Any]] = {
        "quotes": _INFY,
        "depth": _INFY,
        "symbol": _INFY,
        "multiquotes": {"symbols": [_INFY, {"symbol": "NOPE", "exchange": "NSE"}]},
        "history": {**_INFY, **_DAYS, "interval": "D"},
        "intervals": {},
        "search": {"query": "NIFTY", "exchange": "NFO"},
        "expiry": {"symbol": "NIFTY", "exchange": "NFO", "instrumenttype": "futures"},
        "ping": {},
    }
    pages = (
        f"/api/v1/instruments?apikey={KEY}&exchange=NSE&format=csv",
        f"/api/v1/ticker/NSE:INFY?apikey={KEY}&interval=D&from=2026-09-14&to=2026-09-18",
        *("/health", "/health/ready", "/stats", "/metrics", "/journal?after=3", "/subscriptions"),
        *("/explain/NSE:INFY", "/openapi.json", "/docs", "/dashboard", "/dashboard/symbols?q=INF"),
    )
    origin = {"Origin": "https://elsewhere.example", "Access-Control-Request-Method": "POST"}
    fresh = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(f"http://{http.netloc}", connector=fresh) as session:
        for name, body in calls.items():
            async with session.post(f"/api/v1/{name}", json={"apikey": KEY, **body}) as answer:
                await answer.read()
        for page in pages:
            async with session.get(page, headers={"X-API-KEY": KEY}) as answer:
                await answer.read()
        async with session.options("/api/v1/quotes", headers=origin) as answer:
            await answer.read()
        chunks = _chunks(json.dumps({"apikey": KEY, **_INFY}).encode())
        headers = {"Content-Type": "application/json"}
        async with session.post("/api/v1/symbol", data=chunks, headers=headers) as answer:
            await answer.read()


async def _chunks(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 16):
        yield body[at : at + 16]


def _kept_alive(request: bytes, netloc: str) -> bytes:
    return request.replace(netloc.encode(), b"localhost").replace(b"Connection: close\r\n", b"")


def _behind_head(stream: bytearray) -> bytes:
    return bytes(stream).split(b"\r\n\r\n", 1)[1]


def _frames(stream: bytes) -> Iterator[bytes]:
    """Yield the frames of one direction; those of a client masked with zeros."""
    at = 0
    while at < len(stream):
        opcode, size = stream[at] & 0x0F, stream[at + 1] & 0x7F
        begin = at + 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, begin = int.from_bytes(stream[begin : begin + wide], "big"), begin + wide
        if stream[at + 1] & 0x80:
            mask, begin = stream[begin : begin + 4], begin + 4
            payload = bytes(b ^ mask[n % 4] for n, b in enumerate(stream[begin : begin + size]))
            yield masked(payload, opcode)
        else:
            yield stream[at : begin + size]
        at = begin + size


def _without_repeated(frames: Iterator[bytes]) -> Iterator[bytes]:
    """Leave one of the heartbeats; how many there are is a matter of the clock on the wall."""
    found = list(frames)
    yield from (frame for frame in found if frame != _HEARTBEAT)
    yield from {frame for frame in found if frame == _HEARTBEAT}
