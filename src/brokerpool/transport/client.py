"""Dialling: one WebSocket to a broker, with every way to fail told apart and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohappyeyeballs
from picows import WSHandshakeError, ws_connect
from picows.url import WSParsedURL

from brokerpool.retry_after import retry_after
from brokerpool.transport.link import Link, LinkHandler, picows_logger

#: A broker's message may carry a whole instrument universe; more than this is a fault.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
#: What the kernel may hold for us: a reader that falls behind shall push back on the broker rather than
#: work through tens of megabytes of old prices.
RECEIVE_BUFFER_BYTES = 1024 * 1024


class DialError(Exception):
    """A dial failed; `status` is the HTTP status of a refusal, None when there was no HTTP answer."""

    def __init__(self, reason: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status
        #: Seconds that the server asked to wait, when it did.
        self.retry_after = retry_after


async def dial(
    url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None = None, timeout: float = 10.0
) -> Link:
    """Open a WebSocket within `timeout` seconds and return its link; TLS certificates are always verified.

    Raises DialError; the text names the host only, because the query of a broker's URL carries its token.
    When the caller is cancelled, the socket is closed before the cancellation goes on.
    """
    host = urlsplit(url).hostname
    link = Link(handler, MAX_MESSAGE_BYTES)
    sockets: list[socket.socket] = []

    async def connect(target: WSParsedURL) -> socket.socket:
        addresses = await asyncio.get_running_loop().getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM
        )
        sock = await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=0.25)
        sockets.append(sock)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
        return sock

    opened = False
    try:
        async with asyncio.timeout(timeout):
            _, listener = await ws_connect(
                lambda: link,
                url,
                websocket_handshake_timeout=timeout,
                max_frame_size=MAX_MESSAGE_BYTES,
                enable_auto_pong=False,  # the link answers, so that its owner hears of it
                extra_headers=headers,
                socket_factory=connect,
                logger_name=picows_logger,
            )
        # picows reports a server that hangs up in the middle of the handshake as success without a listener.
        if listener is None:
            raise DialError(f"{host} closed the connection during the handshake")
        opened = True
    except TimeoutError:
        raise DialError(f"{host} did not complete the handshake within {timeout:g} s") from None
    except WSHandshakeError as error:
        raise _refusal(host, error) from None
    except OSError as error:
        raise DialError(f"{host} cannot be reached: {error.strerror or type(error).__name__}") from None
    finally:
        if not opened:
            link.abandon()
            for sock in sockets:
                _hang_up(sock)
    return link


def _refusal(host: str | None, error: WSHandshakeError) -> DialError:
    if error.response is None:
        return DialError(f"{host} answered with something that is not a WebSocket handshake")
    status = int(error.response.status)
    told = error.response.headers.get
    return DialError(
        f"{host} refused the connection with HTTP {status}",
        status,
        retry_after(told("Retry-After"), time.time(), told("Date")),
    )


def _hang_up(sock: socket.socket) -> None:
    # picows keeps a half-open handshake to itself; ending the socket under it makes the transport close.
    with contextlib.suppress(OSError):  # closed already
        sock.shutdown(socket.SHUT_RDWR)
