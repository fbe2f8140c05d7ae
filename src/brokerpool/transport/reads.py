"""How much one turn of the event loop reads from one connection, whatever its peer sends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast

from picows import WSTransport

#: What is read is handed to picows in pieces of so many bytes: of the smallest frames 1,024.
PIECE_BYTES = 2 * 1024
#: After so many seconds the pieces that are left wait for the next turn.
ENOUGH_SECONDS = 0.002


class BoundedReads(asyncio.BufferedProtocol):
    """Stands before picows' protocol: one read in a turn, and of it as much is parsed as there is time for.

    picows parses whatever it is given at once, and tiny frames take ten times as long as large ones with as
    many bytes. It doubles its buffer whenever a read fills it, and aiofastnet reads on until 256 KiB have
    come: a burst of tiny frames would be taken in one turn, for tenths of a second.
    """

    def __init__(
        self,
        transport: WSTransport,
        most: int,
        *,
        more: Callable[[], None],
        closing: Callable[[int], None],
    ) -> None:
        """`most` bytes are read at once. `more` is called when that is not all, or was not all handed on:
        nothing may be read before `go_on` has returned. `closing` is called after any piece once a close
        frame was sent, by picows too, with its bytes.
        """
        self._tcp = tcp = transport.underlying_transport
        protocol = cast("asyncio.BufferedProtocol", tcp.get_protocol())
        tcp.set_protocol(self)
        self._transport = transport
        self._updated = protocol.buffer_updated
        self._buffer = cast("Callable[[int], memoryview]", protocol.get_buffer)
        self._read = memoryview(bytearray(most))
        #: What was read and not handed on yet.
        self._held = self._read[:0]
        self._more = more
        self._closing = closing
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read

    def buffer_updated(self, nbytes: int) -> None:
        self._held = self._read[:nbytes]
        self._hand_on()
        if self._held or nbytes == len(self._read):
            self._more()

    def go_on(self) -> bool:
        """Hand on what is left of the last read; return whether that was all, else `more` was called."""
        self._hand_on()
        if self._held:
            self._more()
        return not self._held

    def _hand_on(self) -> None:
        until = perf_counter() + ENOUGH_SECONDS
        while self._held and not self._tcp.is_closing():
            buffer = self._buffer(PIECE_BYTES)
            nbytes = min(len(buffer), len(self._held), PIECE_BYTES)
            buffer[:nbytes] = self._held[:nbytes]
            self._held = self._held[nbytes:]
            self._updated(nbytes)
            if self._transport.is_close_frame_sent:
                self._closing(nbytes)
            if perf_counter() > until:
                break


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
