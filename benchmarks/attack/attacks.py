"""The eight attacks: each runs in a thread of its own, without a key, until its pace says that it is over."""

from __future__ import annotations

import itertools
import json
import secrets
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import NamedTuple

from .pacing import Pace
from .wire import PING, connected, masked, upgrade, upgrade_request

_UPGRADE = upgrade_request()
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: on, for no time
_TEXT_BEGUN, _CONTINUED = b"\x01", b"\x00\x80" + bytes(4)

#: Connections that the slow attacker holds.
SLOW_LINES = 200
#: What the REST attackers send: a body that is just read, and headers that are just taken.
_BODY_BYTES, _HEADER_BYTES = 256 * 1024, 40 * 1024
_LIST_BYTES = 900_000
#: A call on a socket ends by then, or an attacker would outlast its time.
_PATIENCE_SECONDS = 1.0
_POLL_MS = 50


class Target(NamedTuple):
    """The gateway's two ports on this machine."""

    ws_port: int
    http_port: int


class Attack(NamedTuple):
    """One attack; `most` is how many of its `unit` an attacker may reach in a second."""

    name: str
    what: str
    unit: str
    most: int
    run: Callable[[Target, Pace], None]


# -- on the WebSocket port ------------------------------------------------------------------------------


def pings(target: Target, pace: Pace) -> None:
    """Send pings and never read a pong."""
    block = masked(b"p" * 125, PING) * 50
    while pace.going:
        try:
            with _websocket(target) as line:
                _pour(line, lambda: block, 50, pace)
        except OSError:
            _turned_away(pace)


def fragments(target: Target, pace: Pace) -> None:
    """Begin a message and send empty pieces of it, without an end."""
    begin, block = _TEXT_BEGUN + masked(b"a")[1:], _CONTINUED * 200
    while pace.going:
        try:
            with _websocket(target) as line:
                line.sendall(begin)
                _pour(line, lambda: block, 200, pace, reads=True)
        except OSError:
            _turned_away(pace)


def lists(target: Target, pace: Pace) -> None:
    """Ask for thousands of symbols at once, again and again."""
    entry = {"symbol": "INFY", "exchange": "NSE"}
    count = _LIST_BYTES // len(json.dumps(entry) + ", ")
    text = masked(json.dumps({"action": "subscribe", "symbols": [entry] * count}).encode())
    while pace.going:
        try:
            with _websocket(target) as line:
                _pour(line, lambda: text, 1, pace, reads=True)
        except OSError:
            _turned_away(pace)


def keys(target: Target, pace: Pace) -> None:
    """Try a key that is none, each on a new connection."""
    while pace.take():
        try:
            with _websocket(target) as line:
                guess = {"action": "authenticate", "api_key": secrets.token_hex(32)}
                line.sendall(masked(json.dumps(guess).encode()))
                line.recv(4096)
                pace.done += 1
        except OSError:
            _turned_away(pace)


def churn(target: Target, pace: Pace) -> None:
    """Connect and reset; every other connection in the middle of its handshake."""
    for number in itertools.count():
        if not pace.take():
            return
        try:
            with _connected(target.ws_port) as line:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                if number % 2:
                    line.sendall(_UPGRADE[: len(_UPGRADE) // 2])
                pace.done += 1
        except OSError:
            _turned_away(pace)


# -- on both --------------------------------------------------------------------------------------------


def slow(target: Target, pace: Pace) -> None:
    """Hold connections, half of them on either port, whose request comes a byte a second."""
    lines: deque[tuple[socket.socket, int]] = deque()
    opened = itertools.count()
    while pace.take():
        try:
            if len(lines) < SLOW_LINES:
                lines.appendleft((_connected(target[next(opened) % 2]), 0))
        except OSError:
            pace.shut_out += 1
            continue
        line, sent = lines.popleft()
        try:
            line.sendall(_UPGRADE[sent : sent + 1])
            lines.append((line, (sent + 1) % (len(_UPGRADE) - 2)))  # never to the end
            pace.done += 1
        except OSError:
            line.close()
            pace.shut_out += 1
    for line, _ in lines:
        line.close()


# -- on the HTTP port -----------------------------------------------------------------------------------


def bodies(target: Target, pace: Pace) -> None:
    """Send the largest body that is read, with a wrong key, and the next before the answer comes."""
    entry = b'{"symbol":"INFY","exchange":"NSE"},'
    symbols = (entry * (_BODY_BYTES // len(entry) - 4)).rstrip(b",")

    def request() -> bytes:
        body = b'{"apikey":"%b","symbols":[%b]}' % (secrets.token_hex(32).encode(), symbols)
        return (
            b"POST /api/v1/multiquotes HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    while pace.going:
        try:
            with _connected(target.http_port) as line:
                _pour(line, request, 1, pace, reads=True)
        except OSError:
            _turned_away(pace)


def gets(target: Target, pace: Pace) -> None:
    """Ask for paths that there are not, ten at a time, one of the ten with as much header as is taken."""
    padding = b"".join(b"X-Padding-%d: %b\r\n" % (n, b"x" * 1000) for n in range(_HEADER_BYTES // 1000))
    numbers = itertools.count()

    def request(more: bytes) -> bytes:
        return b"GET /no/such/path/%d HTTP/1.1\r\nHost: localhost\r\n%b\r\n" % (next(numbers), more)

    def block() -> bytes:
        return b"".join(request(padding if n == 0 else b"") for n in range(10))

    while pace.going:
        try:
            with _connected(target.http_port) as line:
                _pour(line, block, 10, pace, reads=True)
        except OSError:
            _turned_away(pace)


#: The limits leave the gateway a part of its core: who fills it all is stopped by a firewall, not by it.
ATTACKS = (
    Attack("pings", "pings on one socket, reads nothing", "pings", 20_000, pings),
    Attack("fragments", "empty fragments of one message on one socket", "frames", 20_000, fragments),
    Attack("lists", "messages of 900 kB, reconnects when closed", "messages", 20, lists),
    Attack("keys", "wrong keys, a new connection each", "keys", 200, keys),
    Attack("churn", "connects and resets, half in the middle of the handshake", "connections", 200, churn),
    Attack(
        "slow", f"up to {SLOW_LINES} handshakes of a byte a second, both ports", "bytes", SLOW_LINES, slow
    ),
    Attack("bodies", "REST: pipelined bodies of 256 kB with wrong keys", "requests", 20, bodies),
    Attack("gets", "REST: pipelined GETs on unknown paths, 40 kB of headers", "requests", 200, gets),
)


# -- inside ---------------------------------------------------------------------------------------------


def _connected(port: int) -> socket.socket:
    return connected(port, _PATIENCE_SECONDS)


def _websocket(target: Target) -> socket.socket:
    with ExitStack() as unless_open:
        line = unless_open.enter_context(_connected(target.ws_port))
        upgrade(line)
        unless_open.pop_all()
        return line


def _pour(
    line: socket.socket, block: Callable[[], bytes], count: int, pace: Pace, *, reads: bool = False
) -> None:
    """Send blocks of `count` each until the attack is over; raises OSError when the gateway ends it."""
    line.setblocking(False)
    ready = select.poll()
    ready.register(line, select.POLLOUT | (select.POLLIN if reads else 0))
    while pace.take(count):
        rest = memoryview(block())
        while rest and pace.going:
            ready.poll(_POLL_MS)
            with suppress(BlockingIOError):
                rest = rest[line.send(rest) :]
            with suppress(BlockingIOError):
                if reads and not line.recv(2**16):
                    raise ConnectionError("closed")
        pace.done += 0 if rest else count


def _turned_away(pace: Pace) -> None:
    pace.shut_out += 1
    pace.take()
