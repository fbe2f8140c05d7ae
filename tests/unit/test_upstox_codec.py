"""Upstox's feed: the official SDK's values, parts that are left out, and nothing lost beside a broken row."""

from __future__ import annotations

import json
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.upstox.codec import UpstoxWire
from brokerpool.brokers.upstox.messages import Entry, FeedResponse
from brokerpool.brokers.wire import ControlBatch, Signal, SignalKind
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthTick, Mode, QuoteTick
from tests.sdk.upstox_words import of_ours, of_theirs

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/upstox_v3_vectors.json").read_text())["vectors"]
BY_NAME = {vector["name"]: vector for vector in VECTORS}
KEY = "NSE_FO|45450"
RECEIVED_MS = 1_790_000_000_123


class Anything(dict[Token, Instrument]):
    """Routes in which every key is subscribed under its own name."""

    def get(self, token: Token, default: object = None) -> Any:
        return Instrument("NFO", str(token))


def frame(name: str) -> bytes:
    return bytes.fromhex(BY_NAME[name]["frame_hex"])


def feed(at: int = 0, **rows: Any) -> bytes:
    """A message with one row for each keyword; the feed's fields as protobuf takes them."""
    packed = [Entry(key=f"NSE_FO|{key[1:]}", feed=row).SerializeToString() for key, row in rows.items()]
    message: bytes = FeedResponse(type=1, feeds=packed, current_ts=at).SerializeToString()
    return message


def decode(*messages: bytes) -> tuple[list[Any], dict[str, int]]:
    wire = UpstoxWire()
    ticks = [tick for message in messages for tick in wire.binary(message, Anything(), RECEIVED_MS)]
    return ticks, {reason: count for reason, count in wire.skipped.items() if count}


TOLD_WHOLE = [
    vector
    for vector in VECTORS
    if "feeds" in vector["expected"]
    and vector["name"] not in ("live_feed_option_greeks", "live_feed_depth_only")
]


@pytest.mark.parametrize("vector", TOLD_WHOLE, ids=lambda v: v["name"])
@pytest.mark.parametrize("form", [bytes, memoryview])
def test_every_feed_decodes_to_what_the_official_sdk_returns(vector, form):
    wire = UpstoxWire()
    ticks = wire.binary(form(bytes.fromhex(vector["frame_hex"])), Anything(), RECEIVED_MS)
    told = vector["expected"]
    # The SDK keeps rows in a dictionary, in no order.
    assert {tick.instrument.symbol: of_ours(tick) for tick in ticks} == {
        key: of_theirs(row) for key, row in told["feeds"].items()
    }
    assert {tick.timestamp for tick in ticks} == {int(told["currentTs"])}
    assert not any(wire.skipped.values())


@pytest.mark.parametrize("name", ["market_info", "market_info_session_maps"])
def test_the_status_of_the_market_is_told_and_is_no_tick(name):
    wire = UpstoxWire()
    assert wire.binary(frame(name), Anything(), RECEIVED_MS) == []
    (signal,) = wire.signals
    assert signal.kind is SignalKind.TOLD
    told = BY_NAME[name]["expected"]["marketInfo"]["segmentStatus"]
    words = {"NORMAL_OPEN": "open", "PRE_OPEN_START": "pre-open"}
    assert set(str(signal.text).split(", ")) == {f"{key} {words[status]}" for key, status in told.items()}
    assert not any(wire.skipped.values())


def test_greeks_that_were_not_asked_for_are_counted_and_make_no_tick():
    assert decode(frame("live_feed_option_greeks")) == ([], {"unknown_feed": 1})


def test_an_update_of_the_book_alone_keeps_the_price_and_the_day_that_were_told_before():
    (before, after), skipped = decode(frame("live_feed_full_d5"), frame("live_feed_depth_only"))
    assert not skipped
    assert (after.ltp, after.close, after.open, after.volume) == (219.3, 494.05, 300.0, 8123475)
    assert (after.change, after.change_percent) == (before.change, before.change_percent)
    assert after.total_buy_quantity == 1  # what it does tell


def test_an_update_without_a_price_is_no_tick_where_none_was_told_before():
    assert decode(frame("live_feed_depth_only")) == ([], {"no_price": 1})


def test_what_is_told_as_nothing_beside_a_price_is_nothing():
    whole = {"full": {"market": {"ltpc": {"ltp": 5, "cp": 4}, "vtt": 70, "oi": 9, "book": {}, "bars": {}}}}
    later = {"full": {"market": {"ltpc": {"ltp": 6, "cp": 4}}}}
    book = {"full": {"market": {"book": {"levels": [{"bid_quantity": 1, "bid_price": 5}]}}}}
    (_, tick, last), _ = decode(feed(_1=whole), feed(_1=later), feed(_1=book))
    assert (tick.ltp, tick.volume, tick.oi) == (6.0, 0, 0)
    assert (last.ltp, last.volume, len(last.buy)) == (6.0, 0, 1)


def test_a_symbol_that_was_dropped_or_came_in_another_mode_is_not_completed_from_before():
    for between in (
        ControlBatch(drop=[KEY]),
        ControlBatch(remode={KEY: Mode.LTP}),
    ):
        wire = UpstoxWire()
        wire.requests(ControlBatch(add={KEY: Mode.DEPTH}))
        assert wire.binary(frame("live_feed_full_d5"), Anything(), RECEIVED_MS)
        wire.requests(between)
        assert wire.binary(frame("live_feed_depth_only"), Anything(), RECEIVED_MS) == []


def test_where_a_quote_is_wanted_the_book_is_left_unread_until_it_is_wanted():
    wire = UpstoxWire()
    wire.requests(ControlBatch(add={KEY: Mode.QUOTE}))
    (quote,) = wire.binary(frame("live_feed_full_d5"), Anything(), RECEIVED_MS)
    (whole,), _ = decode(frame("live_feed_full_d5"))
    assert type(quote) is QuoteTick
    assert quote == QuoteTick(*(getattr(whole, name) for name in QuoteTick.__struct_fields__))
    wire.requests(ControlBatch(remode={KEY: Mode.DEPTH}))  # the broker need not be told
    (deep,) = wire.binary(frame("live_feed_depth_only"), Anything(), RECEIVED_MS)
    (_, told), _ = decode(frame("live_feed_full_d5"), frame("live_feed_depth_only"))
    assert deep == told
    wire.requests(ControlBatch(remode={KEY: Mode.QUOTE}))
    (update,) = wire.binary(feed(_45450={"full": {"market": {"vtt": 8123476}}}), Anything(), RECEIVED_MS)
    assert isinstance(update, DepthTick)  # it tells a part, for which what is remembered is read whole
    assert (update.ltp, update.volume, update.buy) == (whole.ltp, 8123476, told.buy)


def test_a_message_without_a_time_bears_that_of_its_receipt():
    (tick,), _ = decode(feed(_1={"ltpc": {"ltp": 7.5}}))
    assert (tick.timestamp, tick.ltp) == (RECEIVED_MS, 7.5)
    assert not isinstance(tick, QuoteTick)


def test_the_change_is_from_the_previous_close_and_not_a_sum_of_rounding_errors():
    (tick,), _ = decode(feed(_1={"full": {"market": {"ltpc": {"ltp": 1573.7, "cp": 1567.8}}}}))
    assert (tick.change, round(tick.change_percent, 4)) == (5.9, 0.3763)


@pytest.mark.parametrize("price", [0.0, float("nan"), float("inf")])
def test_a_price_that_is_none_makes_no_tick(price):
    for row in ({"ltpc": {"ltp": price}}, {"full": {"index": {"ltpc": {"ltp": price}}}}):
        assert decode(feed(_1=row)) == ([], {"no_price": 1})


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_row_with_any_price_or_quantity_that_is_no_number_is_left_out(wrong):
    ltpc = {"ltp": 1.0, "cp": 1.0}
    rows = [
        {"market": {"ltpc": ltpc, "atp": wrong}},
        {"market": {"ltpc": ltpc, "oi": wrong}},
        {"market": {"ltpc": ltpc, "tbq": wrong}},
        {"market": {"ltpc": {"ltp": 1.0, "cp": wrong}}},
        {"market": {"ltpc": ltpc, "bars": {"bars": [{"interval": "1d", "high": wrong}]}}},
        {"market": {"ltpc": ltpc, "book": {"levels": [{"bid_price": 1.0, "ask_price": wrong}]}}},
        {"index": {"ltpc": ltpc, "bars": {"bars": [{"interval": "1d", "low": wrong}]}}},
    ]
    for row in rows:
        assert decode(feed(_1={"full": row})) == ([], {"malformed": 1})


def test_a_broken_row_costs_itself_and_no_other():
    good = Entry(key=KEY, feed={"ltpc": {"ltp": 1.0}}).SerializeToString()
    nan = Entry(key=KEY, feed={"full": {"market": {"ltpc": {"ltp": 1.0}, "oi": float("nan")}}})
    rows = [good, good[:-3], b"\x0a\x02\xff\xff" + good[14:], nan.SerializeToString(), good]
    ticks, skipped = decode(FeedResponse(feeds=rows).SerializeToString())
    assert [tick.ltp for tick in ticks] == [1.0, 1.0]
    assert skipped == {"malformed": 3}


def test_what_nobody_asked_for_is_counted():
    wire = UpstoxWire()
    assert wire.binary(frame("live_feed_ltpc"), {}, RECEIVED_MS) == []
    assert wire.skipped["unknown_token"] == 1


def test_a_message_that_is_no_protobuf_is_counted_once():
    assert decode(b"\xff\xff\xff", b"", frame("live_feed_ltpc")[:-9]) == ([], {"malformed": 2})


def test_a_long_message_is_cut_into_parts_of_a_hundred_with_the_time_of_the_whole():
    message = feed(1_740_000_000_000, **{f"_{n}": {"ltpc": {"ltp": n + 1.0}} for n in range(1050)})
    wire = UpstoxWire()
    parts = [wire.binary(part, Anything(), 1) for part in wire.parts(message) if isinstance(part, bytes)]
    assert [len(part) for part in parts] == [100] * 10 + [50]
    assert [tick for part in parts for tick in part] == UpstoxWire().binary(message, Anything(), 1)


def test_a_text_is_not_known():
    wire = UpstoxWire()
    assert wire.text("hello", {}, 1) == []
    assert wire.signals == [Signal(SignalKind.UNKNOWN, "hello")]


rows = st.one_of(
    st.binary(max_size=60),
    st.builds(
        lambda key, price, end: Entry(key=key, feed={"ltpc": {"ltp": price}}).SerializeToString()[:end],
        st.sampled_from([KEY, "NSE_EQ|X", ""]),
        st.floats(),
        st.integers(1, 60),
    ),
    st.builds(
        lambda price, oi, end: Entry(
            key=KEY, feed={"full": {"market": {"ltpc": {"ltp": price}, "oi": oi, "tbq": oi}}}
        ).SerializeToString()[:end],
        st.floats(),
        st.floats(),
        st.integers(1, 90),
    ),
)


@given(st.lists(rows, max_size=8))
def test_every_row_is_a_tick_or_counted_whatever_it_holds(given_rows: list[bytes]) -> None:
    wire = UpstoxWire()
    message = FeedResponse(feeds=given_rows).SerializeToString()
    ticks = wire.binary(message, {KEY: Instrument("NFO", "X")}, RECEIVED_MS)
    assert len(ticks) + sum(wire.skipped.values()) == len(given_rows)
    assert all(isfinite(tick.ltp) and tick.ltp for tick in ticks)


@given(st.binary(max_size=300), st.sampled_from([v["name"] for v in VECTORS]), st.integers(0, 3000))
def test_no_bytes_make_the_wire_raise(data: bytes, name: str, at: int) -> None:
    wire, whole = UpstoxWire(), frame(name)
    for message in (data, whole[:at] + data + whole[at + len(data) :]):
        for part in wire.parts(message):
            wire.binary(part.encode() if isinstance(part, str) else part, Anything(), RECEIVED_MS)


# -- requests ---------------------------------------------------------------------------------------------


def said(messages: list[bytes]) -> list[tuple[str, str | None, list[str]]]:
    read = [json.loads(message) for message in messages]
    return [(m["method"], m["data"].get("mode"), m["data"]["instrumentKeys"]) for m in read]


def test_requests_name_the_mode_of_what_is_added_and_changed_and_none_of_what_is_dropped():
    wire = UpstoxWire()
    first = wire.requests(ControlBatch(add={"A|1": Mode.LTP, "A|2": Mode.DEPTH, "A|3": Mode.QUOTE}))
    assert said(first) == [("sub", "full", ["A|2", "A|3"]), ("sub", "ltpc", ["A|1"])]
    second = wire.requests(ControlBatch(drop=["A|2"], remode={"A|1": Mode.QUOTE, "A|3": Mode.LTP}))
    assert said(second) == [
        ("unsub", None, ["A|2"]),
        ("change_mode", "full", ["A|1"]),
        ("change_mode", "ltpc", ["A|3"]),
    ]
    ids = [json.loads(message)["guid"] for message in (*first, *second)]
    assert len(set(ids)) == len(ids)


def test_no_request_leaves_for_a_mode_that_is_the_same_to_the_broker():
    wire = UpstoxWire()
    wire.requests(ControlBatch(add={"A|1": Mode.QUOTE}))
    assert wire.requests(ControlBatch(remode={"A|1": Mode.DEPTH})) == []
