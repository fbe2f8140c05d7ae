"""One end of a TCP connection that sends any bytes, knows what of them was read, and looks at no answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from typing import Self
from urllib.parse import urlsplit

#: Little, so that most of what the other end has not read is known here.
_SEND_BUFFER_BYTES = 16 * 1024
#: Bytes that a line holds for itself each way, whatever it sends: who measures the memory of the process
#: measures that of the other end.
_PIECE_BYTES = 4 * 1024


class Line(asyncio.BufferedProtocol):
    """A connection of a stranger's, or of the broker's; what comes back is counted, or left unread.

    What is written is not copied, and has to stay as it is.
    """

    def __init__(self) -> None:
        self.closed = False
        self.received = 0
        self._incoming = bytearray(_PIECE_BYTES)
        self._waiting: deque[memoryview] = deque()
        self._full = False
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
        if self.closed:
            return 0
        return sum(map(len, self._waiting)) + self._transport.get_write_buffer_size()

    def write(self, data: bytes) -> None:
        """Send the bytes, unless the connection is closed."""
        self._waiting.append(memoryview(data))
        self._send()

    def end(self, *, politely: bool = False) -> None:
        """End the connection: at once, or as one who has nothing more to say."""
        if self.closed:
            return
        if politely and not self.unsent:
            with contextlib.suppress(OSError):  # the other end was quicker
                self._transport.write_eof()
                return
        self._transport.abort()

    def received_bytes(self, data: bytes) -> None:
        """Count what has come."""
        self.received += len(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=0)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._incoming

    def buffer_updated(self, nbytes: int) -> None:
        self.received_bytes(bytes(self._incoming[:nbytes]))

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        # Not at once: a write that fails in here would have asyncio end the connection twice.
        asyncio.get_running_loop().call_soon(self._send)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._waiting.clear()

    def _send(self) -> None:
        while self._waiting and not self._full and not self.closed:
            data = self._waiting.popleft()
            if len(data) > _PIECE_BYTES:
                self._waiting.appendleft(data[_PIECE_BYTES:])
            self._transport.write(data[:_PIECE_BYTES])
