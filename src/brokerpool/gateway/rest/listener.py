"""uvicorn as a part of the gateway's process: a socket of ours, no signals, an end in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.rest.admission import CONNECTION
from brokerpool.gateway.rest.http_connection import Connection
from brokerpool.transport.listening import (
    ACCEPTED_A_TURN,
    ListeningSocket,
    accept_no_more,
    lengthen_backlog,
    listen_on,
)

_STOP_SECONDS = 3.0

#: OpenAlgo's SDK keeps idle connections for 120 s. Whoever ends them must be the client: a request that
#: meets the server's end of a connection is an error for the strategy.
_KEEP_ALIVE_SECONDS = 125

#: A client that reads nothing of its answer for so long is cut off by the kernel: uvicorn would keep it.
_UNREAD_MS = 30_000


class _Uvicorn(uvicorn.Server):
    """uvicorn in a process that handles its signals itself, and takes connections in as the others do."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        lengthen_backlog(sockets or ())

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Http(H11Protocol):
    """uvicorn's HTTP, which answers what is no HTTP once and only where nothing else is being answered.

    Beside another answer it would raise, within that answer too, with a traceback for each such client.
    """

    def send_400_response(self, msg: str) -> None:
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        elif self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
            return
        self.transport.abort()


class RestServer:
    """The running HTTP listener."""

    def __init__(
        self,
        sockets: list[ListeningSocket],
        app: ASGIApp,
        slots: ConnectionSlots[Connection],
        tls: ssl.SSLContext | None,
    ) -> None:
        self.port = int(sockets[0].getsockname()[1])
        self._sockets = sockets
        self._slots = slots
        self._tls = tls
        config = uvicorn.Config(
            app,
            http=self._connection,  # type: ignore[arg-type]  # uvicorn only calls it
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            server_header=False,
            # Who is believed about a client's address is decided by `RequestOrigin`, for both listeners.
            proxy_headers=False,
            backlog=ACCEPTED_A_TURN,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=1,
        )
        self._server = _Uvicorn(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[*sockets]), name="brokerpool http")

    async def close(self) -> None:
        """Stop listening; requests under way have a second to finish."""
        await accept_no_more(self._sockets)
        self._server.should_exit = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._task, _STOP_SECONDS)
        # uvicorn does not, where it was to end before it had begun, or was given up.
        for server in self._server.servers:
            server.close()
        for sock in self._sockets:
            sock.close()
        for connection in self._slots:
            connection.abort()

    def _connection(self, *, app_state: dict[str, Any], **server: Any) -> Connection:  # noqa: ANN401  (uvicorn's)
        connection = Connection(self._slots, self._tls)
        # uvicorn's own types are those of a class, whose constructor is not declared.
        inside: Any = _Http
        connection.inside = inside(app_state={**app_state, CONNECTION: connection}, **server)
        return connection


async def serve_rest(
    host: str,
    port: int,
    app: ASGIApp,
    *,
    slots: ConnectionSlots[Connection],
    tls: ssl.SSLContext | None = None,
    shared: bool = False,
) -> RestServer:
    """Listen for HTTP, as `listen_on` does. Raises OSError when the address is taken.

    `app` has an `Admission` with the same slots; of connections, those that wait give way to new ones. With
    `tls` it is HTTPS.
    """
    sockets = await listen_on(host, port, shared=shared)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; inherited by what is accepted
        for sock in sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
    return RestServer(sockets, app, slots, tls)
