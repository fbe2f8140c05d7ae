"""What has turned out to cost most of what can be sent to a gateway, by its name."""

from __future__ import annotations

import json
import struct

from brokerpool.transport.client import MAX_MESSAGE_BYTES as FROM_BROKER
from tests.fuzz.conversations import Target
from tests.fuzz.strategies import EXPOSED_TOKEN, frame, request
from tests.gateway_client import KEY, masked

_PAIR = b'{"symbol":"N","exchange":"NSE"}'
_PRICE = struct.pack(">HHIi", 1, 8, EXPOSED_TOKEN, 150_000)
_KEY = json.dumps(KEY).encode()


def _body(path: bytes, body: bytes) -> bytes:
    headers = [(b"Host", b"localhost"), (b"Content-Type", b"application/json")]
    return request(b"POST", b"/api/v1/" + path, headers, body, "length", 1)


def _from_broker(payload: bytes, first: int = 0x82) -> bytes:
    return frame(payload, first, None, None, 1)


_LONG = _from_broker(struct.pack(">H", 6_000) + _PRICE[2:] * 6_000)
#: Where it is sent, and all of it, which leaves in one piece.
DEAREST: dict[str, tuple[Target, bytes]] = {
    "a client's empty pings": (Target.CLIENT, masked(b"", opcode=9) * 20_000),
    "a stranger's empty pings": (Target.STRANGER, masked(b"", opcode=9) * 20_000),
    "a stranger's empty fragments": (
        Target.STRANGER,
        b"\x01" + masked(b"")[1:] + (b"\x00\x80" + bytes(4)) * 20_000,
    ),
    "a client's smallest requests": (Target.CLIENT, masked(b"{}") * 10_000),
    "a client's single subscribes": (
        Target.CLIENT,
        b"".join(masked(b'{"action":"subscribe","exchange":"NSE","symbol":"%d"}' % n) for n in range(2_000)),
    ),
    "a body in chunks of one byte": (
        Target.HTTP,
        request(b"POST", b"/api/v1/ping", [(b"Host", b"localhost")], bytes(60_000), "chunks", 1),
    ),
    "a body of as many pairs as it holds": (
        Target.HTTP,
        _body(b"multiquotes", b'{"apikey":%s,"symbols":[%s]}' % (_KEY, b",".join([_PAIR] * 8_000))),
    ),
    "a body of as many members as it holds": (
        Target.HTTP,
        _body(b"quotes", b'{"apikey":%s,%s}' % (_KEY, b",".join(b'"%x":1' % n for n in range(24_000)))),
    ),
    "requests by the thousand": (
        Target.HTTP,
        b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n" * 4_000,
    ),
    "a broker's heartbeats": (Target.BROKER, _from_broker(b"\x00") * 60_000),
    "a broker's empty messages": (Target.BROKER, _from_broker(b"") * 60_000),
    "a broker's smallest texts": (Target.BROKER, _from_broker(b"{}", 0x81) * 40_000),
    "a broker's empty pings": (Target.BROKER, _from_broker(b"", 0x89) * 60_000),
    "a broker's empty fragments": (Target.BROKER, b"\x02\x00" + b"\x00\x00" * 60_000),
    "a broker's single prices": (Target.BROKER, _from_broker(_PRICE) * 12_000),
    "a broker's longest list of prices": (Target.BROKER, _from_broker(b"\xff\xff" + _PRICE[2:] * 65_535)),
    "a broker's tiny messages behind long ones": (Target.BROKER, _LONG * 8 + _from_broker(b"") * 60_000),
    "a broker's tiny pings behind long messages": (
        Target.BROKER,
        _LONG * 8 + _from_broker(b"", 0x89) * 60_000,
    ),
    "a broker's heartbeats behind a long list": (Target.BROKER, _LONG + _from_broker(b"\x00") * 3),
    "a broker's part of a long message": (
        Target.BROKER,
        _from_broker(bytes(FROM_BROKER))[: FROM_BROKER // 8],
    ),
}

#: Those of which most is kept.
HEAVIEST = (
    "a client's single subscribes",
    "a body of as many pairs as it holds",
    "a body of as many members as it holds",
    "a broker's longest list of prices",
    "a broker's part of a long message",
)
