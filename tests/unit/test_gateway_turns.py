"""Whatever a client sends, the CPU time of one turn of the event loop is bounded: ticks pass in between."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway_client import KEY, client, gateway, masked
from tests.measuring import turns
from tests.rehearsal import until

pytestmark = pytest.mark.alone

#: What one turn may take of the CPU, with a stranger's messages or a client's longest.
MOST_MS = 5.0
#: What it may take with as many frames as one read brings.
MOST_OF_A_FLOOD_MS = 20.0
INFY = {"symbol": "INFY", "exchange": "NSE"}


def connected(ws_url: str) -> socket.socket:
    """Return an open WebSocket as a bare socket, for a thread that sends as fast as it can."""
    host, port = ws_url.removeprefix("ws://").split(":")
    raw = socket.create_connection((host, int(port)), timeout=20)
    raw.sendall(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += raw.recv(1)
    return raw


def received(raw: socket.socket) -> tuple[int, bytes]:
    """Return opcode and payload of the next frame."""
    head = _exactly(raw, 2)
    size = head[1]
    if size == 126:
        (size,) = struct.unpack(">H", _exactly(raw, 2))
    elif size == 127:
        (size,) = struct.unpack(">Q", _exactly(raw, 8))
    return head[0] & 0x0F, _exactly(raw, size)


def _exactly(raw: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        some = raw.recv(size - len(data))
        if not some:
            raise EOFError
        data += some
    return bytes(data)


def asked(**members: Any) -> bytes:
    return masked(json.dumps(members).encode())


def longest_turn(attack: Callable[[str], None], **environ: str) -> float:
    """Return the longest turn in milliseconds while a thread attacks a gateway on real sockets."""

    async def main() -> float:
        async with gateway({"symbols": 3000}, **environ) as (_, served_by), client(served_by) as other:
            await other.subscribe("INFY")
            attacker = threading.Thread(target=attack, args=(served_by.ws_url,))
            async with turns() as hold:
                attacker.start()
                await until(lambda: not attacker.is_alive(), 60)
                assert (await other.ask(action="ping"))["type"] == "pong", "nobody else notices"
            print(f"{attack.__name__}: the longest turn took {hold.seconds * 1000:.1f} ms")
            return hold.seconds * 1000

    return asyncio.run(main())


def strangers_lists(ws_url: str) -> None:
    """Eight lists of 900 kB on one socket that has shown no key."""
    with connected(ws_url) as raw:
        text = asked(action="subscribe", symbols=[INFY] * 20_000)
        assert len(text) > 700_000
        try:
            for _ in range(8):
                raw.sendall(text)
        except OSError:
            pass  # it was shown the door after the first
        opcode, payload = received(raw)
        assert opcode == 8
        assert int.from_bytes(payload[:2], "big") == 1009


def clients_lists(ws_url: str) -> None:
    """Lists that are longer than may be, and one that is as long as may be, with a key."""
    with connected(ws_url) as raw:
        raw.sendall(asked(action="authenticate", api_key=KEY))
        received(raw)
        many = asked(action="subscribe", symbols=[INFY] * 20_000)
        ones = masked(b'{"action":"subscribe","symbols":[' + b"1," * 500_000 + b"1]}")
        deep = masked(b'{"action":"ping","timestamp":[' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"," + b"[]]}")
        for _ in range(4):
            for text in (many, ones, deep):
                raw.sendall(text)
        answers = [json.loads(received(raw)[1]) for _ in range(12)]
        assert [a.get("code") for a in answers] == ["REQUEST_TOO_LARGE", "REQUEST_TOO_LARGE", None] * 4
        assert "4000" in answers[0]["message"]


def longest_lists(ws_url: str) -> None:
    """The longest lists that are carried out, one behind the other."""
    with connected(ws_url) as raw:
        raw.sendall(asked(action="authenticate", api_key=KEY))
        received(raw)
        names = [{"symbol": f"NO-SUCH-SYMBOL-{n}", "exchange": "NSE", "mode": 3} for n in range(4000)]
        for _ in range(3):
            raw.sendall(asked(action="subscribe", symbols=names, mode=3))
            raw.sendall(asked(action="unsubscribe", symbols=names))
            assert len(json.loads(received(raw)[1])["subscriptions"]) == 4000
            assert len(json.loads(received(raw)[1])["successful"]) == 4000


@pytest.mark.parametrize("attack", [strangers_lists, clients_lists, longest_lists])
def test_lists_of_any_length_hold_the_loop_for_a_bounded_time(attack: Callable[[str], None]) -> None:
    # What others do on the machine makes a run dearer, and none cheaper.
    assert any(longest_turn(attack) < MOST_MS for _ in range(3))


def small_messages(ws_url: str) -> None:
    """A second of the smallest requests, without a key."""
    flood(ws_url, b"", asked(action="ping") * 500)


def empty_fragments(ws_url: str) -> None:
    """A second of a message of which nothing comes, without a key."""
    start = bytearray(masked(b"a"))
    start[0] = 0x01  # a text, and not the last of it
    flood(ws_url, bytes(start), (b"\x00\x80" + bytes(4)) * 2000)


def flood(ws_url: str, first: bytes, block: bytes) -> None:
    with connected(ws_url) as raw:
        raw.sendall(first)
        raw.settimeout(0.05)
        ends = time.monotonic() + 1
        while time.monotonic() < ends:
            for use in (lambda: raw.send(block), lambda: raw.recv(2**20)):
                with contextlib.suppress(TimeoutError):
                    use()


@pytest.mark.parametrize("attack", [small_messages, empty_fragments])
def test_a_flood_of_tiny_frames_holds_the_loop_for_a_bounded_time(attack: Callable[[str], None]) -> None:
    assert any(longest_turn(attack) < MOST_OF_A_FLOOD_MS for _ in range(3))
