"""What one turn of the event loop takes from one peer: a little, whatever comes in whatever pieces."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import itertools
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from brokerpool.transport import Link, LinkHandler, LinkServer, dial, serve
from brokerpool.transport.bounded_reads import BoundedReads
from tests.http_server import AUTHORITY

TINY = b"\x82\x01\x00"
#: Bytes of a client's empty message.
MASKED = b"\x82\x80" + bytes(4)
_UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Turns(LinkHandler):
    """Counts what comes in each turn of the loop."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.sizes: list[int] = []
        self.most = 0
        self.total = 0
        self.ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        self._now = 0
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def more(self) -> None:
        before = self.total
        await self.until(lambda: self.total > before)

    def opened(self, link: Link) -> None:
        self.link = link
        self._changed.set()

    def text(self, message: str) -> None:
        self.binary(message.encode())

    def binary(self, message: bytes | memoryview) -> None:
        self.sizes.append(len(message))
        if not self._now:
            asyncio.get_running_loop().call_soon(self._next)
        self._now += 1
        self.total += 1
        self.most = max(self.most, self._now)
        self._changed.set()

    def _next(self) -> None:
        self._now = 0

    def closed(self, code: int, reason: str) -> None:
        self.ended.set_result((code, reason))


@contextlib.asynccontextmanager
async def broker(sends: bytes) -> AsyncIterator[int]:
    """Accept WebSockets on a port and send each these bytes, behind the handshake and in one go."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            head = await reader.readuntil(b"\r\n\r\n")
            key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key"))
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + _accept(key.split(b":")[1].strip()) + b"\r\n\r\n"
            )
            writer.write(sends)
            await writer.drain()
            await reader.read()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def _accept(key: bytes) -> bytes:
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())


@contextlib.asynccontextmanager
async def gateway(handler: Turns, **options: Any) -> AsyncIterator[LinkServer]:
    server = await serve(lambda _: handler, "127.0.0.1", 0, max_message_bytes=65536, **options)
    try:
        yield server
    finally:
        await server.close()


@pytest.fixture
def no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the time of every turn be over at once."""
    monkeypatch.setattr(BoundedReads, "late", True)


@pytest.fixture(params=["no_time", None])
def enough(request: pytest.FixtureRequest) -> None:
    """How much time a turn has: none, or as usual."""
    if request.param is not None:
        request.getfixturevalue(request.param)


@pytest.mark.usefixtures("no_time")
def test_a_broker_that_sends_tiny_frames_by_the_megabyte_is_heard_for_a_moment_each_turn() -> None:
    async def main() -> None:
        count = 100_000
        async with broker(TINY * count) as port:
            handler = Turns()
            link = await dial(f"ws://127.0.0.1:{port}", handler)
            await handler.until(lambda: handler.total == count)
            assert handler.most <= 64, "the clock is looked at that often"
            link.abort()
            await handler.ended

    asyncio.run(main())


@pytest.mark.parametrize("secure", [False, True])
def test_a_client_that_sends_tiny_frames_is_read_less_each_turn(secure: bool) -> None:
    async def main() -> None:
        handler, count = Turns(), 100_000
        async with gateway(handler, tls=AUTHORITY.server("localhost") if secure else None) as server:
            _, writer = await asyncio.open_connection(
                "127.0.0.1",
                server.port,
                ssl=AUTHORITY.trusted() if secure else None,
                server_hostname="localhost" if secure else None,
            )
            writer.write(_UPGRADE + MASKED * count)
            await handler.until(lambda: handler.total == count)
            # With TLS what was held, and a read besides.
            assert handler.most <= (2 if secure else 1) * 4096 // len(MASKED) + 1
            writer.close()
            await handler.ended

    asyncio.run(main())


@pytest.mark.usefixtures("enough")
def test_long_messages_pass_whole_whatever_a_turn_reads() -> None:
    async def main() -> None:
        sizes = [70_000, 0, 125, 126, 65_535, 65_536, 16_384, 500_000, 1]
        frames = b"".join(_frame(size) for size in sizes)
        async with broker(frames) as port:
            handler = Turns()
            link = await dial(f"ws://127.0.0.1:{port}", handler)
            await handler.until(lambda: handler.total == len(sizes))
            assert handler.sizes == sizes
            link.abort()
            await handler.ended

    asyncio.run(main())


@pytest.mark.usefixtures("enough")
def test_what_was_read_and_not_heard_yet_waits_in_order_while_the_owner_pauses() -> None:
    async def main() -> None:
        sizes = [n % 120 for n in range(30_000)]
        async with broker(b"".join(map(_frame, sizes, itertools.cycle([2, 2, 1])))) as port:
            handler = Turns()
            link = await dial(f"ws://127.0.0.1:{port}", handler)
            for _ in range(3):
                await handler.more()
                link.pause_reading()
                link.pause_reading()
                for _ in range(3):
                    await asyncio.sleep(0)
                heard = handler.total
                await asyncio.sleep(0)
                assert handler.total == heard
                link.resume_reading()
                link.rest()
            await handler.until(lambda: handler.total == len(sizes))
            assert handler.sizes == sizes
            link.abort()
            await handler.ended

    asyncio.run(main())


@pytest.mark.usefixtures("enough")
def test_a_close_behind_much_else_is_heard_by_who_has_closed_in_the_meantime() -> None:
    async def main() -> None:
        async with broker(TINY * 10_000 + b"\x88\x02" + (1001).to_bytes(2, "big")) as port:
            handler = Turns()
            link = await dial(f"ws://127.0.0.1:{port}", handler)
            await handler.until(lambda: handler.total)
            link.close(1000, "enough")
            assert await asyncio.wait_for(handler.ended, 1.5) == (1001, "")
            assert handler.total < 10_000

    asyncio.run(main())


def test_an_owner_that_drops_the_link_hears_nothing_of_what_waits() -> None:
    class Drops(Turns):
        def binary(self, message: bytes | memoryview) -> None:
            super().binary(message)
            assert self.link is not None
            self.link.abort()

    async def main() -> None:
        handler = Drops()
        async with gateway(handler) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_UPGRADE + MASKED * 100)  # what comes with the handshake waits for the next turn
            await asyncio.wait_for(handler.ended, 5)
            assert handler.total == 1
            writer.close()

    asyncio.run(main())


def _frame(size: int, opcode: int = 2) -> bytes:
    if size < 126:
        return bytes((0x80 | opcode, size)) + bytes(size)
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + bytes(size)
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + bytes(size)


@pytest.mark.parametrize("length", [65_537, 2**40, 2**62])
def test_nothing_is_read_behind_a_header_that_promises_too_much(
    length: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        handler = Turns()
        async with gateway(handler) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"\x82\xff" + length.to_bytes(8, "big"))
            assert (await reader.readexactly(4))[2:] == (1009).to_bytes(2, "big")
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    writer.write(bytes(65_536))
                    await writer.drain()
            assert await asyncio.wait_for(handler.ended, 5) == (1002, "broke the protocol")
            assert handler.total == 0
            writer.close()

    with caplog.at_level(logging.INFO, "brokerpool"):
        asyncio.run(main())
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


def test_a_peer_that_goes_on_sending_after_the_close_is_dropped_at_a_message_s_length() -> None:
    async def main() -> None:
        handler = Turns()
        async with gateway(handler) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(_UPGRADE)
            await reader.readuntil(b"\r\n\r\n")
            await handler.until(lambda: handler.link)
            assert handler.link is not None
            handler.link.close(1001, "enough")
            sent = 0
            began = asyncio.get_running_loop().time()
            with contextlib.suppress(ConnectionError):
                while sent < 50_000_000:
                    writer.write(MASKED * 1000)
                    await writer.drain()
                    sent += len(MASKED) * 1000
            assert asyncio.get_running_loop().time() - began < 1.5, "not only when the close has taken 2 s"
            assert sent < 5_000_000
            await asyncio.wait_for(handler.ended, 5)
            writer.close()

    asyncio.run(main())
