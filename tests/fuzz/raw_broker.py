"""A broker that answers the WebSocket handshake and then sends any bytes, but for its first socket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import struct
from collections.abc import Callable

from brokerpool.transport.frames import BINARY, server_frame
from tests.fuzz.line import Line
from tests.fuzz.watched_loop import turns

_HEARTBEAT = server_frame(b"\x00", BINARY)
_BEAT_SECONDS = 1.0
#: First byte of a close frame.
_CLOSE = 0x88
_PATIENCE = 30.0


class RawBroker:
    """Serves a pool's first socket with heartbeats and ticks, and gives the later ones to an attacker."""

    def __init__(self) -> None:
        self._first: _Socket | None = None
        self._newest: _Socket | None = None
        self._came = asyncio.Event()
        self._beat: asyncio.TimerHandle | None = None
        self._server: asyncio.Server

    async def open(self) -> None:
        """Begin to listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Socket(self._opened), "127.0.0.1", 0)

    async def close(self) -> None:
        """Listen no more, and end the sockets."""
        if self._beat is not None:
            self._beat.cancel()
        self._server.close()
        for socket in (self._first, self._newest):
            if socket is not None:
                socket.end()
        await turns(2)

    @property
    def ws_url(self) -> str:
        """Where to dial."""
        return f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/"

    @property
    def healthy(self) -> bool:
        """False once the pool has lost the socket that behaves well."""
        return self._first is not None and not self._first.closed

    async def tick(self, token: int, price: int) -> None:
        """Send an LTP packet on the socket that behaves well; the price is in the wire's unit."""
        if self._first is not None:
            self._first.write(server_frame(struct.pack(">HHIi", 1, 8, token, price), BINARY))

    async def first(self) -> None:
        """Return once the socket that behaves well is there."""
        async with asyncio.timeout(_PATIENCE):
            while self._first is None:
                await self._next()

    async def hostile(self) -> Line:
        """Return the newest of the other sockets, once there is one that is open."""
        async with asyncio.timeout(_PATIENCE):
            while self._newest is None or self._newest.closed:
                await self._next()
        return self._newest

    async def _next(self) -> None:
        self._came.clear()
        await self._came.wait()

    def _opened(self, socket: _Socket) -> None:
        if self._first is None:
            self._first = socket
            self._send_heartbeat()
        else:
            self._newest = socket
        self._came.set()

    def _send_heartbeat(self) -> None:
        if self._first is not None:
            self._first.write(_HEARTBEAT)
            self._beat = asyncio.get_running_loop().call_later(_BEAT_SECONDS, self._send_heartbeat)


class _Socket(Line):
    """One socket of the pool's."""

    def __init__(self, opened: Callable[[_Socket], None]) -> None:
        super().__init__()
        self._opened = opened
        #: What has come of the handshake; None once it was answered.
        self._head: bytes | None = b""

    def received_bytes(self, data: bytes) -> None:
        super().received_bytes(data)
        if self._head is None:
            if data[0] == _CLOSE:
                self.end()
            return  # whatever the pool asks for
        self._head += data
        if not self._head.endswith(b"\r\n\r\n"):
            return
        self.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept(self._head) + b"\r\n\r\n"
        )
        self._head = None
        self._opened(self)


def accept(head: bytes) -> bytes:
    """Return what proves that the server has understood the handshake with this head (RFC 6455 4.2.2)."""
    name = b"sec-websocket-key:"
    (key,) = (line[len(name) :].strip() for line in head.split(b"\r\n") if line.lower().startswith(name))
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
