"""A scripted HTTP broker on loopback: TLS under a private authority, faults on command, counts of its own."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from brokerpool import BrokerClient
from tests.rehearsal import Prompt, no_task_dies, until


class Authority:
    """A certificate authority that only these tests trust."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal authority")])
        self.certificate = self._sign(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0))

    def trusted(self) -> ssl.SSLContext:
        """Return a client's context that trusts this authority and nobody else."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_verify_locations(cadata=self.pem().decode())
        return context

    def pem(self) -> bytes:
        """Return the authority's certificate, as a bundle for clients that want a file."""
        return _pem(self.certificate)

    def pair(self, *names: str) -> tuple[bytes, bytes]:
        """Return a certificate for the names, or for this machine's loopback, and its private key, in PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        sans: list[x509.GeneralName] = [x509.DNSName(n) for n in names] or [
            x509.DNSName("localhost"),
            loopback,
        ]
        certificate = self._sign(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rehearsal")]),
            key,
            x509.BasicConstraints(ca=False, path_length=None),
            x509.SubjectAlternativeName(sans),
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return _pem(certificate), private

    def server(self, *names: str) -> ssl.SSLContext:
        """Return a server's context with such a pair."""
        certificate, private = self.pair(*names)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "server.pem"
            path.write_bytes(private + certificate)
            context.load_cert_chain(path)
        return context

    def _sign(self, name: x509.Name, key: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
        )
        # Python 3.13 verifies strictly: who signs says that it may, and each names the key it was signed by.
        issuer, is_authority = self._key.public_key(), name == self._name
        named: list[x509.ExtensionType] = [
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer),
        ]
        if is_authority:
            named.append(
                x509.KeyUsage(
                    digital_signature=True,
                    content_commitment=False,
                    key_encipherment=False,
                    data_encipherment=False,
                    key_agreement=False,
                    key_cert_sign=True,
                    crl_sign=True,
                    encipher_only=False,
                    decipher_only=False,
                )
            )
        for extension in (*extensions, *named):
            builder = builder.add_extension(
                extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            )
        return builder.sign(self._key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Seen:
    """One request, read to its end."""

    method: str
    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    #: Which request of its connection it is, from 1.
    turn: int
    at: float


@dataclass(frozen=True)
class Reply:
    """What the broker does with a request after reading it."""

    #: None: no answer at all.
    status: int | None = 200
    body: bytes = b'{"status":"success"}'
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Seconds before the head, and between the head and the body.
    delay: float = 0.0
    body_delay: float = 0.0
    #: How many bytes of the body to send before the connection ends; None sends all.
    cut: int | None = None
    #: What happens to the connection: "keep", "close" (FIN) or "reset" (RST).
    then: str = "keep"


class ScriptedBroker:
    """Answers as `script` says and counts what it sees: sockets accepted, open, at most open, requests."""

    def __init__(self, tls: ssl.SSLContext | None = None, *, idle_limit: float | None = None) -> None:
        self.script: Callable[[Seen], Reply] = lambda seen: Reply()
        #: Seconds after which an idle connection is closed.
        self.idle_limit = idle_limit
        self.accepted = 0
        self.open = 0
        self.peak = 0
        self.busy = 0
        self.seen: list[Seen] = []
        self._tls = tls
        self._server: asyncio.Server | None = None
        self.port = 0
        self.links: set[_Link] = set()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def count(self, method: str | None = None, path: str | None = None) -> int:
        """Return how many requests were read to their end."""
        return sum(method in (None, s.method) and path in (None, s.path) for s in self.seen)

    @property
    def methods(self) -> Counter[str]:
        return Counter(s.method for s in self.seen)

    async def start(self, port: int = 0) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Link(self), "127.0.0.1", port, ssl=self._tls, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]

    def stop_listening(self) -> None:
        assert self._server is not None
        self._server.close()

    async def close(self) -> None:
        self.stop_listening()
        for link in list(self.links):
            link.abort()
        await until(lambda: not self.links)

    async def __aenter__(self) -> ScriptedBroker:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _Link(asyncio.Protocol):
    """One socket of the broker."""

    def __init__(self, broker: ScriptedBroker) -> None:
        self._broker = broker
        self._buffer = b""
        self._turn = 0
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        broker = self._broker
        broker.links.add(self)
        broker.accepted += 1
        broker.open += 1
        broker.peak = max(broker.peak, sum(link.is_established() for link in broker.links))

    def connection_lost(self, error: Exception | None) -> None:
        self._broker.links.discard(self)
        self._broker.open -= 1
        if self._task is not None:
            self._task.cancel()
        if self._idle is not None:
            self._idle.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if self._task is None:
            self._next()

    def abort(self) -> None:
        self._transport.abort()

    def is_established(self) -> bool:
        """Tell whether the client still holds its end; one that it has closed is not counted as open."""
        if not hasattr(socket, "TCP_INFO"):
            return True
        end = self._transport.get_extra_info("socket")
        if end is None or end.fileno() < 0:
            return False
        return bool(end.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == 1)

    def _next(self) -> None:
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        line, *fields = head.decode().split("\r\n")
        method, target, _ = line.split(" ")
        headers = {k.lower(): v.strip() for k, _, v in (f.partition(":") for f in fields)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._turn += 1
        if self._idle is not None:
            self._idle.cancel()
        parts = urlsplit(target)
        now = asyncio.get_running_loop().time()
        seen = Seen(method, parts.path, parse_qsl(parts.query), headers, rest[:length], self._turn, now)
        self._broker.seen.append(seen)
        self._task = asyncio.create_task(self._answer(self._broker.script(seen)))

    async def _answer(self, reply: Reply) -> None:
        self._broker.busy += 1
        try:
            await asyncio.sleep(reply.delay)
            if reply.status is not None:
                fields = {"Content-Length": str(len(reply.body)), **reply.headers}
                head = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in fields.items())
                if reply.body_delay:
                    self._transport.write(f"{head}\r\n".encode())
                    await asyncio.sleep(reply.body_delay)
                    self._transport.write(reply.body[: reply.cut])
                else:
                    self._transport.write(f"{head}\r\n".encode() + reply.body[: reply.cut])
        finally:
            self._broker.busy -= 1
            self._task = None
        if reply.then == "reset":
            self._transport.abort()
        elif reply.then == "close":
            self._transport.close()
        elif self._broker.idle_limit is not None:
            self._idle = asyncio.get_running_loop().call_later(self._broker.idle_limit, self._transport.close)
        self._next()


class DelayProxy:
    """Carries bytes to a port and back, `one_way` seconds late, as if the broker were far away.

    The first bytes of a client wait for one more round trip, which stands for TCP's own greeting.
    """

    def __init__(self, port: int, one_way: float) -> None:
        self._port = port
        self._one_way = one_way
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> DelayProxy:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            async with asyncio.TaskGroup() as pumps:
                pumps.create_task(self._pump(reader, far_writer, 2 * self._one_way))
                pumps.create_task(self._pump(far_reader, writer, 0.0))
        except asyncio.CancelledError:
            pass  # asyncio of Python 3.11 reports a connection's task that ends as cancelled
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, first: float) -> None:
        loop = asyncio.get_running_loop()
        line: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due, data = await line.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    target.close()
                    return
                target.write(data)

        delivery = asyncio.create_task(deliver())
        try:
            ready = loop.time() + first
            data = b"x"
            while data:
                try:
                    data = await source.read(65536)
                except ConnectionError:
                    data = b""
                ready = max(ready, loop.time()) if first else loop.time()
                line.put_nowait((ready + self._one_way, data))
            await delivery
        finally:
            delivery.cancel()


AUTHORITY = Authority()
SERVER_TLS = AUTHORITY.server()


@asynccontextmanager
async def broker_and_client(
    *, tls: bool = False, idle_limit: float | None = None, **options: Any
) -> AsyncIterator[tuple[ScriptedBroker, BrokerClient]]:
    """Give a running scripted broker and a client of it whose repeats follow at once."""
    async with (
        no_task_dies(),
        ScriptedBroker(SERVER_TLS if tls else None, idle_limit=idle_limit) as broker,
        BrokerClient(
            broker.url,
            **{"name": "rehearsal", "ssl_context": AUTHORITY.trusted(), "random": Prompt(), **options},
        ) as client,
    ):
        yield broker, client
