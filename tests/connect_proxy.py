"""An HTTP proxy on loopback: CONNECT and plain forwarding, logins, refusals on command, and what it saw."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit


class ConnectProxy:
    """Carries connections to the hosts that it knows, each a name that stands for a port on loopback."""

    def __init__(
        self,
        hosts: Mapping[str, int],
        *,
        login: str = "",
        answers: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`login` is USER:PASSWORD; `answers` is the status with which everything is refused."""
        self._hosts = hosts
        self._login = login
        self._answers = answers
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: The first lines of the requests, and the addresses from which they came.
        self.seen: list[str] = []
        self.peers: list[str] = []

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        login = f"{self._login}@" if self._login else ""
        return f"{'https' if self._tls else 'http'}://{login}127.0.0.1:{self.port}"

    async def __aenter__(self) -> ConnectProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._carry(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        line, *fields = head.decode().split("\r\n")
        self.seen.append(line)
        self.peers.append(writer.get_extra_info("peername")[0])
        method, target, _ = line.split(" ")
        status = self._answers or (200 if self._may_pass(fields) else 407)
        parts = urlsplit(f"//{target}" if method == "CONNECT" else target)
        if status == 200 and parts.hostname not in self._hosts:
            status = 502
        if status != 200:
            writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
            await writer.drain()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._hosts[str(parts.hostname)])
        try:
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                kept = [field for field in fields if not field.lower().startswith("proxy-")]
                far_writer.write("\r\n".join([f"{method} {parts.path or '/'} HTTP/1.1", *kept]).encode())
            await asyncio.wait(
                [
                    asyncio.ensure_future(_pump(reader, far_writer)),
                    asyncio.ensure_future(_pump(far_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            far_writer.transport.abort()

    def _may_pass(self, fields: list[str]) -> bool:
        wanted = f"Basic {base64.b64encode(self._login.encode()).decode()}"
        given = {k.lower(): v.strip() for k, _, v in (field.partition(":") for field in fields)}
        return not self._login or given.get("proxy-authorization") == wanted


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
