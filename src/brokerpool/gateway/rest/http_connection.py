"""One connection of the HTTP listener: its TLS, its place, and the time that its peer has for each step."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.h11_impl import H11Protocol

from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.lockout import network

logger = logging.getLogger("brokerpool.gateway")

#: Seconds for the TLS handshake, for a request up to the end of its head, for its body, and for reading what
#: is buffered of an answer (48 KiB). Between two requests a connection may rest; that has a limit of its own.
HANDSHAKE_SECONDS = 10.0
HEAD_SECONDS = 15.0
BODY_SECONDS = 30.0
READ_SECONDS = 60.0

#: What is parsed in one turn of the event loop: of a body in pieces of one byte, a KiB takes a millisecond.
TURN_BYTES = 1024

_TLS_SHUTDOWN_SECONDS = 1.0


class Connection(asyncio.Protocol):
    """Stands between a connection and the HTTP server inside, which has no limits of this kind."""

    def __init__(self, slots: ConnectionSlots[Connection], tls: ssl.SSLContext | None) -> None:
        self._slots = slots
        self._tls = tls
        self._transport: asyncio.Transport
        self._handshake: asyncio.Task[None] | None = None
        #: What came between the end of the handshake and our hearing of it; None once the server reads.
        self._early: list[bytes] | None = []
        #: What was read and is handed over in the turns that follow.
        self._held = bytearray()
        self._turn: asyncio.Handle | None = None
        self._pausing = False
        self._limit: asyncio.TimerHandle | None = None
        self._requests = 0  # being answered; more than one for a moment between two
        self._resting = False
        self._body_until: float | None = None  # while a part of a body is waited for
        #: True while the peer does not read what it is sent.
        self._unread = False
        #: The HTTP server's end of the connection.
        self.inside: H11Protocol

    # -- the transport's side ----------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        leaves = self._slots.enter(self, network(peer[0]) if peer else "")
        if leaves is not None:
            leaves.abort()
        self._within(HEAD_SECONDS)
        if self._tls is None:
            self._enter(transport)
        else:
            transport.pause_reading()
            self._handshake = asyncio.create_task(self._shake_hands(self._tls), name="brokerpool tls")

    def data_received(self, data: bytes) -> None:
        if self._early is not None:
            self._early.append(data)
            return
        if self._resting:
            self._resting = False
            self._within(HEAD_SECONDS)
        self._held += data
        if self._turn is None:
            self._hand_over()

    def eof_received(self) -> None:
        if self._early is None:
            self.inside.eof_received()

    def pause_writing(self) -> None:
        self.inside.pause_writing()
        self._unread = True
        self._wait(READ_SECONDS)

    def resume_writing(self) -> None:
        self.inside.resume_writing()
        self._unread = False
        self._go_on()

    def connection_lost(self, error: Exception | None) -> None:
        self._slots.leave(self)
        self._unlimited()
        if self._turn is not None:
            self._turn.cancel()
        if self._early is None:
            self.inside.connection_lost(error)
        self._forget()

    # -- the server's side, which reads through this -----------------------------------------------------

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        # With something left of the last read, what is held would grow with each request that is answered.
        if not self._held:
            self._transport.resume_reading()

    # -- the application's side --------------------------------------------------------------------------

    @contextmanager
    def request(self) -> Iterator[None]:
        """Answer a request inside the block: it is the gateway's turn."""
        self._requests += 1
        self._resting = False
        self._go_on()
        try:
            yield
        finally:
            self._requests -= 1
            self._resting = not self._requests
            self._go_on()

    @contextmanager
    def reading(self, until: float) -> Iterator[None]:
        """Wait for a part of the body inside the block; at the loop's time `until` the peer is cut off."""
        self._body_until = until
        self._go_on()
        try:
            yield
        finally:
            self._body_until = None
            self._go_on()

    def abort(self) -> None:
        """End the connection now."""
        self._slots.leave(self)
        self._unlimited()
        self._transport.abort()

    # -- inside ------------------------------------------------------------------------------------------

    async def _shake_hands(self, tls: ssl.SSLContext) -> None:
        try:
            transport = await asyncio.get_running_loop().start_tls(
                self._transport,
                self,
                tls,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=_TLS_SHUTDOWN_SECONDS,
            )
        except (OSError, TimeoutError) as error:
            # One that speaks no TLS, trusts another authority or is slow: no line for each in the log.
            logger.debug("a client did not finish its TLS handshake: %s", error)
            # Its frames and buffers, a third of a megabyte, would otherwise stay until the garbage collector.
            error.__traceback__ = None
            self.abort()
            self._forget()
            return
        finally:
            self._handshake = None
        # Of a peer that went away just then asyncio says nothing more; only the plain transport knows it.
        if transport is None or self._transport.is_closing():
            self.abort()
            return
        self._transport = transport
        self._enter(transport)

    def _enter(self, transport: asyncio.Transport) -> None:
        early, self._early = self._early, None
        self.inside.connection_made(transport)
        self.inside.flow = FlowControl(self)  # type: ignore[arg-type]  # it pauses and resumes, no more
        for data in early or ():
            self.data_received(data)

    def _hand_over(self) -> None:
        """Give the server what was read, a part in each turn of the loop; nothing more is read meanwhile."""
        self._turn = None
        if self._transport.is_closing():
            return
        part = bytes(self._held[:TURN_BYTES])
        del self._held[:TURN_BYTES]
        if self._held:
            self._turn = asyncio.get_running_loop().call_soon(self._hand_over)
        self.inside.data_received(part)
        if self._held:
            self._transport.pause_reading()
            self._pausing = True
        elif self._pausing:
            self._pausing = False
            if not self.inside.flow.read_paused:  # the server has reasons of its own
                self._transport.resume_reading()

    def _forget(self) -> None:
        """Let the server's end go, which knows this one too; called when neither hears anything any more."""
        if hasattr(self, "inside"):
            del self.inside

    def _wait(self, seconds: float) -> None:
        self._slots.wait(self)
        self._within(seconds)

    def _go_on(self) -> None:
        if self._unread:
            return  # whatever else there is to do, first the peer reads
        self._unlimited()
        if self._body_until is not None:
            self._wait(self._body_until - asyncio.get_running_loop().time())
        elif self._requests:
            self._slots.answer(self)
        else:
            self._slots.wait(self)

    def _within(self, seconds: float) -> None:
        self._unlimited()
        self._limit = asyncio.get_running_loop().call_later(seconds, self.abort)

    def _unlimited(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
