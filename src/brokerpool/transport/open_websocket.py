"""One open WebSocket, whichever side dialled: the seam behind which picows can be replaced."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Collection
from typing import cast

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from brokerpool.transport.bounded_reads import DIALLED, BoundedReads, Portion
from brokerpool.transport.frame_runs import FrameRuns
from brokerpool.transport.frames import (
    ABNORMAL,
    BINARY,
    CONTINUATION,
    INVALID_TEXT,
    NO_CODE,
    NORMAL,
    PROTOCOL_ERROR,
    TEXT,
    MessageAssembler,
    ProtocolError,
    read_close,
)
from brokerpool.transport.picows_workarounds import forget_the_end_of, read_on
from brokerpool.untrusted_text import escaped

logger = logging.getLogger("brokerpool.transport")

#: The clock is looked at after so many frames.
_FRAMES_BETWEEN_LOOKS = 64
_BINARY = WSMsgType.BINARY
_TEXT = WSMsgType.TEXT
#: Pings that are answered in one turn; of more the last one is.
PONGS_A_TURN = 16
#: How long a close handshake may take before the TCP connection is dropped.
CLOSE_SECONDS = 2.0

#: What may have been sent behind a message when its sender is told that the link closes.
_UNDER_WAY_BYTES = 32 * 1024
_CLOSE_REASON_BYTES = 123  # RFC 6455 5.5: a control frame carries 125 bytes, two of them the code
_OPCODES = {WSMsgType.TEXT: TEXT, WSMsgType.BINARY: BINARY, WSMsgType.CONTINUATION: CONTINUATION}


class LinkHandler:
    """What the owner of a link is told; every call comes on the event loop and must not block."""

    def opened(self, link: Link) -> None:
        """The handshake is done."""

    def text(self, message: str) -> None:
        """One whole text message."""

    def binary(self, message: bytes | memoryview) -> None:
        """One whole binary message; a memoryview is valid only during the call."""

    def run(self, frames: memoryview, head: int, size: int) -> None:
        """Binary messages of one `size` in their frames, each behind `head` bytes; valid during the call.

        Said only to who asked for it with `Link.take_runs`.
        """

    def control_frame(self, *, answered: bool) -> None:
        """A ping, which was `answered`, or the answer to one of ours: a sign of life and no data."""

    def paused(self) -> None:
        """More than the high-water mark waits to be written; what is sent now waits in memory."""

    def resumed(self) -> None:
        """The peer has read; writing is cheap again."""

    def closed(self, code: int, reason: str) -> None:
        """The link has ended, said exactly once after `opened`; 1006 when the peer sent no close frame."""


class Link(WSListener):
    """One WebSocket connection; the owner hears of it through its LinkHandler."""

    def __init__(self, handler: LinkHandler, max_message_bytes: int, portion: Portion = DIALLED) -> None:
        """`portion` is what one turn of the event loop takes from the peer."""
        self._handler = handler
        self._portion = portion
        self._assembler = MessageAssembler(max_message_bytes)
        self._transport: WSTransport | None = None
        self._closing: tuple[int, str] | None = None
        self._heard: tuple[int, str] | None = None
        self._abort_timer: asyncio.TimerHandle | None = None
        self._abandoned = False
        self._most_while_closing = max_message_bytes + _UNDER_WAY_BYTES
        self._read_since_close = 0
        self._behind = False  # more than the high-water mark waits to be written
        self._resting = False  # nothing is read until the next turn
        self._reads: BoundedReads
        self._runs: FrameRuns | None = None
        # Frames that may be handed over before the clock is looked at; none while the link closes, its owner
        # has paused it, or a message is under way.
        self._straight_on = 0
        self._owed_pong: bytes | None = None
        self._pongs = 0  # sent, or owed, in this turn
        #: True while the owner has the peer not read.
        self.reading_paused = False
        #: Writes finished server frames (see `frames.server_frame`), any number of them, in one go; does
        #: nothing unless the link is open. An attribute, because the fan-out calls it for every client.
        self.send_frames: Callable[[bytes], object] = _discard

    # -- for the owner ------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """True once closing has begun; nothing can be sent any more."""
        transport = self._transport
        # A write that failed has lost the connection, though picows hears of it in a later turn only.
        return (
            transport is None
            or self._closing is not None
            or transport.is_disconnected
            or self._tcp.is_closing()
        )

    @property
    def heard_since_ping(self) -> bool:
        """True when anything has come from the peer since the last ping, if only part of a frame."""
        return self._reads.heard

    @property
    def peer(self) -> str:
        """The other end's address, as in 127.0.0.1:53122."""
        name = self._tcp.get_extra_info("peername") if self._transport else None
        return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unknown"

    @property
    def address(self) -> str:
        """The other end's address without its port, empty when it is not known."""
        return self.peer.rpartition(":")[0]

    @property
    def buffered(self) -> int:
        """Bytes that wait in this process for the peer to read."""
        return self._tcp.get_write_buffer_size() if self._transport else 0

    def send_text(self, message: str | bytes) -> None:
        """Send one text message; does nothing when the link is closed."""
        if self._transport is not None and not self.closed:
            self._transport.send(WSMsgType.TEXT, message)

    def send_binary(self, message: bytes) -> None:
        """Send one binary message; does nothing when the link is closed."""
        if self._transport is not None and not self.closed:
            self._transport.send(WSMsgType.BINARY, message)

    def ping(self) -> None:
        """Send a ping and expect anything in return."""
        if self._transport is not None and not self.closed:
            self._reads.heard = False
            self._transport.send_ping()

    def pause_reading(self) -> None:
        """Leave what the peer sends in the network until `resume_reading`; nothing that it sends is heard."""
        if not self.closed:
            self.reading_paused = True
            self._straight_on = 0
            self._tcp.pause_reading()

    def resume_reading(self) -> None:
        """Read on, from the next turn of the event loop."""
        if self.reading_paused:
            self.reading_paused = False
            self.rest()

    def rest(self) -> None:
        """Read nothing more in this turn of the event loop."""
        if self._resting or self.reading_paused or self._transport is None or self._tcp.is_closing():
            return
        self._resting = True
        self._tcp.pause_reading()
        asyncio.get_running_loop().call_soon(self._rested)

    def after_read(self, callback: Callable[[], None]) -> None:
        """Call this once all messages that were read together have been handed over; another replaces it.

        To be called from `LinkHandler.text` and `binary` only. A link that ends before says so instead.
        """
        self._reads.after = callback

    def take_runs(self, sizes: Collection[int]) -> None:
        """Have binary messages of these sizes that are read together told as `run`; call it in `opened`."""
        self._runs = self._reads.with_runs(sizes, free=self._free_for_runs, take=self._handler.run)

    def limit_buffer(self, high_water_bytes: int) -> None:
        """Set how much may wait before `paused` is called; `resumed` follows at a quarter of it."""
        self._tcp.set_write_buffer_limits(high=high_water_bytes, low=high_water_bytes // 4)

    def limit_socket_buffer(self, size_bytes: int) -> None:
        """Cap what the kernel holds back for a slow peer: it cannot be conflated any more."""
        self._tcp.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Begin the close handshake; the TCP connection is dropped when it takes over two seconds."""
        if self._transport is None or self.closed:
            return
        self._close_with(code, reason)
        self._send_close(code, reason)
        self._drop_after(CLOSE_SECONDS)

    def abort(self) -> None:
        """Drop the TCP connection at once."""
        if self._transport is not None:
            self._transport.disconnect(graceful=False)

    def abandon(self) -> None:
        """Give up a link whose handshake may still be under way: it never reaches its owner."""
        self._abandoned = True
        self.abort()

    # -- called by picows ---------------------------------------------------------------------------------

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._reads = BoundedReads(transport, self._portion, rest=self.rest, closing=self._read_while_closing)
        if self._abandoned:
            self.abort()
            return
        forget_the_end_of(transport)
        self.rest()  # what came with the handshake is enough for this turn
        self.send_frames = transport.underlying_transport.write
        self._handler.opened(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        # The broker's ticks: a million a minute, so that this asks for nothing twice, and copies nothing.
        if self._runs is not None:
            self._runs.clean = not frame.tail_size
        self._straight_on -= 1
        if (
            self._straight_on >= 0
            and frame.msg_type == _BINARY
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            self._handler.binary(frame.get_payload_as_memoryview())
        elif (
            self._straight_on >= 0
            and frame.msg_type == _TEXT
            and frame.fin
            and not (frame.rsv1 or frame.rsv2 or frame.rsv3)
        ):
            try:
                text = frame.get_payload_as_utf8_text()
            except UnicodeDecodeError:
                self._fail(ProtocolError(INVALID_TEXT, "text is not UTF-8"))
                return
            self._handler.text(text)
        elif frame.rsv1 or frame.rsv2 or frame.rsv3:
            if self._closing is None:
                self._fail(ProtocolError(PROTOCOL_ERROR, "reserved bits set without an extension"))
        elif self._reads.held or self.reading_paused or self._reads.late:
            self._straight_on = 0
            self._reads.held.append((frame.msg_type, frame.fin, frame.get_payload_as_bytes()))
        else:
            self._take(frame.msg_type, frame.fin, frame.get_payload_as_bytes())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.send_frames = _discard
        if self._abort_timer is not None:
            self._abort_timer.cancel()
        if not self._abandoned:
            self._handler.closed(*(self._heard or self._closing or (ABNORMAL, "connection lost")))

    def pause_writing(self) -> None:
        self._behind = True
        self._handler.paused()

    def resume_writing(self) -> None:
        self._behind = False
        if self._owed_pong is not None and not self.closed:
            self._answer(self._owed_pong)
        self._handler.resumed()

    # -- inside -------------------------------------------------------------------------------------------

    @property
    def _tcp(self) -> asyncio.Transport:
        return cast("WSTransport", self._transport).underlying_transport

    def _free_for_runs(self) -> bool:
        return self._straight_on > 0 and not self._reads.held and not self._reads.late

    def _read_while_closing(self, nbytes: int) -> None:
        transport = cast("WSTransport", self._transport)
        if self._closing is None:
            # picows has refused a frame, and would go on parsing in the middle of it.
            logger.debug("closing %s: it sent what is no WebSocket frame, or one that is too long", self.peer)
            self._close_with(PROTOCOL_ERROR, "broke the protocol")
            self._drop_after(CLOSE_SECONDS)
            transport.disconnect()
            return
        self._read_since_close += nbytes
        if self._read_since_close > self._most_while_closing:
            self.abort()

    def _rested(self) -> None:
        self._resting = False
        if self.reading_paused or cast("WSTransport", self._transport).is_disconnected:
            return
        self._reads.begin()
        held = self._reads.held
        while held and not self._tcp.is_closing():
            self._take(*held.popleft())
            if self.reading_paused:
                self._reads.over()
                return
            if self._reads.late:
                break
        self._reads.over()
        if held:
            self._straight_on = 0
            self.rest()
        elif not self._resting:
            read_on(self._tcp)

    def _answer(self, ping: bytes) -> None:
        # RFC 6455 5.5.3 allows to answer the last of several pings only; who reads no answers is owed one.
        if not self._pongs:
            asyncio.get_running_loop().call_soon(self._turn_over)
        self._pongs += 1
        late = self._behind or self._pongs > PONGS_A_TURN
        self._owed_pong = ping if late else None
        if not late and not self.closed:
            cast("WSTransport", self._transport).send_pong(ping)

    def _turn_over(self) -> None:
        self._pongs = 0
        if self._owed_pong is not None and not self._behind and not self.closed:
            self._answer(self._owed_pong)

    def _take(self, kind: WSMsgType, fin: bool, payload: bytes) -> None:
        if kind == WSMsgType.CLOSE:
            self._take_close(payload)
        elif self._closing is not None:
            return
        elif kind in _OPCODES:
            self._take_data(_OPCODES[kind], fin, payload)
        else:
            if kind == WSMsgType.PING:
                self._answer(payload)
            self._handler.control_frame(answered=kind == WSMsgType.PING)

    def _take_data(self, opcode: int, fin: bool, payload: bytes) -> None:
        try:
            message = self._assembler.feed(opcode, fin, payload)
        except ProtocolError as violation:
            self._fail(violation)
            return
        self._straight_on = _FRAMES_BETWEEN_LOOKS if message is not None else 0
        if isinstance(message, str):
            self._handler.text(message)
        elif message is not None:
            self._handler.binary(message)

    def _take_close(self, payload: bytes) -> None:
        try:
            code, reason = read_close(payload)
        except ProtocolError as violation:
            self._fail(violation)
            return
        self._heard = (code, escaped(reason))
        if self._closing is None:
            self._close_with(*self._heard)
            self._send_close(NORMAL if code == NO_CODE else code, "")
        self._drop_after(CLOSE_SECONDS)
        cast("WSTransport", self._transport).disconnect()

    def _fail(self, violation: ProtocolError) -> None:
        logger.debug("closing %s with %d: %s", self.peer, violation.code, violation.reason)
        self._close_with(violation.code, violation.reason)
        self._send_close(violation.code, violation.reason)
        self._drop_after(CLOSE_SECONDS)
        cast("WSTransport", self._transport).disconnect()

    def _close_with(self, code: int, reason: str) -> None:
        self._closing = (code, reason)
        self._straight_on = 0

    def _send_close(self, code: int, reason: str) -> None:
        self.send_frames = _discard  # RFC 6455 5.5.1: nothing may follow a close frame
        self.resume_reading()  # for the peer's own close frame
        text = reason.encode()[:_CLOSE_REASON_BYTES].decode("utf-8", "ignore")
        cast("WSTransport", self._transport).send_close(cast("WSCloseCode", code), text)

    def _drop_after(self, seconds: float) -> None:
        if self._abort_timer is None:
            self._abort_timer = asyncio.get_running_loop().call_later(seconds, self.abort)


def _discard(frames: bytes) -> None:
    pass
