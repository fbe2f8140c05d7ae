"""Dhan's packets: the official SDK's values, and nothing lost beside a packet that is broken."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.segments import token
from brokerpool.brokers.wire import ControlBatch, Farewell, SignalKind
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, QuoteTick
from tests.sdk.dhanhq_words import as_sdk

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/dhan_v2_vectors.json").read_text())["vectors"]
FRAMES = {vector["name"]: bytes.fromhex(vector["frame_hex"]) for vector in VECTORS}

RECEIVED_MS = 1_790_000_000_123
INFY, FUTURE = token(1, 1594), token(2, 49081)
ROUTES: dict[Token, Instrument] = {
    INFY: Instrument("NSE", "INFY"),
    FUTURE: Instrument("NFO", "NIFTY24APR25FUT"),
}
NOTHING_SKIPPED = {"unknown_token": 0, "unknown_kind": 0, "truncated": 0, "bad_price": 0}


def header(code: int, length: int, number: int = INFY) -> bytes:
    return struct.pack("<BHBI", code, length, number & 0xFF, number >> 8)


def ticker(rupees: float, number: int = INFY, traded_at: int = 1_790_019_800) -> bytes:
    return header(2, 16, number) + struct.pack("<fI", rupees, traded_at)


def quote(rupees: float, number: int = INFY, traded_at: int = 1_790_019_800) -> bytes:
    return header(4, 50, number) + struct.pack(
        "<fHIfIIIffff", rupees, 7, traded_at, 10.4, 3, 1, 2, 10, 0, 11, 9
    )


def full(rupees: float, number: int = INFY, traded_at: int = 1_790_019_800) -> bytes:
    book = struct.pack("<IIHHff", 1, 2, 3, 4, 9.95, 10.05) * 5
    day = struct.pack("<fHIfIIIIIIffff", rupees, 7, traded_at, 10.4, 3, 1, 2, 5, 6, 4, 10, 0, 11, 9)
    return header(8, 162, number) + day + book


def previous_close(rupees: float, number: int = INFY) -> bytes:
    return header(6, 16, number) + struct.pack("<fI", rupees, 0)


def disconnect(reason: int) -> bytes:
    return header(50, 10, 0) + struct.pack("<H", reason)


def decode(payload: bytes) -> tuple[list[Any], dict[str, int]]:
    wire = DhanWire()
    return wire.binary(payload, ROUTES, RECEIVED_MS), wire.skipped


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if isinstance(v["expected"], dict)], ids=lambda v: v["name"]
)
@pytest.mark.parametrize("form", [bytes, memoryview])
def test_every_packet_decodes_to_what_the_official_sdk_returns(
    vector: dict[str, Any], form: Callable[[bytes], bytes]
) -> None:
    frame, expected = bytes.fromhex(vector["frame_hex"]), vector["expected"]
    number = token(expected["exchange_segment"], expected["security_id"])
    wire = DhanWire()
    ticks = wire.binary(form(frame), {number: Instrument("NSE", "ANY")}, RECEIVED_MS)
    assert wire.skipped == NOTHING_SKIPPED
    if expected["type"] == "Previous Close":
        assert ticks == []
        assert f"{wire._closes[number]:.2f}" == expected["prev_close"]
    elif expected["type"] == "OI Data":
        assert ticks == []
    else:
        assert [as_sdk(tick, number) for tick in ticks] == [expected]


@pytest.mark.parametrize("rupees", [1573.7, 0.05, 23406.85, 99999.95, 130999.05, 161230.0, -37.63, 0.0])
def test_prices_are_the_paise_that_the_exchange_said(rupees: float) -> None:
    for packet in (ticker, quote, full):
        for payload in (packet(rupees), packet(rupees) * 2):
            ticks, _ = decode(payload)
            assert {tick.ltp for tick in ticks} == {rupees}


@pytest.mark.parametrize("segment", [3, 7])
def test_prices_of_currencies_have_four_decimals(segment: int) -> None:
    number = token(segment, 1185)
    routes: dict[Token, Instrument] = {number: Instrument("CDS", "USDINR24NOV26FUT")}
    for rupees in (83.2525, 0.0025, 106.3450):
        for packet in (ticker, quote, full):
            (tick,) = DhanWire().binary(packet(rupees, number), routes, RECEIVED_MS)
            assert tick.ltp == rupees


@given(st.integers(1, 10_000_000))
def test_every_price_of_whole_paise_up_to_a_lakh_comes_back_as_it_was(paise: int) -> None:
    (tick,), _ = decode(ticker(paise / 100))
    assert tick.ltp == paise / 100


def test_the_session_prices_remembered_are_bounded_and_replaced_by_new_ones() -> None:
    wire = DhanWire()
    for first in range(0, 20_000, 5_000):
        numbers = [token(1, number) for number in range(first, first + 5_000)]
        payload = b"".join(quote(10, number) for number in numbers)
        routes: dict[Token, Instrument] = dict.fromkeys(numbers, ROUTES[INFY])
        assert len(wire.binary(payload, routes, RECEIVED_MS)) == 5_000
    assert len(wire._quote_sessions) <= 8192
    for high in (11, 12, 12, 11):
        packet = bytearray(quote(10))
        packet[42:46] = struct.pack("<f", high)
        (tick,) = wire.binary(bytes(packet), ROUTES, RECEIVED_MS)
        assert isinstance(tick, QuoteTick)
        assert tick.high == high


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000])
@pytest.mark.parametrize(
    ("packet", "at"), [(ticker, 8), (quote, 8), (quote, 38), (full, 8), (full, 158), (previous_close, 8)]
)
def test_what_is_no_price_costs_its_packet_only(bits: int, packet: Callable[[float], bytes], at: int) -> None:
    bad = bytearray(packet(1.0))
    bad[at : at + 4] = struct.pack("<I", bits)
    for payload in (bytes(bad), bytes(bad) * 2, packet(5.0) + bytes(bad) + packet(7.0)):
        ticks, skipped = decode(payload)
        assert [tick.ltp for tick in ticks] == [5.0, 7.0][: 2 * (len(payload) > 2 * len(bad))] * (
            packet is not previous_close
        )
        assert skipped == {**NOTHING_SKIPPED, "bad_price": 2 if payload == bytes(bad) * 2 else 1}


def test_times_are_told_as_if_india_s_clock_were_utc_s_and_never_is_no_time() -> None:
    for packet in (ticker, quote, full):
        (tick,), _ = decode(packet(10.0))
        assert tick.timestamp == 1_790_000_000_000
        for never in (0, 315_532_800):
            (tick,), _ = decode(packet(10.0, INFY, never))
            assert tick.timestamp == RECEIVED_MS
    (tick,), _ = decode(full(10.0, INFY, 0))
    assert tick.last_trade_time == 0


def test_the_close_is_that_of_the_session_before_which_comes_once() -> None:
    wire = DhanWire()
    assert wire.binary(previous_close(1567.8), ROUTES, RECEIVED_MS) == []
    for packet in (quote, full):
        (tick,) = wire.binary(packet(1573.7), ROUTES, RECEIVED_MS)
        assert isinstance(tick, QuoteTick)
        assert (tick.close, tick.change) == (1567.8, 5.9)
        assert tick.change_percent == pytest.approx(0.37632, abs=1e-5)
    wire.requests(ControlBatch(drop=[INFY]))
    (tick,) = wire.binary(quote(1573.7), ROUTES, RECEIVED_MS)
    assert isinstance(tick, QuoteTick)
    assert (tick.close, tick.change, tick.change_percent) == (0.0, 0.0, 0.0)


def test_the_closes_remembered_are_those_of_symbols_that_are_wanted() -> None:
    wire = DhanWire()
    for number in range(5_000):
        wire.binary(previous_close(10.0, token(1, 50_000 + number)), ROUTES, RECEIVED_MS)
    assert wire._closes == {}
    assert wire.skipped["unknown_token"] == 5_000


def test_the_same_security_id_in_two_segments_is_two_securities() -> None:
    twin = token(4, 1594)
    routes: dict[Token, Instrument] = {**ROUTES, twin: Instrument("BSE", "OTHER")}
    ticks = DhanWire().binary(ticker(1.0) + ticker(2.0, twin), routes, RECEIVED_MS)
    assert [(str(tick.instrument), tick.ltp) for tick in ticks] == [("NSE:INFY", 1.0), ("BSE:OTHER", 2.0)]


def test_packets_of_several_kinds_in_one_message_are_read_in_order() -> None:
    packets = [ticker(1), ticker(2), quote(3), full(4), full(5), previous_close(1), ticker(6), quote(7)]
    ticks, skipped = decode(b"".join(packets))
    assert [tick.ltp for tick in ticks] == [1, 2, 3, 4, 5, 6, 7]
    assert [tick.mode for tick in ticks] == [1, 1, 2, 3, 3, 1, 2]
    assert skipped == NOTHING_SKIPPED


def test_a_security_that_comes_in_both_kinds_is_read_as_the_kind_that_it_comes_in() -> None:
    wire, both = DhanWire(), [quote(1), quote(2), full(3), full(4), quote(5), quote(6)]
    for _ in range(2):  # the second time everything is remembered
        ticks = wire.binary(b"".join(both), ROUTES, RECEIVED_MS)
        assert [(tick.ltp, tick.mode) for tick in ticks] == [(1, 2), (2, 2), (3, 3), (4, 3), (5, 2), (6, 2)]
    assert wire.skipped == NOTHING_SKIPPED


def test_signs_of_life_open_interest_and_market_status_are_neither_ticks_nor_faults() -> None:
    for payload in (b"", header(0, 8, 0), header(7, 8, 0), header(0, 20, 0) + bytes(12), FRAMES["oi"]):
        assert decode(payload) == ([], NOTHING_SKIPPED)


def test_packets_of_tokens_that_are_not_routed_are_counted_and_the_others_kept() -> None:
    other = token(1, 99)
    for packet in (ticker, quote, full):
        for payload in (packet(1, other), packet(7) + packet(1, other) + packet(8)):
            ticks, skipped = decode(payload)
            assert [tick.ltp for tick in ticks] == [7, 8][: len(payload) // len(packet(1)) - 1]
            assert skipped == {**NOTHING_SKIPPED, "unknown_token": 1}


def test_a_packet_of_an_unknown_kind_between_good_ones_costs_only_itself() -> None:
    for bad in (
        header(1, 32) + bytes(24),
        header(2, 20) + bytes(12),
        header(99, 8),
        header(8, 150) + bytes(142),
    ):
        ticks, skipped = decode(ticker(1) + quote(2) + bad + quote(3) + full(4))
        assert [tick.ltp for tick in ticks] == [1, 2, 3, 4]
        assert skipped == {**NOTHING_SKIPPED, "unknown_kind": 1}


def test_the_packets_before_the_cut_of_a_message_are_kept() -> None:
    whole = ticker(1) + ticker(2) + full(3)
    for end in range(1, len(whole)):
        ticks, skipped = decode(whole[:end])
        assert [tick.ltp for tick in ticks] == [1, 2][: end // 16]
        assert skipped["truncated"] == (end not in (16, 32))


@pytest.mark.parametrize(
    ("reason", "farewell"),
    [
        (804, Farewell.LOST),
        (805, Farewell.EVICTED),
        (806, Farewell.CREDENTIALS),
        (807, Farewell.CREDENTIALS),
        (808, Farewell.CREDENTIALS),
        (809, Farewell.CREDENTIALS),
        (810, Farewell.CREDENTIALS),
        (814, Farewell.LOST),
        (65_535, Farewell.LOST),
    ],
)
def test_the_last_packet_tells_why_a_socket_ends(reason: int, farewell: Farewell) -> None:
    wire = DhanWire()
    assert wire.farewell(1006, "") is Farewell.LOST
    (tick,) = wire.binary(ticker(1) + disconnect(reason), ROUTES, RECEIVED_MS)
    assert tick.ltp == 1
    (signal,) = wire.signals
    assert signal.kind is SignalKind.REFUSED
    assert str(reason) in signal.words
    assert wire.farewell(1000, "") is farewell


def asked(wire: DhanWire, batch: ControlBatch) -> list[tuple[int, int, list[str]]]:
    messages = [json.loads(message) for message in wire.requests(batch)]
    return [
        (
            said["RequestCode"],
            said["InstrumentCount"],
            [f"{each['ExchangeSegment']}:{each['SecurityId']}" for each in said["InstrumentList"]],
        )
        for said in messages
    ]


def test_a_mode_begins_and_ends_under_its_own_code() -> None:
    wire, index, other = DhanWire(), token(0, 13), token(8, 77)
    add: dict[Token, Mode] = {INFY: Mode.LTP, FUTURE: Mode.QUOTE, index: Mode.DEPTH, other: Mode.LTP}
    assert asked(wire, ControlBatch(add=add)) == [
        (15, 2, ["NSE_EQ:1594", "BSE_FNO:77"]),
        (17, 1, ["NSE_FNO:49081"]),
        (21, 1, ["IDX_I:13"]),
    ]
    assert asked(wire, ControlBatch(drop=[FUTURE], remode={INFY: Mode.DEPTH})) == [
        (18, 1, ["NSE_FNO:49081"]),
        (16, 1, ["NSE_EQ:1594"]),
        (21, 1, ["NSE_EQ:1594"]),
    ]
    assert asked(wire, ControlBatch(drop=[INFY, index, other])) == [
        (22, 2, ["NSE_EQ:1594", "IDX_I:13"]),
        (16, 1, ["BSE_FNO:77"]),
    ]
    assert asked(wire, ControlBatch()) == []


def test_a_long_message_is_cut_between_packets_and_read_alike() -> None:
    message = b"".join(packet(n + 1.0) for n in range(400) for packet in (ticker, quote))
    for payload in (message, message[:-3], message + b"\0\0"):
        wire, cut = DhanWire(), DhanWire()
        parts = [
            cut.binary(part, ROUTES, RECEIVED_MS)
            for part in cut.parts(payload)
            if isinstance(part, memoryview)
        ]
        assert max(map(len, parts)) <= 250
        assert [tick for part in parts for tick in part] == wire.binary(payload, ROUTES, RECEIVED_MS)
        assert cut.skipped == wire.skipped


@given(st.lists(st.sampled_from(sorted(FRAMES.values())) | st.binary(max_size=60), max_size=8), st.randoms())
def test_nothing_that_comes_makes_the_wire_raise_and_good_packets_are_read_after_it(
    pieces: list[bytes], random: Any
) -> None:
    payload = bytearray(b"".join(pieces))
    for _ in range(random.randint(0, 4) if payload else 0):
        payload[random.randrange(len(payload))] = random.randrange(256)
    wire = DhanWire()
    for part in (bytes(payload), *wire.parts(bytes(payload))):
        assert not isinstance(part, str)
        ticks = wire.binary(part, ROUTES, RECEIVED_MS)
        assert all(tick.instrument in ROUTES.values() for tick in ticks)
    assert [tick.ltp for tick in wire.binary(ticker(55), ROUTES, RECEIVED_MS)] == [55]


@given(
    st.lists(
        st.tuples(st.integers(0, 255), st.integers(0, 40), st.sampled_from([INFY, FUTURE, token(1, 7)])),
        max_size=20,
    )
)
def test_each_packet_is_a_tick_or_told_or_counted_as_skipped(kinds: list[tuple[int, int, int]]) -> None:
    packets = [header(code, 8 + more, number) + bytes(more) for code, more, number in kinds]
    wire = DhanWire()
    ticks = wire.binary(b"".join(packets), ROUTES, RECEIVED_MS)
    silent = sum(
        code in (0, 5, 7) or ((code, more) == (6, 8) and number in ROUTES) for code, more, number in kinds
    )
    assert silent + len(wire.signals) + len(ticks) + sum(wire.skipped.values()) == len(kinds)
    assert wire.skipped["truncated"] == 0
