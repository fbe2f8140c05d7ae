"""One connection through the fault proxy: two sockets, and a flow of bytes each way between them."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from asyncio.trsock import TransportSocket
from collections.abc import Callable
from random import Random

from brokerpool.simulator.fault_proxy.flow import End, Flow
from brokerpool.simulator.fault_proxy.toxics import Toxic

#: Pieces that leave in one turn of the loop; a slicer must not hold up everybody else.
_PIECES_PER_TURN = 256

#: Linger on, for no time at all: closing such a socket sends a reset instead of a goodbye.
_NO_LINGER = struct.pack("ii", 1, 0)


def close_with_reset(sock: socket.socket | TransportSocket) -> None:
    """Make the close of a socket, whenever it comes, a TCP reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)


class Side(asyncio.Protocol):
    """One socket of the connection, towards the client or towards the server."""

    def __init__(self, made: Callable[[], None], lost: Callable[[Side], None]) -> None:
        self._made = made
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._blocked = False
        #: What comes in here, and what goes out here.
        self.source_of: Way
        self.sink_of: Way

    @property
    def made(self) -> bool:
        """Whether this side was ever there."""
        return self._transport is not None or self._ended

    @property
    def open(self) -> bool:
        """Whether bytes may still be written here."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def blocked(self) -> bool:
        """Whether the other end does not read."""
        return self._blocked and self.open

    def read(self, wanted: bool) -> None:
        """Read on, or let the sender wait."""
        # A transport that is told to read again after the end of its stream would see the end twice.
        if self._transport is not None and not self._ended:
            (self._transport.resume_reading if wanted else self._transport.pause_reading)()

    def write(self, data: memoryview) -> int:
        """Send bytes and return how many; there is nobody to send them to when the socket is gone."""
        if self._transport is None or not self.open:
            return 0
        self._transport.write(data)
        return len(data)

    def finish(self) -> None:
        """Tell the other end that nothing more comes, and go on reading."""
        if self._transport is not None and self.open:
            with contextlib.suppress(OSError):  # it was reset, which is told in the next turn
                self._transport.write_eof()

    def close(self) -> None:
        """Close in order once everything written has left."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Close with a TCP reset, now."""
        if self._transport is not None:
            close_with_reset(self._transport.get_extra_info("socket"))
            self._transport.abort()

    # -- called by the transport --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; nothing is read before the connection wants it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.pause_reading()
        self._made()

    def data_received(self, data: bytes) -> None:
        """Pass bytes on."""
        self.source_of.feed(data)

    def eof_received(self) -> bool:
        """Pass the end on, and stay open for what comes the other way."""
        self._ended = True
        self.source_of.end(End.FINISHED)
        return True

    def pause_writing(self) -> None:
        """Hear that the other end does not read."""
        self._blocked = True

    def resume_writing(self) -> None:
        """Hear that the other end reads again."""
        self._blocked = False
        self.sink_of.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """Hear that the socket is gone."""
        self._ended = True
        self._transport = None
        self._lost(self)


class Way:
    """One direction of the connection: moves bytes from a source to a sink when its flow says so."""

    def __init__(self, source: Side, sink: Side, random: Random, ended: Callable[[Way, End], None]) -> None:
        self._source = source
        self._sink = sink
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._flow = Flow(random)
        self._timer: asyncio.TimerHandle | None = None
        self._moving = False
        #: Bytes that have left towards the sink.
        self.passed = 0
        source.source_of = self
        sink.sink_of = self

    def infect(self, name: str, toxic: Toxic) -> None:
        """Let a toxic take effect, also on what is on its way."""
        self._flow.infect(name, toxic, self._loop.time())
        self.pump()

    def cure(self, name: str) -> None:
        """Take a toxic away."""
        self._flow.cure(name, self._loop.time())
        self.pump()

    def feed(self, data: bytes) -> None:
        """Take what the source has sent."""
        self._flow.feed(data, self._loop.time())
        self.pump()

    def end(self, how: End) -> None:
        """Hear that the source has ended."""
        self._flow.end(how, self._loop.time())
        self.pump()

    def start(self) -> None:
        """Move bytes from now on: both sides are there."""
        self._moving = True
        self.pump()

    def stop(self) -> None:
        """Move nothing any more."""
        self._moving = False
        self._sleep(math.inf)

    def pump(self) -> None:
        """Move what is due, and come back when more is."""
        if not self._moving:
            return
        now = self._loop.time()
        verdict = self._flow.verdict(now)
        if verdict is not None:
            self._ended(self, verdict)
            return
        for _ in range(_PIECES_PER_TURN):
            item = None if self._sink.blocked else self._flow.leave(now)
            if item is None:
                break
            if isinstance(item, End):
                self._ended(self, item)
                # A finished stream may be followed by a reset; nothing follows the other ends.
                if not self._moving:
                    return
            else:
                self.passed += self._sink.write(item)
        self._source.read(not self._flow.full)
        due = math.inf if self._sink.blocked else self._flow.next_at()
        self._sleep(min(due, self._flow.deadline()))

    def _sleep(self, until: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(until, self.pump) if until < math.inf else None


class ProxiedConnection:
    """A client's connection and the one to the server that belongs to it, until both are gone."""

    def __init__(self, random: Random, gone: Callable[[ProxiedConnection], None]) -> None:
        self._gone = gone
        self._sides = 0
        self._over = False
        self._finished: set[Way] = set()
        self.client = Side(self._client_made, self._lost)
        self.server = Side(self._server_made, self._lost)
        self.upstream = Way(self.client, self.server, random, self._ended)
        self.downstream = Way(self.server, self.client, random, self._ended)
        #: What brings both sides together, once it has begun.
        self.dial: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """End both sockets with a TCP reset."""
        self._end()
        self.client.reset()
        self.server.reset()

    def way(self, toxic: Toxic) -> Way:
        """Return the direction that a toxic spoils."""
        return self.upstream if toxic.stream == "upstream" else self.downstream

    def _end(self) -> None:
        self._over = True
        if self.dial is not None:
            self.dial.cancel()
        self.upstream.stop()
        self.downstream.stop()

    def _client_made(self) -> None:
        self._sides += 1

    def _server_made(self) -> None:
        self._sides += 1
        if self._over:
            self.server.reset()
        else:
            self.upstream.start()
            self.downstream.start()

    def _ended(self, way: Way, end: End) -> None:
        if end is End.FINISHED:
            (self.server if way is self.upstream else self.client).finish()
            self._finished.add(way)
        if end is End.RESET:
            self.reset()
        elif end is End.CLOSED or len(self._finished) == 2:
            self._end()
            self.client.close()
            self.server.close()

    def _lost(self, side: Side) -> None:
        self._sides -= 1
        if self._sides == 0:
            self._end()
            self._gone(self)
        elif not self._over:
            # It was not closed here, so its other end has reset it; that travels like everything else.
            side.source_of.end(End.RESET)
