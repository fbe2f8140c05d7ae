"""Messages that are read together: each comes once, whole and in its place, however the bytes are cut."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

from hypothesis import example, given, settings
from hypothesis import strategies as st

from brokerpool.transport import Link, LinkHandler, dial, serve
from brokerpool.transport.bounded_reads import BoundedReads
from brokerpool.transport.frames import BINARY, TEXT, server_frame

#: Their heads have two and four bytes.
SIZES = (5, 130)
_CONTINUATION, _PING = 0x0, 0x9

#: Until a message has come, nobody knows where one begins.
_FIRST = b"first"

#: A message of its own where it stands at the beginning of a read.
_LOOKS_LIKE_ONE = server_frame(bytes(SIZES[0]), BINARY)

Heard = bytes | str


class Said(NamedTuple):
    """Bytes of the peer, and what is heard of them; nothing of a ping."""

    frames: bytes
    heard: Heard | None


def _binary(payload: bytes) -> Said:
    return Said(server_frame(payload, BINARY), payload)


def _text(text: str) -> Said:
    return Said(server_frame(text.encode(), TEXT), text)


def _fragments(payload: bytes) -> Said:
    first = bytearray(server_frame(payload, BINARY))
    first[0] &= 0x7F
    ping = server_frame(b"", _PING)
    return Said(bytes(first) + ping + server_frame(b"", _CONTINUATION), payload)


_payloads = st.sampled_from(SIZES).flatmap(lambda size: st.binary(min_size=size, max_size=size))
_said = st.one_of(
    _payloads.map(_binary),
    st.binary(max_size=200).map(_binary),
    st.integers(1, 5).map(lambda count: _binary(_LOOKS_LIKE_ONE * count)),
    _payloads.map(_fragments),
    st.text(max_size=5).map(_text),
    st.just(Said(server_frame(b"?", _PING), None)),
)
_alike = st.lists(_payloads.map(_binary), max_size=12)


class Listener(LinkHandler):
    """Takes runs, keeps what it hears, and has nothing read for a turn after some messages."""

    def __init__(self, pauses: Sequence[int]) -> None:
        self.heard: list[Heard] = []
        self.runs = 0
        self.end: int | None = None
        self.news = asyncio.Event()
        self.link: Link | None = None
        self._pauses = set(pauses)

    def opened(self, link: Link) -> None:
        self.link = link
        link.take_runs(SIZES)

    def text(self, message: str) -> None:
        self._hear_unless_paused(message)

    def binary(self, message: bytes | memoryview) -> None:
        self._hear_unless_paused(bytes(message))

    def run(self, frames: memoryview, head: int, size: int) -> None:
        assert size in SIZES
        assert self.link is not None
        assert not self.link.reading_paused
        self.runs += 1
        for begin in range(head, len(frames), head + size):
            self._hear(bytes(frames[begin : begin + size]))

    def closed(self, code: int, reason: str) -> None:
        self.end = code
        self.news.set()

    def _hear_unless_paused(self, message: Heard) -> None:
        assert self.link is not None
        assert not self.link.reading_paused
        self._hear(message)

    def _hear(self, message: Heard) -> None:
        self.heard.append(message)
        self.news.set()
        if len(self.heard) in self._pauses and self.link is not None:
            self.link.pause_reading()
            asyncio.get_running_loop().call_soon(self.link.resume_reading)


def _read(reads: asyncio.BufferedProtocol, data: bytes) -> None:
    """Do what a transport does that has got these bytes: the cut is where the test wants it."""
    while data:
        buffer = memoryview(reads.get_buffer(-1))
        part = data[: len(buffer)]
        buffer[: len(part)] = part
        reads.buffer_updated(len(part))
        data = data[len(part) :]


async def _heard(said: Sequence[Said], pieces: Sequence[int], pauses: Sequence[int]) -> Listener:
    """Return who has heard it all, in reads of these lengths; behind them the rest is one more."""
    server = await serve(lambda _: LinkHandler(), "127.0.0.1", 0)
    listener = Listener(pauses)
    link = await dial(f"ws://127.0.0.1:{server.port}/", listener)
    reads = link._tcp.get_protocol()
    assert isinstance(reads, BoundedReads)
    _read(reads, server_frame(_FIRST))
    data = b"".join(each.frames for each in said)
    for piece in [*pieces, len(data)]:
        _read(reads, data[:piece])
        data = data[piece:]
    wanted = sum(each.heard is not None for each in said)
    async with asyncio.timeout(5):
        while len(listener.heard) <= wanted and listener.end is None:
            listener.news.clear()
            await listener.news.wait()
    assert listener.heard.pop(0) == _FIRST.decode()
    link.abort()
    await server.close()
    return listener


@settings(max_examples=150, deadline=None)
@given(
    said=st.lists(st.one_of(_alike, st.lists(_said, max_size=4)), max_size=6).map(
        lambda parts: [each for part in parts for each in part]
    ),
    pieces=st.lists(st.integers(1, 15) | st.integers(100, 600), max_size=20),
    pauses=st.lists(st.integers(1, 20), max_size=2),
)
@example(said=[_fragments(bytes(5)), *[_binary(bytes(5))] * 3], pieces=[7, 9], pauses=[])
@example(said=[_binary(_LOOKS_LIKE_ONE * 2)], pieces=[2], pauses=[])
@example(said=[_text("x"), _binary(_LOOKS_LIKE_ONE * 2)], pieces=[5], pauses=[])
@example(said=[*[_binary(bytes(5))] * 3, *[_binary(bytes(130))] * 3], pieces=[], pauses=[2])
@example(said=[_binary(bytes(130))] * 4, pieces=[135, 133, 1, 131], pauses=[2])
def test_each_message_is_heard_once_and_in_order(
    said: list[Said], pieces: list[int], pauses: list[int]
) -> None:
    listener = asyncio.run(_heard(said, pieces, pauses))
    assert listener.heard == [each.heard for each in said if each.heard is not None]


def test_messages_of_one_size_come_together_though_a_read_ends_in_the_midst_of_one() -> None:
    said = [_binary(bytes([number]) * 130) for number in range(100)]
    listener = asyncio.run(_heard(said, [1000, 1000, 3001, 4000], []))
    assert listener.heard == [each.heard for each in said]
    assert listener.runs == 5, "each read is one run, and what is cut off begins the next one"


def test_a_message_in_the_midst_of_another_one_breaks_the_protocol_though_it_could_be_of_a_run() -> None:
    begun = bytearray(server_frame(b"begun", BINARY))
    begun[0] &= 0x7F
    said = [Said(bytes(begun), None), _binary(bytes(5))]
    listener = asyncio.run(_heard(said, [len(begun)], []))
    assert (listener.heard, listener.end) == ([], 1002)
