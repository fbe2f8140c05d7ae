"""A message of Upstox's feed is cut into the rows that protobuf reads, or left to protobuf."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from brokerpool.brokers.upstox.feed_rows import feed_rows
from brokerpool.brokers.upstox.messages import DecodeError, FeedResponse

rows = st.binary(max_size=300) | st.integers(0, 20_000).map(bytes)
usual = st.builds(
    lambda kind, feeds, at: FeedResponse(type=kind, feeds=feeds, current_ts=at).SerializeToString(),
    st.integers(0, 2),
    st.lists(rows, max_size=5),
    st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1_790_000_000_000]),
)


def by_protobuf(message: bytes) -> tuple[list[bytes], int] | None:
    try:
        read = FeedResponse.FromString(message)
    except DecodeError:
        return None
    return (list(read.feeds), read.current_ts) if not read.HasField("market_info") else None


@given(usual)
def test_a_message_of_rows_is_cut_as_protobuf_does(message: bytes) -> None:
    cut = feed_rows(message)
    assert cut is None or cut == by_protobuf(message)


def test_what_the_feed_sends_all_day_needs_no_protobuf() -> None:
    feeds = [bytes(length) for length in (0, 1, 127, 128, 393, 16_383)]
    message = FeedResponse(type=1, feeds=feeds, current_ts=1_790_000_000_000).SerializeToString()
    assert feed_rows(message) == (feeds, 1_790_000_000_000)


@given(
    usual,
    st.lists(
        st.tuples(st.integers(0, 400), st.integers(0, 2), st.binary(max_size=2)), min_size=1, max_size=4
    ),
)
@example(b"\x12\x02a", [(9, 0, b"")])
@example(b"\x12\x80\x00", [(9, 0, b"")])
@example(b"\x18\x80\x00", [(9, 0, b"")])
def test_a_damaged_message_is_cut_as_protobuf_does_or_left_to_it(
    message: bytes, damages: list[tuple[int, int, bytes]]
) -> None:
    for at, cut, put in damages:
        message = message[:at] + put + message[at + cut :]
    found = feed_rows(message)
    assert found is None or found == by_protobuf(message)
