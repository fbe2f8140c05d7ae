"""Listening: accepts WebSockets, pings them, and closes all of them in bounded time."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from multidict import CIMultiDict
from picows import (
    WSListener,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from brokerpool.transport.bounded_reads import HANDSHAKE_BYTES, Portion
from brokerpool.transport.frames import GOING_AWAY, INTERNAL_ERROR
from brokerpool.transport.listening import (
    ACCEPTED_A_TURN,
    ListeningSocket,
    accept_no_more,
    cut_off,
    lengthen_backlog,
    listen_on,
)
from brokerpool.transport.open_websocket import CLOSE_SECONDS, Link, LinkHandler
from brokerpool.transport.picows_workarounds import picows_logger

_BACKLOG = 1024

#: What the kernel may hold of what a client sends, and so what one turn of the event loop can be handed.
RECEIVE_BUFFER_BYTES = 16 * 1024
#: What a turn takes from one client: 680 frames, if they are as small as can be.
_ACCEPTED = Portion(read_bytes=4 * 1024, turn_bytes=4 * 1024, seconds=0.002)
#: aiofastnet's buffers for each connection with TLS, in bytes: by itself it takes half a megabyte.
_TLS: Mapping[str, Any] = {"ssl_incoming_bio_size": 32 * 1024, "ssl_outgoing_bio_size": 32 * 1024}

_NO_HEADERS: Mapping[str, str] = {}


class UpgradeRequest(NamedTuple):
    """What a client asked for when it opened the connection."""

    path: str
    query: dict[str, str]
    headers: Mapping[str, str]


class Refusal(NamedTuple):
    """An HTTP answer instead of a WebSocket."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = _NO_HEADERS


class LinkServer:
    """A listening WebSocket server and the links that it accepted."""

    def __init__(
        self,
        accept: Callable[[UpgradeRequest], LinkHandler | Refusal],
        max_message_bytes: int,
        ping_interval: float,
        ping_timeout: float,
    ) -> None:
        self._accept = accept
        self._max_message_bytes = max_message_bytes
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._links: set[Link] = set()
        self._empty = asyncio.Event()
        self._sweep: asyncio.TimerHandle | None = None
        #: One for each address of the host.
        self._servers: list[asyncio.Server] = []
        self._sockets: list[ListeningSocket] = []

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._servers[0].sockets[0].getsockname()[1])

    @property
    def links(self) -> int:
        """How many links are open."""
        return len(self._links)

    async def listen(
        self,
        host: str,
        port: int,
        handshake_timeout: float,
        tls: ssl.SSLContext | None,
        *,
        shared: bool,
    ) -> None:
        """Begin to accept; port 0 takes any free one. Raises OSError when the address is taken."""
        for sock in await listen_on(host, port, backlog=_BACKLOG, shared=shared):
            self._sockets.append(sock)
            # Before anybody connects: accepted sockets have it too, and announce no wider window.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            server = await ws_create_server(
                self._upgrade,
                sock=sock,
                websocket_handshake_timeout=handshake_timeout,
                max_frame_size=self._max_message_bytes,
                read_buffer_init_size=HANDSHAKE_BYTES,
                enable_auto_pong=False,  # the link answers, and does not write to a peer that does not read
                logger_name=picows_logger,
                backlog=ACCEPTED_A_TURN,
                **({} if tls is None else {**_TLS, "ssl": tls, "ssl_handshake_timeout": handshake_timeout}),
            )
            lengthen_backlog([sock], _BACKLOG)
            self._servers.append(server)
        self._schedule_pings()

    async def close(self, code: int = GOING_AWAY, reason: str = "") -> None:
        """Stop accepting, close every link with the code and wait until all are gone; takes at most 3 s."""
        if not self._servers:
            return
        if self._sweep is not None:
            self._sweep.cancel()
        await accept_no_more(self._sockets)
        for server in self._servers:
            server.close()
        for link in list(self._links):
            link.close(code, reason)
        if self._links:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), CLOSE_SECONDS + 1.0)
        await cut_off(self._sockets)  # who has not finished the handshake

    def joined(self, link: Link) -> None:
        """Count a link whose handshake is done."""
        self._links.add(link)
        self._empty.clear()

    def left(self, link: Link) -> None:
        """Forget a link that has ended."""
        self._links.discard(link)
        if not self._links:
            self._empty.set()

    def _upgrade(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        # picows wants the bare word; Firefox and reverse proxies send "keep-alive, Upgrade".
        if "upgrade" in request.headers.get("Connection", "").lower().replace(" ", "").split(","):
            request.headers["Connection"] = "upgrade"
        url = urlsplit(request.path.decode("latin-1"))
        answer = self._accept(UpgradeRequest(url.path, dict(parse_qsl(url.query)), request.headers))
        if isinstance(answer, Refusal):
            response = WSUpgradeResponse()
            response.version = b"HTTP/1.1"
            response.status = HTTPStatus(answer.status)
            response.headers = CIMultiDict(answer.headers)
            response.body = answer.body
            return WSUpgradeResponseWithListener(response, None)
        return _AcceptedLink(answer, self._max_message_bytes, self)

    def _schedule_pings(self) -> None:
        self._sweep = asyncio.get_running_loop().call_later(self._ping_interval, self._ping_all)

    def _ping_all(self) -> None:
        for link in self._links:
            link.ping()
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(self._ping_timeout, self._close_silent)

    def _close_silent(self) -> None:
        for link in list(self._links):
            # Who is not read cannot be heard; its owner has its reasons, and its own deadline.
            if not link.heard_since_ping and not link.reading_paused:
                link.close(INTERNAL_ERROR, f"no answer to a ping within {self._ping_timeout:g} s")
        self._schedule_pings()


class _AcceptedLink(Link):
    """A link that its server knows from the handshake to the end."""

    def __init__(self, handler: LinkHandler, max_message_bytes: int, server: LinkServer) -> None:
        super().__init__(handler, max_message_bytes, _ACCEPTED)
        self._server = server

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._server.joined(self)
        super().on_ws_connected(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._server.left(self)
        super().on_ws_disconnected(transport)


async def serve(
    accept: Callable[[UpgradeRequest], LinkHandler | Refusal],
    host: str,
    port: int,
    *,
    max_message_bytes: int = 1024 * 1024,
    handshake_timeout: float = 5.0,
    ping_interval: float = 20.0,
    ping_timeout: float = 20.0,
    tls: ssl.SSLContext | None = None,
    shared: bool = False,
) -> LinkServer:
    """Listen for WebSockets, as `listen_on` does; `accept` gives each request a handler or an HTTP refusal.

    A client that does not finish its handshake in `handshake_timeout` seconds, or is silent for
    `ping_timeout` seconds after a ping, is disconnected. permessage-deflate is not negotiated: it costs
    more per client than the frame itself. With `tls` clients connect by wss://, and have the same seconds
    for that handshake. A `shared` port is as in `listen_on`. Raises OSError when the address is taken.
    """
    server = LinkServer(accept, max_message_bytes, ping_interval, ping_timeout)
    await server.listen(host, port, handshake_timeout, tls, shared=shared)
    return server
