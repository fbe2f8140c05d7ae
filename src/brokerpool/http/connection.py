"""One slot's connection to a host: at most one socket, kept alive, over which one call goes at a time."""

from __future__ import annotations

import contextlib
import math
import socket
import ssl
import time
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import Any

import aiohttp
from yarl import URL

from brokerpool.egress import Egress, Proxy
from brokerpool.http.response import Response
from brokerpool.http.retry import Attempt, Outcome
from brokerpool.http_egress import fault as fault_on_the_way

# aiohttp rounds longer time-outs up to whole seconds of the loop's clock; ours are exact.
_NEVER_ROUND = 86_400.0
_SERVER_ERROR = int(HTTPStatus.INTERNAL_SERVER_ERROR)


class Progress:
    """How far one attempt has come; written while it runs, so that it can be read after a cancellation."""

    __slots__ = ("_clock", "_on_sent", "answered", "dial_began", "dialled", "sent", "sent_at")

    def __init__(self, clock: Callable[[], float], on_sent: Callable[[float], None] | None = None) -> None:
        self._clock = clock
        self._on_sent = on_sent
        #: True from just before the first byte leaves, and when that was on the clock.
        self.sent = False
        self.sent_at = -math.inf
        #: True when the whole answer has been read.
        self.answered = False
        #: Seconds that a new connection took, TLS included; None when there was one.
        self.dialled: float | None = None
        self.dial_began: float | None = None

    def leaves(self) -> None:
        """Note that there is a connection, over which the first byte leaves next."""
        if self.dial_began is not None:
            self.dialled = time.monotonic() - self.dial_began
        self.sent = True
        self.sent_at = self._clock()
        if self._on_sent is not None:
            self._on_sent(self.sent_at)


class AttemptFailed(Exception):  # noqa: N818  (inside of the client only; callers see what it makes of it)
    """An attempt without a complete answer."""

    def __init__(self, attempt: Attempt, detail: str) -> None:
        super().__init__(detail)
        self.attempt = attempt


class UntrustedHost(AttemptFailed):
    """The host's certificate is not good; trying again would change nothing."""


class ProxyRefused(AttemptFailed):
    """The proxy does not let the call out; trying again would change nothing."""


class AnswerTooLarge(AttemptFailed):
    """The body has more bytes than are accepted."""


class _Connector(aiohttp.TCPConnector):
    """Opens at most one socket, and knows whose it is."""

    def __init__(
        self, connection: Connection, ssl_context: ssl.SSLContext, keep_alive: float, egress: Egress
    ) -> None:
        super().__init__(
            limit=1,
            family=egress.family,
            local_addr=egress.local_addr,
            ssl=ssl_context,
            keepalive_timeout=keep_alive,
            timeout_ceil_threshold=_NEVER_ROUND,
            socket_factory=connection.make_socket,
        )
        self.connection = connection


class _Request(aiohttp.ClientRequest):
    """Tells its connection when it leaves: aiohttp's own signals would cost a quarter of the call.

    One class for all connections, because what the interpreter has learned about a class is lost with each.
    """

    def send(self, conn: aiohttp.connector.Connection) -> Coroutine[Any, Any, aiohttp.ClientResponse]:
        connector = self.session.connector
        assert isinstance(connector, _Connector)
        connector.connection.leaves()
        return super().send(conn)


class Connection:
    """Sends calls one after the other over one socket, which is dialled when there is none.

    After a failure or a cancellation the socket is shut down at once, so that the broker never sees a slot's
    old socket beside its new one. Nothing is retried and no redirect is followed here.
    """

    def __init__(
        self,
        ssl_context: ssl.SSLContext,
        egress: Egress,
        *,
        keep_alive: float,
        connect_timeout: float,
        max_body_bytes: int,
    ) -> None:
        self._ssl_context = ssl_context
        self._egress = egress
        self._proxy: Proxy | None = None
        self._keep_alive = keep_alive
        self._timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=connect_timeout, ceil_threshold=_NEVER_ROUND
        )
        self._max_body_bytes = max_body_bytes
        self._session: aiohttp.ClientSession | None = None
        self._sockets: list[socket.socket] = []
        self._progress: Progress | None = None

    async def send(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, progress: Progress
    ) -> Response:
        """Return the answer, read to its end.

        Raises AttemptFailed, which tells whether anything was sent. Cancelled, it drops the socket.
        """
        session = self._session or self._open(url)
        self._progress = progress
        try:
            answer = await session.request(method, url, headers=headers, data=body, allow_redirects=False)
            try:
                self._check_proxy(answer.status)
                content = await self._read(answer)
                if body is not None:
                    await answer.wait_for_close()  # its sending may last longer than the answer's
            except BaseException:
                answer.close()
                raise
        except BaseException as error:
            self._shut_down()
            if isinstance(error, aiohttp.ClientError | OSError):
                raise self._classified(error, url, progress) from None
            raise
        progress.answered = True  # from here to the caller nothing waits, so the answer cannot get lost
        return Response(answer.status, answer.headers, content)

    async def close(self) -> None:
        """Close the socket, if there is one."""
        if self._session is not None:
            await self._session.close()

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        pieces, size = [], 0
        while piece := await answer.content.readany():
            size += len(piece)
            if size > self._max_body_bytes:
                attempt = Attempt(Outcome.UNKNOWN, "body", answer.status)
                raise AnswerTooLarge(attempt, f"its answer has more than {self._max_body_bytes} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _open(self, url: URL) -> aiohttp.ClientSession:
        self._proxy = self._egress.route(str(url))
        self._session = aiohttp.ClientSession(
            connector=_Connector(self, self._ssl_context, self._keep_alive, self._egress),
            proxy=URL(self._proxy.url) if self._proxy is not None else None,
            timeout=self._timeout,
            # Cookies of a broker's edge must not go from one account to another.
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "brokerpool"},
            request_class=_Request,
        )
        # aiohttp sends PUT, DELETE and reads a second time when a connection breaks, also after the broker
        # has read them. It has no public switch; tests/unit/test_http_retries.py counts at the server.
        self._session._retry_connection = False
        return self._session

    def make_socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol = address[:3]
        self._sockets = [known for known in self._sockets if known.fileno() >= 0]
        made = socket.socket(family, kind, protocol)
        self._sockets.append(made)
        if self._progress is not None and self._progress.dial_began is None:
            self._progress.dial_began = time.monotonic()
        return made

    def leaves(self) -> None:
        """Note that the call leaves next; called by its request."""
        if self._progress is not None:
            self._progress.leaves()

    def _shut_down(self) -> None:
        # Closing a TLS transport first waits for the other side's farewell, up to half a minute from a mute
        # one, and the slot's next dial would meanwhile be one socket too many.
        for known in self._sockets:
            with contextlib.suppress(OSError):
                known.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def _check_proxy(self, status: int) -> None:
        # Of a call without TLS the proxy gets the whole; that it wants a login first is no broker's answer.
        if self._proxy is not None and status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            attempt = Attempt(Outcome.NOT_SENT, "proxy", status)
            raise ProxyRefused(attempt, f"the proxy {self._proxy} refused it with HTTP {status}")

    def _classified(
        self, error: aiohttp.ClientError | OSError, url: URL, progress: Progress
    ) -> AttemptFailed:
        # The text of aiohttp's errors may hold the URL with its query, so only the class is told.
        name = type(error).__name__
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return UntrustedHost(Attempt(Outcome.NOT_SENT, "certificate"), "its certificate was refused")
        if not progress.sent:
            attempt = Attempt(Outcome.NOT_SENT, "connect")
            why = fault_on_the_way(self._egress, str(url), error) or f"no connection came about ({name})"
            refused = isinstance(error, aiohttp.ClientHttpProxyError) and error.status < _SERVER_ERROR
            return (ProxyRefused if refused else AttemptFailed)(attempt, why)
        reason = "body" if isinstance(error, aiohttp.ClientPayloadError) else "reset"
        return AttemptFailed(
            Attempt(Outcome.UNKNOWN, reason), f"the connection broke after it was sent ({name})"
        )
