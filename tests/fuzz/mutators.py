"""Mutations of recorded frames: of any bytes, of WebSocket frames, of HTTP requests; pure."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeAlias

from tests.gateway_client import masked

#: Mutations of one frame, one on top of the other.
_MOST_MUTATIONS = 3
#: What a frame may grow to.
_MOST_BYTES = 100_000

_EDGES = (0, 1, 2, 7, 8, 125, 126, 127, 184, 255, 256, 4_096, 65_535, 65_536, 2**31, 2**63, 2**64 - 1)
_NUMBERS = (
    b"-1",
    b"0",
    b"1",
    b"126",
    b"65536",
    b"99999999999999999999",
    b"1e9",
    b"0x10",
    b"",
    b"+5",
    b"\xd9\xa1",
)
#: Instead of a value in JSON.
_VALUES = (
    *(
        b"null",
        b"true",
        b"-1",
        b"1e400",
        b"3.5",
        b"[]",
        b"{}",
        b'""',
        b'"\\ud800"',
        b'"\\u0000"',
        b"[[[[[[[[]]]]]]]]",
    ),
    *(
        b"9" * 400,
        b'"' + b"x" * 300 + b'"',
        b'"' + b"y" * 5_000 + b'"',
        b'{"symbol":{"exchange":[]}}',
        b"nul",
    ),
)
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?')
_LENGTH = re.compile(rb"(?i)(content-length: *)(\d+)")
_LINES = (
    *(
        b"Transfer-Encoding: chunked",
        b"Content-Length: 5",
        b"Host: evil.example",
        b"Host:",
        b"Upgrade: websocket",
    ),
    *(
        b"Connection: close",
        b"Expect: 100-continue",
        b" folded",
        b"no colon",
        b": no name",
        b"X: \x00",
        b"\xff\xfe: 1",
    ),
    *(b"Origin: null", b"Authorization: Basic !!", b"Forwarded: for=\x22[", b"Cookie: " + b"c" * 9_000),
)


def mutated(frame: bytes, others: Sequence[bytes], random: Random, *, http: bool) -> tuple[str, bytes]:
    """Return the frame with up to three mutations, and their names; `http` for a request.

    The `others` are frames of the same direction, of which parts may come in.
    """
    possible = (*_ANY, *(_OF_HTTP if http else _OF_FRAMES))
    names = []
    for _ in range(random.randint(1, _MOST_MUTATIONS)):
        mutator = random.choice(possible)
        names.append(mutator.__name__.strip("_"))
        frame = mutator(frame, others, random)[:_MOST_BYTES] or b"\x00"
    return " ".join(names), frame


_Mutator: TypeAlias = Callable[[bytes, Sequence[bytes], Random], bytes]


# -- of any bytes ---------------------------------------------------------------------------------------


def _flip(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    spoilt = bytearray(frame)
    for _ in range(random.choice((1, 1, 2, 8))):
        spoilt[random.randrange(len(spoilt))] ^= 1 << random.randrange(8)
    return bytes(spoilt)


def _truncate(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return frame[: random.randrange(len(frame))]


def _repeat(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    return frame * random.choice((2, 2, 3, 10, 100))


def _splice(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    other = random.choice(others)
    return frame[: random.randrange(len(frame) + 1)] + other[random.randrange(len(other)) :]


def _swap(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    a, b, c = sorted(random.randrange(len(frame) + 1) for _ in range(3))
    return frame[:a] + frame[b:c] + frame[a:b] + frame[c:]


def _insert(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    at = random.randrange(len(frame) + 1)
    return frame[:at] + random.randbytes(random.choice((1, 2, 4, 100))) + frame[at:]


def _value(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Put another value into JSON, and the right length in front of it."""
    body = _Body.of(frame)
    found = list(_VALUE.finditer(body.payload))
    if not found:
        return _flip(frame, others, random)
    at = random.choice(found)
    body.payload = body.payload[: at.start()] + random.choice(_VALUES) + body.payload[at.end() :]
    return body.framed()


_ANY: tuple[_Mutator, ...] = (_flip, _truncate, _repeat, _splice, _swap, _insert, _value, _value)


# -- of WebSocket frames --------------------------------------------------------------------------------


def _head(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Change the opcode, the reserved bits, or whether it is the last fragment."""
    first = random.choice(
        (0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0xF2, random.randrange(256))
    )
    return bytes((first,)) + frame[1:]


def _resize(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Have the head say another length."""
    body, said = _Body.of(frame), random.choice(_EDGES)
    said = random.choice((said, len(body.payload) - 1, len(body.payload) + 1))
    form = random.choice((1, 2, 8))
    flag = frame[1] & 0x80 if len(frame) > 1 else 0
    if 0 <= said < 126 and form == 1:
        head = bytes((frame[0], flag | said))
    elif 0 <= said < 2**16 and form <= 2:
        head = struct.pack(">BBH", frame[0], flag | 126, said)
    else:
        head = struct.pack(">BBQ", frame[0], flag | 127, said % 2**64)
    return head + (bytes(4) if flag else b"") + body.payload


def _word(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Change two bytes of the payload, where a broker's counts and lengths are."""
    body = _Body.of(frame)
    if len(body.payload) < 2:
        return _flip(frame, others, random)
    at = random.choice((0, 2, random.randrange(len(body.payload) - 1)))
    word = struct.pack(">H", random.choice(_EDGES) % 2**16)
    body.payload = (body.payload[:at] + word + body.payload[at + 2 :])[: len(body.payload)]
    return body.framed()


def _remask(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Mask the payload, or take the mask away."""
    body = _Body.of(frame)
    if random.random() < 0.3:
        return (
            masked(body.payload) if not frame[1:2] or not frame[1] & 0x80 else b"\x82\x05" + body.payload[:5]
        )
    key = random.randbytes(4)
    whole = masked(bytes(byte ^ key[n % 4] for n, byte in enumerate(body.payload)), frame[0] & 0x0F)
    at = len(whole) - len(body.payload)
    return whole[: at - 4] + key + whole[at:]


def _control(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Insert a control frame before, behind, or in the middle of a frame that is cut into two fragments."""
    opcode = random.choice((8, 9, 10))
    payload = random.randbytes(random.choice((0, 1, 2, 60, 125, 126, 300)))
    if opcode == 8 and random.random() < 0.7:
        payload = (
            struct.pack(">H", random.choice((999, 1000, 1001, 1004, 1005, 1006, 3000, 5000, 65_535)))
            + payload
        )
    masks = len(frame) > 1 and frame[1] & 0x80
    inserted = masked(payload, opcode) if masks else _unmasked(0x80 | opcode, payload)
    where = random.randrange(3)
    if where < 2:
        return inserted + frame if where else frame + inserted
    body = _Body.of(frame)
    at = random.randrange(len(body.payload) + 1)
    parts = (frame[0] & 0x0F, body.payload[:at]), (0x80, body.payload[at:])
    if masks:
        start, rest = (bytes((first,)) + masked(part)[1:] for first, part in parts)
    else:
        start, rest = (_unmasked(first, part) for first, part in parts)
    return start + inserted + rest


def _unmasked(first: int, payload: bytes) -> bytes:
    size = len(payload)
    if size < 126:
        return bytes((first, size)) + payload
    return (
        struct.pack(">BBH" if size < 2**16 else ">BBQ", first, 126 if size < 2**16 else 127, size) + payload
    )


_OF_FRAMES: tuple[_Mutator, ...] = (_head, _resize, _resize, _word, _remask, _control, _control)


# -- of HTTP requests -----------------------------------------------------------------------------------


def _length(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Have a request say another length, also those of its chunks."""
    said = random.choice((*_NUMBERS, b"%d" % random.randrange(200)))
    if _LENGTH.search(frame):
        return _LENGTH.sub(lambda found: found[1] + said, frame, count=1)
    return re.sub(rb"\r\n[0-9a-f]{1,4}\r\n", lambda found: b"\r\n" + said + b"\r\n", frame, count=2)


def _queue(frame: bytes, others: Sequence[bytes], random: Random) -> bytes:
    """Insert a line into the head of a request, or twist one that is there."""
    head, end, rest = frame.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    at = random.randrange(len(lines) + 1)
    if random.random() < 0.6:
        lines.insert(at, random.choice(_LINES))
    else:
        lines[at - 1] = random.choice(
            (lines[at - 1].upper(), lines[at - 1][::-1], lines[at - 1].replace(b"/", b"//"))
        )
    return random.choice((b"\r\n", b"\r\n", b"\r\n", b"\n")).join(lines) + end + rest


_OF_HTTP: tuple[_Mutator, ...] = (_length, _length, _queue, _queue)


@dataclass
class _Body:
    """What a frame or a request carries, and how to wrap it again."""

    payload: bytes
    #: The first byte of a frame, and whether it is masked; None for a request.
    first: int | None = None
    masks: bool = False
    head: bytes = b""

    @classmethod
    def of(cls, frame: bytes) -> _Body:
        if frame[:4] in (b"POST", b"GET ", b"OPTI", b"HEAD"):
            head, end, payload = frame.partition(b"\r\n\r\n")
            return cls(payload, head=head + end)
        if len(frame) < 2:
            return cls(b"", frame[0] if frame else 0x81)
        masks = bool(frame[1] & 0x80)
        begin = {126: 4, 127: 10}.get(frame[1] & 0x7F, 2) + 4 * masks
        return cls(frame[begin:], frame[0], masks)

    def framed(self) -> bytes:
        if self.first is None:
            said = b"%d" % len(self.payload)
            return _LENGTH.sub(lambda found: found[1] + said, self.head, count=1) + self.payload
        if self.masks:
            return bytes((self.first,)) + masked(self.payload)[1:]
        return _unmasked(self.first, self.payload)
