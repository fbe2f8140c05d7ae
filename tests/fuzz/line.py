"""One end of a TCP connection that sends any bytes, knows what of them was read, and looks at no answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Self
from urllib.parse import urlsplit

#: Little, so that most of what the other end has not read is known here.
_SEND_BUFFER_BYTES = 16 * 1024


class Line(asyncio.Protocol):
    """A connection of a stranger's, or of the broker's; what comes back is counted, or left unread."""

    def __init__(self) -> None:
        self.closed = False
        self.received = 0
        self._transport: asyncio.Transport

    @classmethod
    async def open(cls, url: str, *, reads: bool = True) -> Self:
        """Connect to the listener that the URL names."""
        at = urlsplit(url)
        loop = asyncio.get_running_loop()
        transport, line = await loop.create_connection(cls, at.hostname or "", at.port or 0)
        if not reads:
            transport.pause_reading()
        return line

    @property
    def unsent(self) -> int:
        """Bytes that the other end has not read, and the system does not keep for it."""
        return 0 if self.closed else self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send the bytes, unless the connection is closed."""
        if not self.closed:
            self._transport.write(data)

    def end(self, *, politely: bool = False) -> None:
        """End the connection: at once, or as one who has nothing more to say."""
        if self.closed:
            return
        if politely and not self.unsent:
            with contextlib.suppress(OSError):  # the other end was quicker
                self._transport.write_eof()
                return
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        self.received += len(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
