"""Upstox's rows of the usual shape: they are read by hand, and are what protobuf reads of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from brokerpool.brokers.upstox import codec, messages
from brokerpool.brokers.upstox.codec import UpstoxWire
from brokerpool.brokers.upstox.quote_rows import read_quote, start_of_row
from brokerpool.brokers.wire import ControlBatch
from brokerpool.instruments import Instrument, Token
from brokerpool.simulator.upstox import protobuf
from brokerpool.ticks import DepthTick, Mode, QuoteTick

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/upstox_v3_vectors.json").read_text())["vectors"]
KEY = "NSE_FO|45450"
START = len(start_of_row(KEY))
FUTURE = Instrument("NFO", "X")
ROUTES: dict[Token, Instrument] = {KEY: FUTURE}
NOW = 1_790_000_000_000


def field(number: int, value: float) -> bytes:
    """A double that is written even where it is 0."""
    return protobuf.varint(number << 3 | 1) + struct.pack("<d", value)


def usual_row(*, cut: int = 0, volume: int = 8_123_475, quantity: int = 75, **other: Any) -> bytes:
    """An option's row as the server writes it, but for what is `other`; its market is `cut` bytes short."""
    parts = {
        "ltpc": protobuf.ltpc(219.3, NOW, quantity, 494.05),
        "book": protobuf.book([protobuf.level(300, 219.2, 75, 219.3)] * 5),
        "greeks": protobuf.greeks(0.5, -12.3, 0.0009, 11.2, 1.5),
        "bars": protobuf.bars(
            [
                protobuf.bar("1d", 300.0, 311.2, 210.0, 219.3, volume, NOW),
                protobuf.bar("I1", 218.0, 220.0, 218.0, 219.3, 1500, NOW),
            ]
        ),
    }
    numbers = {
        "average": 250.25,
        "volume": volume,
        "oi": 5e5,
        "volatility": 0.15,
        "buys": 9e4,
        "sells": 8e4,
    }
    mode = other.pop("mode", protobuf.FULL_D5)
    market = protobuf.market(**{name: other.get(name, part) for name, part in (parts | numbers).items()})
    return protobuf.full_row(KEY, market=market[: len(market) - cut], mode=mode)


def read(row: bytes) -> QuoteTick | None:
    return read_quote(row, START, FUTURE, NOW) if row.startswith(start_of_row(KEY)) else None


def quotes_wire() -> UpstoxWire:
    wire = UpstoxWire()
    wire.requests(ControlBatch(add={KEY: Mode.QUOTE}))
    return wire


def by_protobuf(row: bytes) -> list[Any]:
    with patch.object(codec, "read_quote", return_value=None):
        return told(quotes_wire(), row)


def told(wire: UpstoxWire, *rows: bytes) -> list[Any]:
    """What comes of rows: ticks to the bit, as JSON has no -0.0, and counters."""
    ticks = wire.binary(protobuf.feed([protobuf.record(row) for row in rows], NOW), ROUTES, 1)
    return [[(type(tick), repr(tick)) for tick in ticks], wire.skipped]


# Reads what a quote leaves unread as bytes, and so does not ask whether they are well-formed.
_LOOSE = messages._classes(
    {
        **messages._SCHEMA,
        "MarketFull": {**messages._SCHEMA["MarketFull"], "book": (2, "bytes"), "bars": (4, "bytes")},
    }
)["Entry"]


def without_unread_parts(row: bytes) -> bytes:
    """The row with nothing in its book and with its first bar alone."""
    loose = _LOOSE.FromString(row)
    market = loose.feed.full.market
    market.book = b"\x0a\x00"
    market.bars = market.bars[: 2 + market.bars[1]]
    return bytes(loose.SerializeToString())


def assert_read_as_by_protobuf(row: bytes) -> None:
    expected = by_protobuf(row)
    if read(row) is not None and expected[1]["malformed"]:
        # The documented difference: what is broken was not read, and all else was right.
        expected = by_protobuf(without_unread_parts(row))
    wire = quotes_wire()
    assert told(wire, row) == expected
    if expected[0]:
        assert wire._last == {KEY: row} or isinstance(wire._last[KEY], DepthTick)


# -- rows ---------------------------------------------------------------------------------------------------


def of_bits(bits: int) -> st.SearchStrategy[int]:
    return st.integers(2 ** (bits - 1), 2**bits - 1)


prices = st.one_of(
    st.integers(0, 10_000_000).map(lambda paise: paise / 100),
    st.sampled_from([0.0, -0.0, 0.05, 1e-300, 1e9, 1.7e308, -1.7e308]),
    st.floats(),
)
counts = st.one_of(
    st.integers(0, 300),
    st.integers(1, 40).flatmap(of_bits),
    st.sampled_from([2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**70 - 1]),
)
times = st.one_of(st.just(NOW), counts)
levels = st.builds(protobuf.level, counts, prices, counts, prices)
names = st.sampled_from(["1d", "1d", "I1", ""])
bars = st.builds(protobuf.bar, names, prices, prices, prices, prices, counts, times)
strange = st.one_of(
    st.just(b""),
    st.builds(protobuf.integer, st.integers(1, 40), counts),
    st.builds(field, st.integers(1, 40), prices),
    st.builds(protobuf.message, st.integers(1, 40), st.binary(max_size=9)),
)


@st.composite
def any_rows(draw: st.DrawFn) -> bytes:
    """A row of which anything may be different from the usual one, and mostly little is."""

    def often(usual: Any, other: st.SearchStrategy[Any]) -> Any:
        return draw(other) if draw(st.integers(0, 15)) == 9 else usual

    def count(bits: int) -> int:
        number: int = often(draw(st.integers(1, bits).flatmap(of_bits)), counts)
        return number

    ltpc = protobuf.ltpc(often(219.3, prices), often(NOW, times), count(21), often(494.05, prices)) + often(
        b"", strange
    )
    day = [
        "1d",
        often(300.0, prices),
        often(311.2, prices),
        often(210.0, prices),
        often(219.3, prices),
        count(35),
        often(NOW, times),
    ]
    first = often(protobuf.bar(*day), bars) + often(b"", strange)
    minute = often(protobuf.bar("I1", 1.5, 1.5, 1.5, 1.5, count(35), NOW), bars)
    market = protobuf.market(
        ltpc,
        protobuf.book(draw(st.lists(levels, max_size=5))),
        often(
            draw(st.sampled_from([b"", protobuf.greeks(0.5, -12.3, 0.1, 11.2, 1.5)])), st.binary(max_size=150)
        ),
        often(protobuf.bars([first, minute]), st.lists(bars, max_size=4).map(protobuf.bars)),
        average=often(250.25, prices),
        volume=count(35),
        oi=often(5e5, prices),
        volatility=draw(st.sampled_from([0.0, 0.15])),
        buys=often(9e4, prices),
        sells=often(8e4, prices),
    )
    full = protobuf.message(1, market + often(b"", strange))
    feed = protobuf.message(2, full + often(b"", strange)) + protobuf.integer(4, draw(st.integers(0, 130)))
    key = protobuf.text(1, often(KEY, st.sampled_from(["NSE_FO|1", "", "é" * 70])))
    row: bytes = key + protobuf.message(2, feed + often(b"", strange)) + often(b"", strange)
    return row


@given(any_rows())
def test_a_row_is_what_protobuf_reads_of_it_whatever_it_holds(row: bytes) -> None:
    assert_read_as_by_protobuf(row)


@given(
    row=st.one_of(st.just(usual_row()), st.just(usual_row(greeks=b"", volatility=0.0, mode=0)), any_rows()),
    at=st.integers(0, 450),
    put=st.one_of(st.binary(max_size=9), st.sampled_from([b"\x80", b"\x80\x00", b"\x11", b" \x01", b"\xff"])),
    more=st.sampled_from([0, 0, 0, -1, 1, 9]),
)
def test_a_damaged_row_is_what_protobuf_reads_of_it(row: bytes, at: int, put: bytes, more: int) -> None:
    """Some bytes stand where others, or more or less of them, stood."""
    assert_read_as_by_protobuf(row[:at] + put + row[max(0, at + len(put) - more) :])


USUAL = {
    "an option": usual_row(),
    "a future": usual_row(greeks=b"", volatility=0.0),
    "a share": usual_row(greeks=b"", volatility=0.0, oi=0.0),
    "an open interest of nobody": usual_row(oi=0.0),
    "no requestMode": usual_row(mode=0),
    "the first trade": usual_row(volume=75),
    "the second": usual_row(volume=150, quantity=128),
    "a busy share": usual_row(volume=2**35 - 1, quantity=2**21 - 1),
    "a book of 127 bytes": usual_row(book=protobuf.message(2, bytes(125))),
    "a book of 128 bytes": usual_row(book=protobuf.message(2, bytes(126))),
    "a short book": usual_row(book=protobuf.book([protobuf.level(1, 2.0, 3, 4.0)])),
}


@pytest.mark.parametrize("row", USUAL.values(), ids=USUAL)
def test_every_byte_of_a_usual_row_is_read_as_protobuf_reads_it(row: bytes) -> None:
    """Each one is changed in all eight bits, left out, and put in twice."""
    for at in range(len(row)):
        for bit in range(8):
            assert_read_as_by_protobuf(row[:at] + bytes((row[at] ^ 1 << bit,)) + row[at + 1 :])
        assert_read_as_by_protobuf(row[:at] + row[at + 1 :])
        assert_read_as_by_protobuf(row[: at + 1] + row[at:])
        assert_read_as_by_protobuf(row[:at])


@pytest.mark.parametrize("value", [0.0, -0.0, 1.7e308, float("inf"), float("nan")])
def test_a_double_that_is_nothing_or_no_number_is_taken_as_by_protobuf(value):
    row, double = usual_row(), struct.pack("<d", value)
    for at in range(len(row) - 7):
        assert_read_as_by_protobuf(row[:at] + double + row[at + 8 :])


def test_prices_that_add_up_to_no_number_in_the_order_of_protobufs_way_are_counted_as_there():
    most = 1.7e308
    day = protobuf.bar("1d", most, -most, -most, 1.0, 100, NOW)
    assert_read_as_by_protobuf(usual_row(average=most, bars=protobuf.bars([day])))


@pytest.mark.parametrize("mode", [0, 1, 0x20, 0x51, 0x100])
def test_a_market_that_ends_too_early_in_a_row_of_the_right_lengths_is_read_as_by_protobuf(mode):
    for cut in range(60):
        assert_read_as_by_protobuf(usual_row(cut=cut, mode=mode))


@given(st.floats(-1e10, 1e10) | st.integers(-(10**9), 10**9).map(lambda n: n / 20_000), prices)
@example(0.00005, 1.0)
def test_the_change_is_rounded_as_by_round(change: float, close: float) -> None:
    row = usual_row(ltpc=protobuf.ltpc(close + change, NOW, 75, close))
    quote = read(row)
    assume(quote)
    assert quote
    assert repr(quote.change) == repr(round(quote.ltp - close, 4))


# -- what takes the short way -------------------------------------------------------------------------------


def rows_of(message: bytes) -> Iterator[bytes]:
    return (content for number, content in protobuf.fields(message) if number == 2)


@pytest.mark.parametrize("row", USUAL.values(), ids=USUAL)
def test_a_row_of_the_usual_shape_is_read_by_hand(row: bytes) -> None:
    assert read(row) is not None
    with patch.object(codec, "_parse_row", side_effect=AssertionError("protobuf's classes")):
        assert len(told(quotes_wire(), row)[0]) == 1


@pytest.mark.parametrize(
    ("volume", "quantity"),
    [(1, 1), (127, 127), (128, 128), (2**14, 2**14), (2**21, 1), (2**28, 1), (2**35 - 1, 2**21 - 1)],
)
def test_numbers_of_every_usual_length_are_read_by_hand(volume: int, quantity: int) -> None:
    quote = read(usual_row(volume=volume, quantity=quantity))
    assert quote is not None
    assert (quote.volume, quote.last_trade_quantity) == (volume, quantity)


def test_the_whole_rows_of_markets_that_were_recorded_are_read_by_hand() -> None:
    whole = {
        v["name"]: bytes.fromhex(v["frame_hex"]) for v in VECTORS if v["name"].startswith("live_feed_full")
    }
    found = {
        name: [read_quote(row, row[1] + 3, FUTURE, NOW) for row in rows_of(m)] for name, m in whole.items()
    }
    assert [name for name, quotes in found.items() if any(quotes)] == ["live_feed_full_d5"]


# -- what was left unread -----------------------------------------------------------------------------------


def test_a_broken_book_costs_no_quote_and_is_counted_when_it_is_wanted() -> None:
    broken = usual_row(book=b"\x0a\xff")
    wire = quotes_wire()
    (quote,) = wire.binary(protobuf.feed([protobuf.record(broken)], NOW), ROUTES, 1)
    assert repr(quote) == repr(read(usual_row()))
    wire.requests(ControlBatch(remode={KEY: Mode.DEPTH}))
    update = protobuf.full_row(KEY, market=protobuf.integer(6, 8_123_476))
    assert told(wire, update) == [[], dict(wire.skipped, malformed=1)]
    assert len(told(wire, usual_row(), update)[0]) == 2


def test_a_quote_that_becomes_a_depth_has_its_book_when_the_update_leaves_it_out() -> None:
    wire = quotes_wire()
    told(wire, usual_row())
    wire.requests(ControlBatch(remode={KEY: Mode.DEPTH}))
    update = protobuf.full_row(KEY, market=protobuf.message(1, protobuf.ltpc(220.0, NOW, 1, 494.05)))
    (deep,) = wire.binary(protobuf.feed([protobuf.record(update)], NOW), ROUTES, 1)
    assert isinstance(deep, DepthTick)
    assert (deep.ltp, len(deep.buy), deep.buy[0].price, deep.open) == (220.0, 5, 219.2, 300.0)


def test_a_quote_of_what_is_routed_no_more_is_counted_and_of_what_is_routed_anew_is_that() -> None:
    wire = quotes_wire()
    message = protobuf.feed([protobuf.record(usual_row())], NOW)
    assert wire.binary(message, {}, 1) == []
    assert wire.skipped["unknown_token"] == 1
    (quote,) = wire.binary(message, {KEY: Instrument("NFO", "Y")}, 1)
    assert quote == read_quote(usual_row(), START, Instrument("NFO", "Y"), NOW)


@pytest.mark.parametrize("batch", [ControlBatch(drop=[KEY]), ControlBatch(remode={KEY: Mode.DEPTH})])
def test_what_is_wanted_as_a_quote_no_more_is_read_whole(batch: ControlBatch) -> None:
    wire = quotes_wire()
    wire.requests(batch)
    ((kind, _),) = told(wire, usual_row())[0]
    assert kind is DepthTick
