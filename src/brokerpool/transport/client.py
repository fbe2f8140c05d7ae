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
from python_socks import ProxyError

from brokerpool.egress import Egress
from brokerpool.errors import SettingsError
from brokerpool.retry_after import retry_after
from brokerpool.transport.bounded_reads import HANDSHAKE_BYTES
from brokerpool.transport.open_websocket import Link, LinkHandler
from brokerpool.transport.picows_workarounds import picows_logger

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
    url: str,
    handler: LinkHandler,
    *,
    headers: Mapping[str, str] | None = None,
    timeout: float = 10.0,
    egress: Egress | None = None,
) -> Link:
    """Open a WebSocket within `timeout` seconds and return its link; TLS certificates are always verified.

    It leaves as the `egress` says, else as the environment does. Raises DialError; the text names the host
    only, because the query of a broker's URL carries its token. What a proxy refuses has no `status`: it is
    not the broker's word. When the caller is cancelled, the socket is closed before the cancellation goes on.
    """
    egress = egress or Egress()
    try:
        proxy = egress.route(url)
    except SettingsError as error:
        raise DialError(str(error)) from None
    host = urlsplit(url).hostname
    through = f" through the proxy {proxy}" if proxy is not None else ""
    link = Link(handler, MAX_MESSAGE_BYTES)
    sockets: list[socket.socket] = []

    async def connect(target: WSParsedURL) -> socket.socket:
        addresses = await asyncio.get_running_loop().getaddrinfo(
            target.host, target.port, family=egress.family, type=socket.SOCK_STREAM
        )
        sock = await aiohappyeyeballs.start_connection(
            addresses,
            local_addr_infos=aiohappyeyeballs.addr_to_addr_infos(egress.local_addr),
            happy_eyeballs_delay=0.25,
        )
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
                read_buffer_init_size=HANDSHAKE_BYTES,  # a peer may send as much with its handshake
                enable_auto_pong=False,  # the link answers, so that its owner hears of it
                extra_headers=headers,
                max_redirects=0,  # whoever sends us elsewhere gets no credentials carried there
                socket_factory=connect,
                proxy=proxy.url if proxy is not None else None,
                logger_name=picows_logger,
            )
        # picows reports a server that hangs up in the middle of the handshake as success without a listener.
        if listener is None:
            raise DialError(f"{host} closed the connection during the handshake")
        opened = True
    except TimeoutError:
        raise DialError(f"{host} did not complete the handshake within {timeout:g} s{through}") from None
    except WSHandshakeError as error:
        raise _refusal(host, error) from None
    except ProxyError as error:
        raise DialError(f"the proxy {proxy} did not connect to {host}: {error}") from None
    except OSError as error:
        why = egress.fault(url, error) or error.strerror or type(error).__name__
        raise DialError(f"{host} cannot be reached: {why}") from None
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
