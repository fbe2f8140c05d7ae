"""SmartStream's packets: the official SDK's values, and nothing lost beside a packet that is broken."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.angel.codec import SmartStreamWire
from brokerpool.brokers.angel.segments import parts, token
from brokerpool.brokers.wire import ControlBatch, Signal, SignalKind
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode
from tests.unit.smartapi_values import as_sdk
from tests.unit.smartapi_values import told as told_by_sdk

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/angel_smartstream_vectors.json").read_text())["vectors"]
PRICED = [vector for vector in VECTORS if vector["expected"]["subscription_mode"] != 4]

INFY = "1|1594"
RECEIVED_MS = 1_790_000_000_123


def routes_for(*tokens: str) -> dict[Token, Instrument]:
    return {each: Instrument("NSE", each) for each in tokens}


def packet(mode: int, name: str = INFY, *, at: int = 0, last: int = 0, close: int = 0, **more: Any) -> bytes:
    """A packet of the mode, all zeros but for what is given; `traded_at` and `book` are for mode 3."""
    segment, number = parts(name)
    head = struct.pack("<BB25sqqq", mode, segment, number.encode(), 0, at, last)
    if mode == 1:
        return head
    buys, sells = more.get("sums", (0.0, 0.0))
    quote = head + struct.pack("<qqqddqqqq", 0, 0, 0, buys, sells, 0, 0, 0, close)
    if mode == 2:
        return quote
    book = more.get("book", [(1, 0, 0, 0)] * 5 + [(0, 0, 0, 0)] * 5)
    levels = b"".join(struct.pack("<hqqh", *level) for level in book)
    return quote + struct.pack("<qqd", more.get("traded_at", 0), 0, 0.0) + levels + bytes(32)


def decode(payload: bytes, *tokens: str) -> tuple[list[Any], dict[str, int]]:
    wire = SmartStreamWire()
    return wire.binary(payload, routes_for(*tokens or (INFY,)), RECEIVED_MS), wire.skipped


@pytest.mark.parametrize("vector", PRICED, ids=lambda v: v["name"])
@pytest.mark.parametrize("form", [bytes, memoryview])
def test_every_packet_decodes_to_what_the_official_sdk_returns(vector, form):
    expected = vector["expected"]
    name = token(expected["exchange_type"], expected["token"])
    (tick,) = SmartStreamWire().binary(
        form(bytes.fromhex(vector["frame_hex"])), routes_for(name), RECEIVED_MS
    )
    assert as_sdk(tick, name) == told_by_sdk(expected)


def test_a_book_of_20_levels_has_no_price_and_is_counted():
    (vector,) = (vector for vector in VECTORS if vector not in PRICED)
    ticks, skipped = decode(bytes.fromhex(vector["frame_hex"]))
    assert ticks == []
    assert skipped["depth_20"] == 1


def test_the_same_number_in_two_segments_is_two_instruments():
    wire, routes = SmartStreamWire(), routes_for("1|1185", "13|1185")
    stock = wire.binary(packet(1, "1|1185", last=83_2525), routes, 1)
    pair = wire.binary(packet(1, "13|1185", last=83_2525), routes, 1)
    assert [(t.instrument.symbol, t.ltp) for t in stock + pair] == [
        ("1|1185", 8325.25),
        ("13|1185", 0.0832525),
    ]


def test_a_packet_without_exchange_time_bears_the_time_of_its_receipt():
    for mode in (1, 2, 3):
        for at, told in ((0, RECEIVED_MS), (-5, RECEIVED_MS), (1_687_324_570_123, 1_687_324_570_123)):
            (tick,), _ = decode(packet(mode, at=at))
            assert tick.timestamp == told


@pytest.mark.parametrize(
    ("traded_at", "told"),
    [(1_687_324_569, 1_687_324_569_000), (1_687_324_569_123, 1_687_324_569_123), (0, 0), (-(2**62), 0)],
)
def test_the_last_trade_s_time_may_be_in_seconds_or_in_milliseconds(traded_at, told):
    (tick,), _ = decode(packet(3, traded_at=traded_at))
    assert tick.last_trade_time == told


def test_the_change_is_exact_and_prices_are_signed():
    (tick,), _ = decode(packet(2, last=-3763, close=1827))
    assert (tick.ltp, tick.close, tick.change) == (-37.63, 18.27, -55.9)
    (tick,), _ = decode(packet(2, last=5))
    assert (tick.change, tick.change_percent) == (0.05, 0.0)


def test_the_flag_says_which_side_a_level_is_of_wherever_it_stands():
    book = [(n % 2, n + 1, 100 * n + 100, n) for n in range(10)]
    (tick,), _ = decode(packet(3, book=book))
    assert [level.orders for level in tick.buy] == [1, 3, 5, 7, 9]
    assert [level.orders for level in tick.sell] == [0, 2, 4, 6, 8]


def test_what_has_no_book_has_no_levels():
    (tick,), _ = decode(packet(3, book=[(0, 0, 0, 0)] * 10))
    assert (tick.buy, tick.sell) == ((), ())


def test_what_cannot_be_read_is_counted():
    wire, routes = SmartStreamWire(), routes_for(INFY)
    bad = [
        b"",
        b"\1" * 50,
        packet(1) + b"\0",
        packet(1, "1|999"),
        packet(4)[:51],
        b"\3" + packet(2)[1:],
        packet(2, sums=(float("nan"), 0.0)),
        packet(3, sums=(0.0, float("inf"))),
        packet(2, sums=(-1.0, 0.0)),
        packet(3, sums=(0.0, -0.5)),
        packet(2, sums=(0.0, 2.0**63)),
    ]
    for payload in bad:
        assert wire.binary(payload, routes, RECEIVED_MS) == []
    assert wire.skipped == {"unknown_length": 3, "unknown_token": 1, "malformed": 7, "depth_20": 0}
    (tick,), _ = decode(packet(2, sums=(2.0**62, 1e6 + 0.5)))
    assert (tick.total_buy_quantity, tick.total_sell_quantity) == (2**62, 1_000_000)


def test_a_packet_of_another_mode_s_length_is_none_though_its_name_is_known():
    wire, routes = SmartStreamWire(), routes_for(INFY)
    sound = [packet(mode) for mode in (1, 2, 3)]
    for one in sound:
        assert len(wire.binary(one, routes, 0)) == 1
    for one in sound:
        for mode in {1, 2, 3} - {one[0]}:
            assert wire.binary(bytes([mode]) + one[1:], routes, 0) == []
    assert wire.skipped["malformed"] == 6


@given(
    st.binary(max_size=500)
    | st.builds(
        lambda mode, junk: bytes([mode]) + junk[: {1: 50, 2: 122, 3: 378}[mode]],
        st.integers(1, 3),
        st.binary(min_size=378, max_size=378),
    )
)
def test_no_bytes_make_it_raise_and_each_message_is_a_tick_or_counted(payload):
    wire, everything = SmartStreamWire(), AnyToken()
    ticks = wire.binary(payload, everything, RECEIVED_MS)
    assert len(ticks) + sum(wire.skipped.values()) == 1
    assert all(-(2**63) <= tick.timestamp < 2**63 for tick in ticks)


class AnyToken(dict[Token, Instrument]):
    """Routes in which every token is wanted."""

    def __missing__(self, key: Token) -> Instrument:
        return Instrument("NSE", str(key))


# -- texts ------------------------------------------------------------------------------------------------


def asked(messages: list[str]) -> list[tuple[int, int, list[tuple[int, list[str]]]]]:
    """Action, mode and tokens by segment of each message."""
    read = [json.loads(message) for message in messages]
    assert all(0 < len(each["correlationID"]) <= 10 for each in read)
    assert len({each["correlationID"] for each in read}) == len(read)
    return [
        (
            each["action"],
            each["params"]["mode"],
            [(part["exchangeType"], part["tokens"]) for part in each["params"]["tokenList"]],
        )
        for each in read
    ]


def test_a_token_that_changes_its_mode_leaves_the_old_one_first():
    wire = SmartStreamWire()
    first = ControlBatch(add={INFY: Mode.LTP, "2|35003": Mode.LTP, "1|2885": Mode.DEPTH})
    assert asked(wire.requests(first)) == [
        (1, 1, [(1, ["1594"]), (2, ["35003"])]),
        (1, 3, [(1, ["2885"])]),
    ]
    changes = ControlBatch(drop=["1|2885"], add={"1|3045": Mode.QUOTE}, remode={INFY: Mode.QUOTE})
    assert asked(wire.requests(changes)) == [
        (0, 1, [(1, ["1594"])]),
        (0, 3, [(1, ["2885"])]),
        (1, 2, [(1, ["3045", "1594"])]),
    ]
    assert asked(wire.requests(ControlBatch(drop=[INFY]))) == [(0, 2, [(1, ["1594"])])]


def test_a_complaint_names_the_tokens_of_the_request_that_it_answers():
    wire = SmartStreamWire()
    (message,) = wire.requests(ControlBatch(add={INFY: Mode.LTP, "1|2885": Mode.LTP}))
    complaint = {
        "correlationID": json.loads(message)["correlationID"],
        "errorCode": "E1002",
        "errorMessage": "Subscription limit exceeded",
    }
    for tokens in ([INFY, "1|2885"], ()):  # once
        assert wire.text(json.dumps(complaint), {}, 0) == []
        assert wire.signals.pop() == Signal(SignalKind.REFUSED, "E1002: Subscription limit exceeded", tokens)


def test_the_answer_to_a_ping_is_neither_data_nor_news():
    wire = SmartStreamWire()
    assert wire.heartbeat() == "ping"
    assert wire.text("pong", {}, 0) == []
    assert (wire.signals, sum(wire.skipped.values())) == ([], 0)


@given(st.text(max_size=60) | st.sampled_from(['{"errorCode": 5}', "[" * 5000, '{"errorCode":"E","x":1}']))
def test_no_text_makes_it_raise(message):
    wire = SmartStreamWire()
    assert wire.text(message, {}, 0) == []
    assert all(signal.kind in (SignalKind.UNKNOWN, SignalKind.REFUSED) for signal in wire.signals)


def test_what_was_asked_and_what_was_read_does_not_add_up_for_ever():
    wire = SmartStreamWire()
    for number in range(9_000):
        wire.requests(ControlBatch(add={INFY: Mode.LTP}))
        wire.binary(packet(2, f"1|{number}"), {}, 0)
    assert len(wire._asked) <= 64
    assert max(len(wire._names), len(wire._days), len(wire._full_days)) <= 8192
