"""Dhan's 20-level depth: the official SDK's values, each book told once, and nothing lost silently."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.dhan.depth20_codec import Depth20Wire
from brokerpool.brokers.dhan.segments import token
from brokerpool.brokers.wire import ControlBatch, Farewell, SignalKind
from brokerpool.instruments import Instrument, Token
from brokerpool.simulator.dhan import depth20_wire
from brokerpool.ticks import DepthTick, Mode

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/dhan_v2_vectors.json").read_text())["depth_vectors"]
STACKED, ROWS_200 = (bytes.fromhex(vector["frame_hex"]) for vector in VECTORS)
EXPECTED: list[dict[str, Any]] = VECTORS[0]["expected"]

RECEIVED_MS = 1_790_000_000_123
INFY, FUTURE = token(1, 1594), token(2, 49081)
NAMES: dict[Token, Instrument] = {
    INFY: Instrument("NSE", "INFY"),
    FUTURE: Instrument("NFO", "NIFTY24APR25FUT"),
}
NOTHING_SKIPPED = {"unknown_token": 0, "unknown_kind": 0, "truncated": 0, "bad_price": 0}
#: Every security of the vectors.
ROUTES: dict[Token, Instrument] = {
    **{
        token(each["exchange_segment"], each["security_id"]): Instrument("NSE", str(each["security_id"]))
        for each in EXPECTED
    },
    **NAMES,
}


def rows(rupees: float) -> list[float]:
    return [value for n in range(20) for value in (rupees - n * 0.05, 100 + n, n + 1)]


def bid(rupees: float, number: int = INFY) -> bytes:
    return depth20_wire.side(depth20_wire.BID, number, rows(rupees))


def ask(rupees: float, number: int = INFY) -> bytes:
    return depth20_wire.side(depth20_wire.ASK, number, rows(rupees))


def decode(payload: bytes, wire: Depth20Wire | None = None) -> list[DepthTick]:
    ticks = (wire or Depth20Wire()).binary(payload, ROUTES, RECEIVED_MS)
    assert all(isinstance(tick, DepthTick) for tick in ticks)
    return ticks  # type: ignore[return-value]  # as was just seen


def best(ticks: list[DepthTick]) -> list[tuple[float, float]]:
    return [(tick.buy[0].price, tick.sell[0].price) for tick in ticks]


@pytest.mark.parametrize("form", [bytes, memoryview])
def test_every_level_is_what_the_official_sdk_returns(form: Callable[[bytes], bytes]) -> None:
    wire = Depth20Wire()
    sides = [levels for tick in decode(form(STACKED), wire) for levels in (tick.buy, tick.sell)]
    assert [each["type"] for each in EXPECTED] == ["Bid", "Ask"] * (len(sides) // 2)
    for expected, levels in zip(EXPECTED, sides, strict=True):
        # The vectors have 1573.3500000000001 where the exchange said 1573.35.
        told = [(round(each["price"], 2), each["quantity"], each["orders"]) for each in expected["depth"]]
        assert [(level.price, level.quantity, level.orders) for level in levels] == told
    named = [ROUTES[token(each["exchange_segment"], each["security_id"])] for each in EXPECTED[::2]]
    assert [tick.instrument for tick in decode(STACKED)] == named
    assert wire.skipped == NOTHING_SKIPPED


def test_the_simulator_writes_the_packets_of_the_vectors() -> None:
    (sequence,) = struct.unpack_from("<I", STACKED, 8)
    written = b"".join(
        depth20_wire.side(
            depth20_wire.BID if each["type"] == "Bid" else depth20_wire.ASK,
            token(each["exchange_segment"], each["security_id"]),
            [value for level in each["depth"] for value in level.values()],
            sequence,
        )
        for each in EXPECTED
    )
    assert written == STACKED


def test_prices_are_the_paise_that_the_exchange_said() -> None:
    (tick,) = decode(bid(1573.7) + ask(1573.75))
    assert [level.price for level in tick.buy[:4]] == [1573.7, 1573.65, 1573.6, 1573.55]
    assert (tick.ltp, tick.timestamp, tick.volume, tick.mode) == (0.0, RECEIVED_MS, 0, Mode.DEPTH)


def test_packets_of_the_200_level_depth_are_counted_and_no_book() -> None:
    wire = Depth20Wire()
    assert decode(ROWS_200, wire) == []
    assert wire.skipped == {**NOTHING_SKIPPED, "unknown_kind": 1}


def test_nothing_is_told_of_a_book_of_which_one_side_was_never_heard() -> None:
    wire = Depth20Wire()
    assert decode(bid(10), wire) == []
    assert best(decode(ask(11), wire)) == [(10, 11)]


def test_a_side_that_comes_alone_makes_a_book_with_the_other_as_it_was() -> None:
    wire = Depth20Wire()
    decode(bid(10) + ask(11), wire)
    assert best(decode(bid(10.5), wire)) == [(10.5, 11)]
    assert best(decode(ask(12), wire)) == [(10.5, 12)]


def test_each_pair_of_a_message_is_told_once_in_its_order() -> None:
    message = bid(10) + ask(11) + bid(20, FUTURE) + ask(21, FUTURE) + ask(12) + bid(11)
    ticks = decode(message)
    assert best(ticks) == [(10, 11), (20, 21), (11, 12)]
    assert [tick.instrument for tick in ticks] == [NAMES[INFY], NAMES[FUTURE], NAMES[INFY]]


def test_of_several_packets_of_one_side_none_is_passed_over() -> None:
    wire = Depth20Wire()
    decode(bid(10) + ask(11), wire)
    assert best(decode(bid(12) + bid(13) + ask(14), wire)) == [(12, 11), (13, 14)]


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0x7FF0000000000000, 0xFFF0000000000000])
@pytest.mark.parametrize("row", range(20))
def test_a_price_that_is_no_number_costs_its_packet_alone(bits: int, row: int) -> None:
    bad = bytearray(bid(10))
    bad[12 + 16 * row : 20 + 16 * row] = struct.pack("<Q", bits)
    wire = Depth20Wire()
    assert best(decode(bytes(bad) + bid(9) + ask(11), wire)) == [(9, 11)]
    assert wire.skipped == {**NOTHING_SKIPPED, "bad_price": 1}


def test_a_price_too_large_for_a_number_of_paise_is_counted() -> None:
    wire = Depth20Wire()
    assert decode(depth20_wire.side(depth20_wire.BID, INFY, [1e307, 1, 1] * 20) + ask(11), wire) == []
    assert wire.skipped == {**NOTHING_SKIPPED, "bad_price": 1}


def test_what_nobody_asked_for_is_counted() -> None:
    wire = Depth20Wire()
    assert best(decode(bid(1, token(1, 7)) + bid(10) + ask(11) + ask(2, token(1, 7)), wire)) == [(10, 11)]
    assert wire.skipped == {**NOTHING_SKIPPED, "unknown_token": 2}


def test_a_dropped_symbol_begins_anew_with_both_sides() -> None:
    wire = Depth20Wire()
    decode(bid(10) + ask(11), wire)
    wire.requests(ControlBatch(drop=[INFY]))
    wire.requests(ControlBatch(add={INFY: Mode.DEPTH}))
    assert decode(bid(12), wire) == [], "an old side was shown with a new one"


@pytest.mark.parametrize(
    ("reason", "meant"),
    [(804, Farewell.LOST), (805, Farewell.EVICTED), (806, Farewell.CREDENTIALS), (807, Farewell.CREDENTIALS)],
)
@pytest.mark.parametrize("form", ["documentation", "client", "both"])
def test_the_end_of_a_socket_is_understood_in_every_form(reason: int, meant: Farewell, form: str) -> None:
    packet = {
        "documentation": struct.pack("<HBBIIH", 14, 50, 0, 0, 0, reason),
        "client": struct.pack("<HBBII", 12, 50, 0, 0, reason),
        "both": depth20_wire.disconnect(reason),
    }[form]
    wire = Depth20Wire()
    assert best(decode(bid(10) + ask(11) + packet, wire)) == [(10, 11)]
    (signal,) = wire.signals
    assert signal.kind is SignalKind.REFUSED
    assert str(reason) in signal.words
    assert wire.farewell(1000, "") is meant
    assert wire.skipped == NOTHING_SKIPPED


def test_requests_have_the_codes_of_the_documentation() -> None:
    wire = Depth20Wire()
    asked = [json.loads(m) for m in wire.requests(ControlBatch(add={INFY: Mode.LTP, FUTURE: Mode.DEPTH}))]
    assert asked == [
        {
            "RequestCode": 23,
            "InstrumentCount": 2,
            "InstrumentList": [
                {"ExchangeSegment": "NSE_EQ", "SecurityId": "1594"},
                {"ExchangeSegment": "NSE_FNO", "SecurityId": "49081"},
            ],
        }
    ]
    assert wire.requests(ControlBatch(remode={INFY: Mode.DEPTH})) == []
    assert [json.loads(m)["RequestCode"] for m in wire.requests(ControlBatch(drop=[INFY]))] == [25]


def test_a_long_message_is_cut_between_books() -> None:
    numbers: list[int] = [token(1, number) for number in range(1, 131)]
    routes: dict[Token, Instrument] = {number: Instrument("NSE", str(number)) for number in numbers}
    lone = ask(5, token(1, 999))  # so that an even number of packets would end in the middle of a book
    message = lone + b"".join(bid(10, number) + ask(11, number) for number in numbers)
    parts = [bytes(part) for part in Depth20Wire().parts(message) if not isinstance(part, str)]
    assert b"".join(parts) == message
    assert [len(part) // depth20_wire.SIDE_BYTES for part in parts] == [101, 100, 60]
    whole, cut = Depth20Wire(), Depth20Wire()
    ticks = [tick for part in parts for tick in cut.binary(part, routes, RECEIVED_MS)]
    assert ticks == whole.binary(message, routes, RECEIVED_MS)
    assert len(ticks) == len(numbers)


PACKETS = st.sampled_from(
    [bid(10), ask(11), bid(20, FUTURE), ask(3, 7), ROWS_200, depth20_wire.disconnect(805)]
)


@given(st.lists(PACKETS | st.binary(max_size=60), max_size=8), st.randoms())
def test_no_bytes_make_it_raise_and_what_is_left_out_is_counted(pieces: list[bytes], random: Random) -> None:
    payload = bytearray(b"".join(pieces))
    for _ in range(random.randint(0, 3) if payload else 0):
        payload[random.randrange(len(payload))] = random.randrange(256)
    wire = Depth20Wire()
    ticks = decode(bytes(payload), wire)
    assert all(tick.instrument in ROUTES.values() and len(tick.buy) == len(tick.sell) == 20 for tick in ticks)
    heard = len(ticks) + len(wire.signals) + len(wire._books) + sum(wire.skipped.values())
    assert heard or not payload
    again = Depth20Wire()
    parts = [bytes(part) for part in again.parts(bytes(payload)) if not isinstance(part, str)]
    assert b"".join(parts) == payload
    for part in parts:
        again.binary(part, ROUTES, RECEIVED_MS)


@given(st.lists(PACKETS, max_size=12), st.integers(1, 331))
def test_a_cut_message_loses_its_last_packet_alone_and_tells(pieces: list[bytes], missing: int) -> None:
    whole, cut = Depth20Wire(), Depth20Wire()
    before = decode(b"".join(pieces), whole)
    assert decode(b"".join(pieces) + bid(12)[:-missing], cut) == before
    assert cut.skipped == {**whole.skipped, "truncated": whole.skipped["truncated"] + 1}


@given(st.lists(st.tuples(st.sampled_from([INFY, FUTURE]), st.booleans()), max_size=30), st.integers(1, 4))
def test_however_packets_are_stacked_the_newest_sides_are_told_last(
    said: list[tuple[int, bool]], size: int
) -> None:
    """However the packets are spread over messages, the last tick of a symbol has the last of each side."""
    wire = Depth20Wire()
    packets = [(bid if bids else ask)(n + 1, number) for n, (number, bids) in enumerate(said)]
    ticks: list[DepthTick] = []
    for begin in range(0, len(packets), size):
        ticks += decode(b"".join(packets[begin : begin + size]), wire)
    for number, instrument in NAMES.items():
        sides = {bids: n + 1 for n, (of, bids) in enumerate(said) if of == number}
        told = best([tick for tick in ticks if tick.instrument == instrument])
        assert told[-1:] == ([(sides[True], sides[False])] if len(sides) == 2 else [])
        assert all(sum(one) < sum(other) for one, other in pairwise(told)), "the same book was told twice"
