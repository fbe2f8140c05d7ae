"""WebSockets as bare sockets: as cheap for many clients, and as free for attackers, as can be."""

from __future__ import annotations

import os
import socket
import struct
import time

HOST = "127.0.0.1"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

_SO_TIMESTAMPNS = 35  # Linux, asm-generic/socket.h
_STAMP = struct.Struct("qq")
_READ_BYTES = 2**18
_PATIENCE_SECONDS = 20.0


def give_way() -> None:
    """Let this process wait until whoever has its core has done with it.

    Else what the broker writes first would wake a reader, who takes its place before it has written the rest.
    """
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def connected(port: int, timeout: float) -> socket.socket:
    """Return a connection to a port of this machine; whatever is done with it ends in `timeout` seconds."""
    return socket.create_connection((HOST, port), timeout)


def upgrade_request(path: str = "/") -> bytes:
    """Return what a client asks for a WebSocket with."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def upgrade(line: socket.socket, path: str = "/") -> None:
    """Make a WebSocket of a connection; raises ConnectionError when it is refused."""
    line.sendall(upgrade_request(path))
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = line.recv(1)  # no more: what follows is left unread
        if not piece:
            raise ConnectionError("no answer to the upgrade")
        head += piece
    if b" 101 " not in head:
        raise ConnectionError(f"no WebSocket for us: {head[:100].decode(errors='replace')}")


def masked(payload: bytes, opcode: int = TEXT) -> bytes:
    """Return a client's frame; the mask is zero, which leaves the payload as it is."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 65536:
        head = bytes((0x80 | opcode, 0xFE)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0xFF)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


class Line:
    """A WebSocket whose reads say when the kernel took the bytes in."""

    def __init__(self, port: int, path: str = "/") -> None:
        self.socket = connected(port, _PATIENCE_SECONDS)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        self._rest = b""
        upgrade(self.socket, path)

    def send(self, payload: bytes, opcode: int = TEXT) -> None:
        """Send one frame; it is small, and whoever it is for reads."""
        self.socket.sendall(masked(payload, opcode))

    def read(self) -> tuple[float, list[tuple[int, bytes]]]:
        """Return when the newest bytes came, and the whole frames; raises ConnectionError at the end."""
        data, extras, _, _ = self.socket.recvmsg(_READ_BYTES, 64)
        if not data:
            raise ConnectionError("the connection was cut")
        came = time.time()
        for level, kind, stamp in extras:
            if (level, kind) == (socket.SOL_SOCKET, _SO_TIMESTAMPNS):
                seconds, nanoseconds = _STAMP.unpack(stamp)
                came = seconds + nanoseconds / 1e9
        return came, self._frames(self._rest + data)

    def _frames(self, data: bytes) -> list[tuple[int, bytes]]:
        frames, at, end = [], 0, len(data)
        while end - at >= 2:
            size, start = data[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(data[start : start + width], "big"), start + width
            if end < start + size or end < start:
                break
            frames.append((data[at] & 0x0F, data[start : start + size]))
            at = start + size
        self._rest = data[at:]
        return frames
