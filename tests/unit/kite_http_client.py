"""A client of the simulated Kite's HTTP API that sees its socket: each byte that came, and how it ended."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from brokerpool.simulator import KiteSimulator

DEADLINE = 5.0

#: A small order far from the market: it rests.
ORDER = {
    "exchange": "NSE",
    "tradingsymbol": "INFY",
    "transaction_type": "BUY",
    "quantity": 1,
    "product": "MIS",
    "order_type": "LIMIT",
    "price": 1300,
}


class Received(NamedTuple):
    """The bytes of an answer, and the end: "closed", "reset", or "open" when nothing more came."""

    data: bytes
    end: str

    @property
    def status(self) -> int:
        return int(self.data.split(b" ", 2)[1])


class RawClient:
    """One TCP connection, without a library that would hide how it ends."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    async def connect(cls, broker: KiteSimulator) -> RawClient:
        sock = socket.socket()
        sock.setblocking(False)
        port = urlsplit(broker.http_url).port
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        return cls(sock)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._sock, data)

    async def received(self, within: float = DEADLINE) -> Received:
        """Read until the connection ends, or until nothing comes within so many seconds."""
        loop = asyncio.get_running_loop()
        data = b""
        while True:
            try:
                more = await asyncio.wait_for(loop.sock_recv(self._sock, 65_536), within)
            except ConnectionResetError:
                return Received(data, "reset")
            except TimeoutError:
                return Received(data, "open")
            if not more:
                return Received(data, "closed")
            data += more

    async def answered(self) -> None:
        """Read the JSON of one answer on a connection that stays open."""
        data = b""
        while not data.endswith(b"}"):
            more = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self._sock, 65_536), DEADLINE)
            assert more, "the connection was closed"
            data += more

    def close(self) -> None:
        self._sock.close()


def request(broker: KiteSimulator, method: str, path: str, form: Mapping[str, object] | None = None) -> bytes:
    """Return the bytes of a request that asks for the end of its connection."""
    body = urlencode(form or {}).encode()
    head = (
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        f"Authorization: token {broker.api_key}:{broker.access_token}",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body


async def exchange(
    broker: KiteSimulator,
    method: str,
    path: str,
    form: Mapping[str, object] | None = None,
    within: float = DEADLINE,
) -> Received:
    """Send one request on a connection of its own and return what came."""
    client = await RawClient.connect(broker)
    try:
        await client.send(request(broker, method, path, form))
        return await client.received(within)
    except ConnectionResetError:
        # The reset was faster than the request.
        return Received(b"", "reset")
    finally:
        client.close()
