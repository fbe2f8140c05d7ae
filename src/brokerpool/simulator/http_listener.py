"""An HTTP application on a port of its own, its connections counted, and connections broken on command."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from brokerpool.simulator.fault_proxy.connection import close_with_reset
from brokerpool.simulator.fault_switches import BreakHttp
from brokerpool.transport.listening import (
    ACCEPTED_A_TURN,
    ListeningSocket,
    accept_no_more,
    lengthen_backlog,
    listen_on,
)

# A request that names 1,000 instruments has a far longer first line than aiohttp's 8 KiB.
_MAX_LINE_BYTES = 128 * 1024
_SHUTDOWN_SECONDS = 1.0
_BACKLOG = 1024

#: What a reset in the middle lets through at most, so that it fits into the kernel's buffers and arrives.
MOST_BYTES_BEFORE_RESET = 64 * 1024
#: A client that waits longer than this for an answer that never comes is cut off.
NO_ANSWER_SECONDS = 600.0


@dataclass(slots=True)
class ConnectionCount:
    """TCP connections since the start, those that were reset at once included."""

    accepted: int = 0
    open: int = 0
    peak: int = 0

    def opened(self) -> None:
        """Note a new connection."""
        self.accepted += 1
        self.open += 1
        self.peak = max(self.peak, self.open)


class HttpListener:
    """An aiohttp application that listens; `resets_unread` is asked before a connection is read."""

    def __init__(self, app: web.Application, resets_unread: Callable[[], bool] = lambda: False) -> None:
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS, max_line_size=_MAX_LINE_BYTES
        )
        self._resets_unread = resets_unread
        self._sockets: list[ListeningSocket] = []
        self._servers: list[asyncio.Server] = []
        self.connections = ConnectionCount()
        self.port = 0

    async def open(self, host: str, port: int) -> None:
        """Begin to listen, as `listen_on` does. Raises OSError when the address is taken."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        for sock in await listen_on(host, port, backlog=_BACKLOG):
            self._sockets.append(sock)
            self._servers.append(
                await loop.create_server(self._connection, sock=sock, backlog=ACCEPTED_A_TURN)
            )
            lengthen_backlog([sock], _BACKLOG)
        self.port = self._sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening, and close what was accepted; requests under way get a second to end."""
        await accept_no_more(self._sockets)
        for server in self._servers:
            server.close()
        await self._runner.cleanup()

    def _connection(self) -> HttpConnection:
        # aiohttp's server is, as documented, a factory of protocols for the loop's listeners.
        server = self._runner.server
        assert server is not None
        return HttpConnection(server(), self.connections, self._resets_unread)


class HttpConnection(asyncio.Protocol):
    """One connection on its way to aiohttp: counted, and reset on command before anything is read."""

    def __init__(
        self, inside: asyncio.Protocol, connections: ConnectionCount, resets_unread: Callable[[], bool]
    ) -> None:
        self._inside = inside
        self._connections = connections
        self._resets_unread = resets_unread
        self._transport: asyncio.Transport | None = None
        self._entered = False
        #: Set once the connection is gone.
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.opened()
        if self._resets_unread():
            reset(transport)
            return
        self._entered = True
        self._inside.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._resets_unread():
            reset(self._transport)
            return
        self._inside.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inside.eof_received()

    def pause_writing(self) -> None:
        self._inside.pause_writing()

    def resume_writing(self) -> None:
        self._inside.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._connections.open -= 1
        self.lost.set()
        if self._entered:
            self._inside.connection_lost(error)


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a TCP reset, now; what was written and has not left is lost."""
    close_with_reset(transport.get_extra_info("socket"))
    transport.abort()


async def break_off(kind: BreakHttp, request: web.Request, answer: web.Response) -> web.StreamResponse:
    """Break the connection as ordered, once the request was carried out.

    What is returned goes to aiohttp, which finds the connection closed and sends nothing more.
    """
    transport = request.transport
    if transport is None:
        return answer
    match kind.kind:
        case "reset-mid-body":
            return await _reset_mid_body(request, transport, answer)
        case "close-after-read":
            transport.close()
        case "no-answer":
            connection = transport.get_protocol()
            assert isinstance(connection, HttpConnection)
            try:
                async with asyncio.timeout(NO_ANSWER_SECONDS):
                    await connection.lost.wait()
            except TimeoutError:
                reset(transport)
        case _:
            reset(transport)
    return answer


async def _reset_mid_body(
    request: web.Request, transport: asyncio.Transport, answer: web.Response
) -> web.StreamResponse:
    body = answer.body
    assert isinstance(body, bytes)
    begun = web.StreamResponse(status=answer.status, headers=answer.headers)
    begun.content_length = len(body)
    await begun.prepare(request)
    await begun.write(body[: min(len(body) // 2, MOST_BYTES_BEFORE_RESET)])
    reset(transport)
    return begun
