"""How much one turn of the event loop reads from one connection, whatever its peer sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from picows import WSTransport

#: A read that took longer is followed by a smaller one, and one that took less than half of it by a larger.
SLOW_SECONDS = 0.004
LEAST_BYTES = 4 * 1024


class BoundedReads(asyncio.BufferedProtocol):
    """Stands before picows' protocol, and reads a little at a time, once in each turn of the loop.

    How much, between 4 KiB and `most`, is learned from how long the last took: tiny frames take ten times as
    long as large ones with as many bytes.

    picows doubles its buffer whenever a read fills it, and aiofastnet reads on until 256 KiB have come: a
    burst of tiny frames would be taken in one turn, for tenths of a second.
    """

    def __init__(
        self,
        transport: WSTransport,
        most: int,
        *,
        more: Callable[[], None],
        closing: Callable[[int], None],
    ) -> None:
        """`more` is called after a read that brought as much as it could; `closing` after any once a close
        frame was sent, by picows too, with the bytes that were read.
        """
        tcp = transport.underlying_transport
        protocol = cast("asyncio.BufferedProtocol", tcp.get_protocol())
        tcp.set_protocol(self)
        self._transport = transport
        self._updated = protocol.buffer_updated
        self._buffer = protocol.get_buffer
        self._most = most
        self._size = min(most, 4 * LEAST_BYTES)
        self._offered = 0
        self._more = more
        self._closing = closing
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        buffer = memoryview(self._buffer(sizehint))[: self._size]
        self._offered = len(buffer)
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        began = perf_counter()
        self._updated(nbytes)
        if self._transport.is_close_frame_sent:
            self._closing(nbytes)
        elif nbytes == self._offered:
            self._learn(perf_counter() - began)
            self._more()

    def _learn(self, seconds: float) -> None:
        if seconds > SLOW_SECONDS:
            self._size = max(LEAST_BYTES, self._size // 2)
        elif seconds < SLOW_SECONDS / 2:
            self._size = min(self._most, self._size * 2)


def read_on(tcp: asyncio.Transport) -> None:
    """Read from a paused transport again; not to be called while it reads.

    After a pause aiofastnet 1.2 reads the socket before it has read what it holds of a TLS stream: that waits
    until more comes, and fails when its buffer is full.
    """
    tcp.resume_reading()
    if (read_held := getattr(tcp, "_retry_ssl_read", None)) is not None:
        read_held()


def forget_the_end_of(transport: WSTransport) -> None:
    """See to it that why a dialled connection ended is no exception that nobody has retrieved.

    picows keeps it for whoever awaits the end. Here the handler is told, and nobody does.
    """
    waiting = transport.wait_disconnected()
    ended: asyncio.Future[None] = waiting.send(None)
    ended.add_done_callback(lambda future: future.cancelled() or future.exception())
    waiting.close()


class PicowsLog(logging.LoggerAdapter[logging.Logger]):
    """Writes what picows logs, except that a peer broke the protocol, which it would call an error."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:  # noqa: ANN401
        if not str(msg).startswith("WS parser error"):
            super().log(level, msg, *args, **kwargs)
