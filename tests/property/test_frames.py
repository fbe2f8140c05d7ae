from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.transport.frames import (
    BINARY,
    CONTINUATION,
    INVALID_TEXT,
    PROTOCOL_ERROR,
    TEXT,
    TOO_BIG,
    MessageAssembler,
    ProtocolError,
    may_be_sent,
    server_frame,
)


def _cut(payload: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(c % (len(payload) + 1) for c in cuts), len(payload)]
    return [payload[a:b] for a, b in itertools.pairwise(edges)]


def _feed(assembler: MessageAssembler, opcode: int, fin: bool, payload: bytes) -> str | bytes | int | None:
    try:
        return assembler.feed(opcode, fin, payload)
    except ProtocolError as error:
        return error.code


@given(st.text() | st.binary(), st.lists(st.integers(0, 1000), max_size=6))
def test_a_message_cut_anywhere_comes_out_whole(message: str | bytes, cuts: list[int]) -> None:
    assembler = MessageAssembler(1_000_000)
    text = isinstance(message, str)
    parts = _cut(message.encode() if isinstance(message, str) else message, cuts)
    for n, part in enumerate(parts):
        opcode = CONTINUATION if n else TEXT if text else BINARY
        last = n == len(parts) - 1
        result = assembler.feed(opcode, last, part)
        assert (result == message) if last else (result is None)
    assert assembler.feed(TEXT, True, b"next") == "next", "nothing is left of it"


@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, CONTINUATION]), st.booleans(), st.binary(max_size=9)))
)
def test_any_sequence_of_frames_gives_messages_or_a_close_code_and_never_more_than_the_limit(
    frames: list[tuple[int, bool, bytes]],
) -> None:
    assembler = MessageAssembler(16)
    for opcode, fin, payload in frames:
        outcome = _feed(assembler, opcode, fin, payload)
        if isinstance(outcome, int):
            assert outcome in (PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG)
            return
        assert outcome is None or len(outcome) <= 16


def test_wrong_utf8_is_refused_at_its_first_fragment() -> None:
    assembler = MessageAssembler(100)
    with pytest.raises(ProtocolError) as caught:
        assembler.feed(TEXT, False, b"\xce\xba\xf4\x90\x80\x80")
    assert caught.value.code == INVALID_TEXT


@given(st.binary(max_size=70_000) | st.integers(0, 70_000).map(bytes))
def test_a_server_frame_says_its_own_length_in_the_shortest_form(payload: bytes) -> None:
    frame = server_frame(payload, BINARY)
    assert frame[0] == 0x82
    assert frame.endswith(payload)
    header = len(frame) - len(payload)
    if len(payload) < 126:
        assert (header, frame[1]) == (2, len(payload))
    elif len(payload) < 65536:
        assert (header, frame[1]) == (4, 126)
        assert int.from_bytes(frame[2:4], "big") == len(payload)
    else:
        assert (header, frame[1]) == (10, 127)
        assert int.from_bytes(frame[2:10], "big") == len(payload)


@given(st.integers(0, 65535))
def test_only_codes_of_the_registry_and_of_applications_may_be_sent(code: int) -> None:
    registered = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    assert may_be_sent(code) == (code in registered or 3000 <= code <= 4999)
