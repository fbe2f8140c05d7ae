"""What hypothesis draws for a listener or a broker's socket: good messages, nearly good ones, any bytes."""

from __future__ import annotations

import itertools
import json
import struct
from collections.abc import Sequence
from datetime import date
from typing import Any, TypeVar

from hypothesis import strategies as st

from brokerpool.simulator.listed_instruments import listings
from brokerpool.simulator.zerodha import instruments
from tests.gateway_client import KEY

T = TypeVar("T")

_ROWS = listings(60, date(2026, 1, 5), instruments)
SYMBOLS = [(row.exchange, row.tradingsymbol) for row in _ROWS]
TOKENS = [row.token for row in _ROWS]
#: One that the attacker's socket carries.
EXPOSED_TOKEN = next(token for token, (_, name) in zip(TOKENS, SYMBOLS, strict=True) if name != "INFY")
_PACKETS = (8, 28, 32, 44, 184)
#: Bytes of a small thing that is sent over and over.
_FLOOD = 150_000


def _brief(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Return the strategy with a short repr: hypothesis shows whole strategies, and warns of long ones."""

    @st.composite
    def drawn(draw: st.DrawFn) -> T:
        return draw(strategy)

    return drawn()


# Values of the wrong type, in the wrong place, and of a size that nobody expects.
odd: st.SearchStrategy[Any] = _brief(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(max_size=12)
        | st.sampled_from([KEY, "INFY", "NSE", "\u2028\x1b[2J", "x" * 5000, 10**400, -1, 1e308]),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
        max_leaves=6,
    )
)


class Pieces(list[bytes]):
    """What is sent at a time; the repr leaves out most of what is long."""

    def __repr__(self) -> str:
        return f"[{', '.join(_shown(piece) for piece in self)}]"


def _shown(piece: bytes) -> str:
    return repr(piece) if len(piece) <= 300 else f"{piece[:200]!r}...{piece[-50:]!r} of {len(piece)}"


def cut(raw: bytes, places: Sequence[int]) -> Pieces:
    """Return the bytes in pieces, cut at these places (modulo their number)."""
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    return Pieces(piece for a, b in itertools.pairwise(edges) if (piece := raw[a:b]))


def in_pieces(streams: st.SearchStrategy[bytes]) -> st.SearchStrategy[Pieces]:
    """Draw the bytes, and how they are cut."""
    return st.builds(cut, streams, st.lists(st.integers(0, 2**16), max_size=5))


# -- WebSocket frames -----------------------------------------------------------------------------------


def frame(payload: bytes, first: int, mask: bytes | None, said: int | None, form: int) -> bytes:
    """Return a frame; `said` is the length in its head, None for the true one, in at least `form` bytes."""
    size = len(payload) if said is None else said
    flag = 0x80 if mask is not None else 0
    if size < 126 and form == 1:
        head = bytes((first, flag | size))
    elif size < 2**16 and form <= 2:
        head = struct.pack(">BBH", first, flag | 126, size)
    else:
        head = struct.pack(">BBQ", first, flag | 127, size)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))


lengths = st.none() | st.sampled_from([0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 2**31, 2**63, 2**64 - 1])
_PARTS = (b"x", b"1,", b"[", b'{"a":', b"\xf0\x9f\x92\xb8", b"\xff", b'{"symbol":"INFY","exchange":"NSE"},')
long_payloads = st.builds(
    lambda part, size: (part * size)[:size],
    st.sampled_from(_PARTS),
    st.sampled_from([126, 4_096, 4_097, 65_535, 65_536, 70_000]),
)
close_payloads = st.builds(
    lambda code, reason: struct.pack(">H", code) + reason, st.integers(0, 65_535), st.binary(max_size=140)
)


def _frames(
    payloads: st.SearchStrategy[bytes], mask: st.SearchStrategy[bytes | None]
) -> st.SearchStrategy[bytes]:
    honest = st.builds(frame, payloads, st.sampled_from([0x81, 0x81, 0x82]), mask, st.none(), st.just(1))
    # Any opcode, any reserved bit, fragments, control frames that are too long, lengths that lie.
    strange = st.builds(
        frame,
        payloads | close_payloads | st.binary(max_size=130) | long_payloads,
        st.sampled_from([0x01, 0x02, 0x00, 0x80, 0x88, 0x88, 0x89, 0x8A, 0x08, 0x09]) | st.integers(0, 255),
        mask | st.none() | st.just(b"\xde\xad\xbe\xef"),
        st.none() | lengths,
        st.sampled_from([1, 1, 1, 2, 8]),
    )
    return _brief(honest | strange | st.binary(max_size=60))


entries = st.fixed_dictionaries(
    {},
    optional={
        "symbol": st.sampled_from([s for _, s in SYMBOLS]) | odd,
        "exchange": st.just("NSE") | odd,
        "mode": odd,
    },
)
_ACTIONS = (
    *("authenticate", "subscribe", "unsubscribe", "unsubscribe_all", "list_subscriptions", "ping"),
    *("subscribe_orders", "unsubscribe_orders", "get_broker_info", "get_supported_brokers"),
)
messages = st.fixed_dictionaries(
    {
        "action": st.sampled_from(_ACTIONS) | odd,
    },
    optional={
        "api_key": st.just(KEY) | odd,
        "symbols": st.lists(entries | odd, max_size=5) | odd,
        "instruments": st.lists(entries | odd, max_size=5),
        "symbol": odd,
        "exchange": odd,
        "mode": st.sampled_from([1, 2, 3, "LTP", "Depth"]) | odd,
        "depth": odd,
        "priority": odd,
        "request_id": odd,
        "timestamp": odd,
        "_pingId": odd,
    },
)


def _as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


def _joined(parts: st.SearchStrategy[bytes], most: int) -> st.SearchStrategy[bytes]:
    floods = st.builds(
        lambda part, often: part * min(often, _FLOOD // len(part)) if 0 < len(part) < 40 else part,
        parts,
        st.sampled_from([20, 10**6]),
    )
    return _brief(st.lists(parts | parts | parts | floods, min_size=1, max_size=most).map(b"".join))


masks: st.SearchStrategy[bytes | None] = st.just(bytes(4)) | st.binary(min_size=4, max_size=4)
client_frames = _joined(_frames(messages.map(_as_json) | st.binary(max_size=40), masks), 8)


# -- a broker's frames ----------------------------------------------------------------------------------


def kite_message(packets: list[bytes], count: int | None, said: int | None, repeats: int) -> bytes:
    """Return a message of packets; `count` and the length `said` of each are the true ones where None."""
    packets = packets * repeats
    lengthy = [struct.pack(">H", len(p) if said is None else said) + p for p in packets]
    return struct.pack(">H", len(packets) % 2**16 if count is None else count) + b"".join(lengthy)


packets = st.builds(
    lambda token, rest, size: (struct.pack(">I", token) + rest * 46)[:size],
    st.sampled_from(TOKENS) | st.integers(0, 2**32 - 1),
    st.binary(min_size=4, max_size=4),
    st.sampled_from(_PACKETS) | st.integers(0, 200),
)
kite_messages = st.builds(
    kite_message,
    st.lists(packets, max_size=4),
    st.none() | st.sampled_from([0, 1, 2, 65_535]),
    st.none() | st.sampled_from([0, 7, 8, 44, 184, 65_535]),
    st.sampled_from([1, 1, 1, 300, 3_000]),
)
notices = st.fixed_dictionaries({"type": st.sampled_from(["error", "order", "message"]) | odd, "data": odd})
broker_frames = _joined(_frames(kite_messages | notices.map(_as_json), st.none()), 8)


# -- HTTP requests --------------------------------------------------------------------------------------

_CALLS = ("quotes", "multiquotes", "depth", "history", "symbol", "search", "expiry", "intervals", "ping")
_PATHS = (
    *("/api/v1/" + call for call in _CALLS),
    *("/api/v1/instruments?format=csv&apikey=" + KEY, "/api/v1/ticker/NSE:INFY?interval=D&apikey=" + KEY),
    *("/health", "/health/ready", "/stats", "/metrics", "/journal?after=-1", "/explain/NSE:INFY"),
    *("/subscriptions", "/dashboard", "/dashboard/stream", "/docs", "/nowhere"),
)
_NAMES = (
    *(b"Host", b"Origin", b"Connection", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Upgrade"),
    *(b"X-API-KEY", b"Authorization", b"X-Forwarded-For", b"Forwarded", b"Content-Type", b"Cookie"),
)
_VALUES = (
    *(b"localhost", b"keep-alive", b"close", b"chunked", b"100-continue", b"websocket", b"0", b"-1"),
    *(b"Basic Og==", b"Bearer " + KEY.encode(), b"127.0.0.1", b"application/json"),
)
# Whatever is no path and no header: control characters, what is not ASCII, more than anybody reads.
_odd_bytes = _brief(
    st.binary(max_size=20) | st.sampled_from([b"", b"\x00", b"a" * 20_000, b"%00%ff../..", b" x\r\n\ty"])
)
_headers = st.lists(
    st.tuples(st.sampled_from(_NAMES) | _odd_bytes, st.sampled_from(_VALUES) | _odd_bytes), max_size=4
)
_HANDSHAKE = (
    (b"Host", b"localhost"),
    (b"Upgrade", b"websocket"),
    (b"Connection", b"Upgrade"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"Sec-WebSocket-Version", b"13"),
)
_calls = st.fixed_dictionaries(
    {"apikey": st.just(KEY) | odd},
    optional={
        "symbol": st.just("INFY") | odd,
        "exchange": st.just("NSE") | odd,
        "symbols": st.lists(entries | odd, max_size=4) | odd,
        "interval": st.just("D") | odd,
        "start_date": st.just("2026-01-05") | odd,
        "end_date": st.just("2026-01-09") | odd,
        "query": odd,
        "instrumenttype": odd,
        "source": odd,
    },
)


def request(
    method: bytes, path: bytes, headers: list[tuple[bytes, bytes]], body: bytes, framing: str, chunk: int
) -> bytes:
    """Return a request whose body is told as `framing` says: truly, with a lie, in chunks, in no way."""
    lines = [method + b" " + path + b" HTTP/1.1", *(name + b": " + value for name, value in headers)]
    if framing in ("length", "both"):
        lines.append(b"Content-Length: %d" % len(body))
    elif framing == "lie":
        lines.append(b"Content-Length: %d" % (len(body) + chunk))
    if framing in ("chunks", "both", "broken chunks"):
        lines.append(b"Transfer-Encoding: chunked")
        parts = [body[at : at + chunk] for at in range(0, len(body), chunk)]
        said = 1 if framing == "broken chunks" else 0
        body = b"".join(b"%x\r\n%s\r\n" % (len(p) + said, p) for p in parts) + b"0\r\n\r\n"
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


_requests = st.builds(
    request,
    st.sampled_from([b"POST", b"POST", b"GET", b"HEAD", b"OPTIONS", b"PUT"]) | _odd_bytes,
    st.sampled_from(_PATHS).map(str.encode) | _odd_bytes,
    _headers.map(lambda drawn: [(b"Host", b"localhost"), *drawn]) | _headers,
    _calls.map(_as_json) | st.binary(max_size=60) | long_payloads,
    st.sampled_from(["length", "length", "chunks", "lie", "both", "broken chunks", "none"]),
    st.sampled_from([1, 1, 3, 50, 4_096]),
)
http_requests = _joined(_requests | _requests | st.binary(max_size=80), 4)
_upgrades = st.builds(
    lambda path, headers: request(b"GET", path, [*_HANDSHAKE, *headers], b"", "none", 1),
    st.sampled_from([b"/", b"/?a=1&b=%ff", b"//[", b"http://[::1", b"*", b"/\x00"]) | _odd_bytes,
    _headers,
)
#: Before the WebSocket's handshake: requests, and what a client says behind one that may be good.
openings = _brief(
    http_requests | _upgrades | st.builds(lambda head, rest: head + rest, _upgrades, client_frames)
)

# -- a broker's answer to a dial ------------------------------------------------------------------------

#: What stands where the proof belongs that the broker has understood the handshake.
ACCEPT = b"<accept>"


def answer(status: bytes, headers: list[tuple[bytes, bytes]], end: bytes, rest: bytes) -> bytes:
    """Return an HTTP answer with whatever follows it."""
    return b"".join(line + b"\r\n" for line in (status, *(n + b": " + v for n, v in headers))) + end + rest


_SWITCH = [(b"Upgrade", b"websocket"), (b"Connection", b"Upgrade"), (b"Sec-WebSocket-Accept", ACCEPT)]
_STATUS_LINES = (
    *(b"HTTP/1.1 101 Switching Protocols", b"HTTP/1.1 101", b"HTTP/1.1 403 Forbidden"),
    *(b"HTTP/1.1 429 Slow down", b"HTTP/1.1 302 Found", b"HTTP/1.1 99999", b"HTTP/9"),
)
answers = _brief(
    st.builds(
        answer,
        st.sampled_from(_STATUS_LINES) | _odd_bytes,
        st.just(_SWITCH)
        | _headers
        | st.builds(lambda more: [*_SWITCH, *more], _headers)
        | st.permutations(_SWITCH),
        st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"", b"\n"]),
        broker_frames,
    )
    | st.binary(max_size=300)
)
