"""Any bytes: no exception, no tick that nobody asked for, and the official values in good frames."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from kiteconnect import KiteTicker

from brokerpool.brokers.wire import SignalKind
from brokerpool.brokers.zerodha import KiteWire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import DepthTick, QuoteTick, Tick

RECEIVED_MS = 1_790_000_000_123
EXCHANGE_TOKENS = (0, 1, 1594, 2**24 - 1)
SEGMENTS = (0, 1, 2, 3, 4, 6, 7, 9, 12, 255)
TOKENS = [(token << 8) + segment for token in EXCHANGE_TOKENS for segment in SEGMENTS]
ROUTES: dict[Token, Instrument] = {token: Instrument("NSE", str(token)) for token in TOKENS}

tokens = st.sampled_from(TOKENS)
u32 = st.integers(0, 2**32 - 1)
# The SDK reads prices unsigned, which is right up to here.
prices = st.integers(0, 2**31 - 1)
seconds = st.integers(0, 2**32 - 1)


def packed(layout: str, *parts: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(lambda values: struct.pack(layout, *values))


ltp = packed(">II", tokens, prices)
index_quote = packed(">7I", tokens, *[prices] * 5, u32)
index_full = packed(">8I", tokens, *[prices] * 5, u32, seconds)
quote = packed(">11I", tokens, prices, u32, prices, u32, u32, u32, *[prices] * 4)
levels = st.lists(packed(">IIHxx", u32, prices, st.integers(0, 2**16 - 1)), min_size=10, max_size=10)
full = st.tuples(quote, packed(">5I", seconds, u32, u32, u32, seconds), levels.map(b"".join)).map(b"".join)
mixed = st.lists(ltp | index_quote | index_full | quote | full, max_size=12)
# As a broker sends many watch lists: long runs of one kind, which are read at once, among others.
runs = st.tuples(st.lists(ltp, min_size=16, max_size=40), mixed).map(lambda parts: parts[0] + parts[1])
good_packets = mixed | runs


def frame(packets: list[bytes]) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(p)) + p for p in packets)


def decode(payload: bytes) -> tuple[list[Tick], dict[str, int]]:
    wire = KiteWire()
    return wire.binary(memoryview(payload), ROUTES, RECEIVED_MS), wire.skipped


def same_time(official: datetime | None, milliseconds: int) -> bool:
    # The SDK's time is naive and local; 0 on the wire is 1970 there and "none" here.
    return official is not None and official.astimezone(UTC).timestamp() * 1000 == milliseconds


def assert_same(official: dict[str, Any], tick: Tick) -> None:
    assert official["instrument_token"] == int(tick.instrument.symbol)
    assert official["last_price"] == tick.ltp
    if "ohlc" in official:
        assert isinstance(tick, QuoteTick)
        ohlc = {"open": tick.open, "high": tick.high, "low": tick.low, "close": tick.close}
        assert official["ohlc"] == ohlc
        assert official["change"] == tick.change_percent
    if "volume_traded" in official:
        assert isinstance(tick, QuoteTick)
        assert official["last_traded_quantity"] == tick.last_trade_quantity
        assert official["average_traded_price"] == tick.avg_trade_price
        assert official["volume_traded"] == tick.volume
        assert official["total_buy_quantity"] == tick.total_buy_quantity
        assert official["total_sell_quantity"] == tick.total_sell_quantity
    if "exchange_timestamp" in official:
        sent = tick.timestamp if tick.timestamp != RECEIVED_MS else 0
        assert same_time(official["exchange_timestamp"], sent)
    if "depth" in official:
        assert isinstance(tick, DepthTick)
        assert same_time(official["last_trade_time"], tick.last_trade_time)
        assert (official["oi"], official["oi_day_high"], official["oi_day_low"]) == (
            tick.oi,
            tick.oi_day_high,
            tick.oi_day_low,
        )
        for side, book in (("buy", tick.buy), ("sell", tick.sell)):
            assert official["depth"][side] == [
                {"quantity": level.quantity, "price": level.price, "orders": level.orders} for level in book
            ]


@given(good_packets)
def test_any_frame_of_good_packets_decodes_as_with_the_official_client(packets: list[bytes]) -> None:
    payload = frame(packets)
    ticks, skipped = decode(payload)
    official = KiteTicker("key", "token")._parse_binary(payload)
    assert len(ticks) == len(official) == len(packets)
    for expected, tick in zip(official, ticks, strict=True):
        assert_same(expected, tick)
    assert not any(skipped.values())


def decode_parts(payload: bytes) -> tuple[list[Tick], dict[str, int]]:
    wire = KiteWire()
    ticks: list[Tick] = []
    for part in wire.parts(payload):
        assert isinstance(part, bytes)
        found = wire.binary(part, ROUTES, RECEIVED_MS)
        assert len(found) <= 250
        ticks += found
    return ticks, wire.skipped


@settings(max_examples=40)
@given(good_packets.filter(bool), st.integers(1, 3000), st.data())
def test_a_long_message_read_in_parts_is_the_same_whole_cut_short_or_damaged(
    packets: list[bytes], count: int, data: st.DataObject
) -> None:
    whole = frame((packets * count)[:count])
    damaged = bytearray(whole)
    for position in data.draw(st.lists(st.integers(0, len(whole) - 1), max_size=3)):
        damaged[position] = data.draw(st.integers(0, 255))
    for payload in (whole, whole[: data.draw(st.integers(2, len(whole)))], bytes(damaged)):
        ticks, skipped = decode_parts(payload)
        assert (ticks, skipped) == decode(payload)


def test_a_message_of_65535_packets_is_read_250_at_a_time() -> None:
    for packet in (struct.pack(">II", TOKENS[1], 100), struct.pack(">II", 7 << 8 | 1, 100), b""):
        payload = frame([packet] * 65_535)
        assert len(list(KiteWire().parts(payload))) == 263
        assert decode_parts(payload) == decode(payload)


long_runs = st.lists(ltp, min_size=30, max_size=60)


@given(long_runs)
def test_a_long_run_of_ltp_packets_decodes_as_with_the_official_client(packets: list[bytes]) -> None:
    payload = frame(packets)
    official = KiteTicker("key", "token")._parse_binary(payload)
    for expected, tick in zip(official, decode(payload)[0], strict=True):
        assert_same(expected, tick)


@given(long_runs, st.integers(0, 60), st.integers(0, 60))
def test_bad_packets_in_a_long_run_cost_only_themselves_even_when_the_sizes_add_up(
    packets: list[bytes], short_at: int, long_at: int
) -> None:
    broken = list(packets)
    broken.insert(short_at, b"\0\0\0\x08")
    broken.insert(long_at, bytes(12))
    ticks, skipped = decode(frame(broken))
    assert ticks == [tick for packet in packets for tick in decode(frame([packet]))[0]]
    assert skipped == {"unknown_token": 0, "unknown_length": 2, "truncated": 0}


@given(long_runs, st.integers(0, 60))
def test_a_token_without_route_in_a_long_run_costs_only_itself(packets: list[bytes], position: int) -> None:
    stranger = struct.pack(">II", 7 << 8 | 1, 100)
    ticks, skipped = decode(frame([*packets[:position], stranger, *packets[position:]]))
    assert ticks == decode(frame(packets))[0]
    assert skipped == {"unknown_token": 1, "unknown_length": 0, "truncated": 0}


@given(good_packets, st.data())
def test_a_bad_packet_anywhere_costs_only_itself(packets: list[bytes], data: st.DataObject) -> None:
    bad = data.draw(st.binary(max_size=200).filter(lambda b: len(b) not in (8, 28, 32, 44, 184)))
    position = data.draw(st.integers(0, len(packets)))
    ticks, skipped = decode(frame([*packets[:position], bad, *packets[position:]]))
    assert ticks == decode(frame(packets))[0]
    assert skipped == {"unknown_token": 0, "unknown_length": 1, "truncated": 0}


@given(good_packets, st.data())
def test_a_frame_cut_anywhere_gives_the_packets_before_the_cut(
    packets: list[bytes], data: st.DataObject
) -> None:
    payload = frame(packets)
    end = data.draw(st.integers(0, len(payload)))
    ticks, skipped = decode(payload[:end])
    whole = decode(payload)[0]
    assert ticks == whole[: len(ticks)]
    assert skipped["truncated"] == (1 < end < len(payload))


@given(st.binary(max_size=600))
def test_arbitrary_bytes_never_raise_and_never_reach_an_instrument_that_is_not_routed(payload: bytes) -> None:
    ticks, _ = decode(payload)
    assert {tick.instrument for tick in ticks} <= set(ROUTES.values())


@given(good_packets, st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=8))
def test_mutated_frames_never_raise_and_never_reach_an_instrument_that_is_not_routed(
    packets: list[bytes], changes: list[tuple[int, int]]
) -> None:
    payload = bytearray(frame(packets))
    for position, value in changes:
        payload[position % len(payload)] = value
    ticks, _ = decode(bytes(payload))
    assert {tick.instrument for tick in ticks} <= set(ROUTES.values())


@given(st.text())
def test_no_text_message_raises(text: str) -> None:
    wire = KiteWire()
    assert wire.text(text, ROUTES, RECEIVED_MS) == []
    (signal,) = wire.signals
    assert len(signal.text) <= 500 or signal.kind is SignalKind.ORDER_UPDATE
