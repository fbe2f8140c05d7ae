"""How much one turn of the event loop takes from one connection, whatever its peer sends."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection
from time import perf_counter
from typing import NamedTuple, cast

from picows import WSMsgType, WSTransport

from brokerpool.transport.frame_runs import FrameRuns

#: What picows reads at once until the handshake is done, in bytes: frames may come with it.
HANDSHAKE_BYTES = 2 * 1024


class Portion(NamedTuple):
    """What one turn of the event loop may take from a connection."""

    #: Bytes that are read at once.
    read_bytes: int
    #: Once so many bytes were read, nothing more is until the next turn; what is held of TLS comes besides.
    turn_bytes: int
    #: Once so many seconds are over, what comes is put aside for the next turn.
    seconds: float


#: What a turn takes from who was dialled: as much as aiofastnet reads, if that is not for long.
DIALLED = Portion(read_bytes=8 * 1024, turn_bytes=256 * 1024, seconds=0.004)


class BoundedReads(asyncio.BufferedProtocol):
    """Stands before picows' protocol, which reads what it wants and parses all of it at once.

    picows doubles its buffer whenever a read fills it, aiofastnet reads on until 256 KiB have come, and tiny
    frames take ten times as long as large ones with as many bytes: a burst of them would be taken in one
    turn, for tenths of a second. To stop reading costs 0.1 ms, so that it is not done after each read.
    """

    # A broker's ticks pass here in pieces of a few kilobytes: with slots a packet of them costs 2 % less.
    __slots__ = (
        "_buffer",
        "_closing",
        "_in_turn",
        "_late_at",
        "_most",
        "_read_bytes",
        "_rest",
        "_room",
        "_seconds",
        "_transport",
        "_turn_bytes",
        "_updated",
        "after",
        "connection_lost",
        "eof_received",
        "heard",
        "held",
        "pause_writing",
        "resume_writing",
    )

    def __init__(
        self,
        transport: WSTransport,
        portion: Portion,
        *,
        rest: Callable[[], None],
        closing: Callable[[int], None],
    ) -> None:
        """`rest` is called when nothing more may be read in this turn, nor before what is `held` was heard.
        `closing` is called after any read once a close frame was sent, by picows too, with its bytes.
        """
        tcp = transport.underlying_transport
        protocol = cast("asyncio.BufferedProtocol", tcp.get_protocol())
        tcp.set_protocol(self)
        self._transport = transport
        self._updated = protocol.buffer_updated
        self._buffer = cast("Callable[[int], memoryview]", protocol.get_buffer)
        self._read_bytes, self._turn_bytes, self._seconds = portion
        self._most = self._read_bytes  # that the next read of this turn may bring
        self._rest = rest
        self._closing = closing
        self._room = 0  # of the buffer that was given last
        self._in_turn = 0  # bytes of this turn
        self._late_at = 0.0
        #: Set by whatever comes.
        self.heard = True
        #: Frames that came when the time was over: kind, whether a message ends with it, payload.
        self.held: deque[tuple[WSMsgType, bool, bytes]] = deque()
        #: Called once when all that came with this read was heard; None for nothing.
        self.after: Callable[[], None] | None = None
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    @property
    def late(self) -> bool:
        """True when the time of this turn is over."""
        return perf_counter() > self._late_at

    def begin(self) -> None:
        """Let the time of a turn begin."""
        self._late_at = perf_counter() + self._seconds

    def with_runs(
        self,
        sizes: Collection[int],
        *,
        free: Callable[[], bool],
        take: Callable[[memoryview, int, int], None],
    ) -> FrameRuns:
        """Have messages of these sizes that are read together taken at once; see FrameRuns."""
        runs = FrameRuns(
            buffer=self._buffer,
            updated=self._updated,
            sizes=sizes,
            read_bytes=self._read_bytes,
            free=free,
            take=take,
        )
        self._buffer, self._updated = runs.get_buffer, runs.buffer_updated
        return runs

    def get_buffer(self, sizehint: int) -> memoryview:
        buffer = self._buffer(sizehint)[: self._most]
        self._room = len(buffer)
        return buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard = True
        full = nbytes == self._room
        if not self._in_turn:
            self.begin()
            if full:  # else nothing more is read in this turn
                asyncio.get_running_loop().call_soon(self._turn_over)
        if full:
            self._in_turn += nbytes
            # Of TLS one more read may be under way when the turn has had its bytes: it gets one.
            self._most = min(self._read_bytes, max(1, self._turn_bytes - self._in_turn))
        self._updated(nbytes)
        if self.after is not None:
            self.over()
        if self._transport.is_close_frame_sent:
            self._closing(nbytes)
        if self.held or (full and (self._in_turn >= self._turn_bytes or self.late)):
            self._rest()

    def over(self) -> None:
        """Tell whoever waits for it that all of this read was heard."""
        after, self.after = self.after, None
        if after is not None:
            after()

    def _turn_over(self) -> None:
        self._in_turn = 0
        self._most = self._read_bytes
