"""Kite's packets: the official SDK's values, and nothing lost beside a packet that is broken."""

from __future__ import annotations

import base64
import json
import struct
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from brokerpool.brokers.wire import ControlBatch, Signal, SignalKind
from brokerpool.brokers.zerodha import KiteWire
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode
from tests.recordings import recorded
from tests.unit.kite_values import as_sdk

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/kite_ticker_vectors.json").read_text())["vectors"]

INFY = 408065
RECEIVED_MS = 1_790_000_000_123


def routes_for(expected: list[dict[str, Any]]) -> dict[Token, Instrument]:
    return {e["instrument_token"]: Instrument("NSE", str(e["instrument_token"])) for e in expected}


def ist(milliseconds: int) -> str:
    """The naive local time that the SDK returns when the process runs in India."""
    local = datetime.fromtimestamp(milliseconds / 1000, ZoneInfo("Asia/Kolkata"))
    return local.replace(tzinfo=None).isoformat()


def frame(*packets: bytes) -> bytes:
    return struct.pack(">H", len(packets)) + b"".join(struct.pack(">H", len(p)) + p for p in packets)


def ltp(token: int, price: int) -> bytes:
    return struct.pack(">Ii", token, price)


def full(token: int, *, exchange_time: int = 0, last: int = 0, close: int = 0) -> bytes:
    head = struct.pack(">IiIiIIIiiii", token, last, 0, 0, 0, 0, 0, 0, 0, 0, close)
    return head + struct.pack(">IIIII", 0, 0, 0, 0, exchange_time) + bytes(120)


def decode(payload: bytes, *tokens: int) -> tuple[list[Any], dict[str, int]]:
    wire = KiteWire()
    routes: dict[Token, Instrument] = {token: Instrument("NSE", str(token)) for token in tokens or (INFY,)}
    return wire.binary(payload, routes, RECEIVED_MS), wire.skipped


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
@pytest.mark.parametrize("form", [bytes, memoryview])
def test_every_frame_decodes_to_what_the_official_sdk_returns(vector, form):
    ticks = KiteWire().binary(
        form(bytes.fromhex(vector["frame_hex"])), routes_for(vector["expected"]), RECEIVED_MS
    )
    assert [as_sdk(tick, int(tick.instrument.symbol), ist) for tick in ticks] == vector["expected"]


def recorded_frames() -> list[tuple[str, bytes]]:
    frames = []
    for path in sorted(recorded(".").glob("*/*.packet")):
        content = path.read_bytes()
        # The three of the JavaScript client are whole frames, the two of the Go client one packet in base64.
        whole = content if path.parent.name == "kiteconnectjs" else frame(base64.b64decode(content))
        frames.append((f"{path.parent.name}/{path.name}", whole))
    return frames


def test_recorded_packets_decode_to_what_the_official_sdk_returns():
    frames = recorded_frames()
    expected = json.loads(recorded("kite_expected.json").read_text())["expected"]
    assert {name for name, _ in frames} == set(expected)
    for name, payload in frames:
        ticks = KiteWire().binary(payload, routes_for(expected[name]), RECEIVED_MS)
        assert [as_sdk(tick, int(tick.instrument.symbol), ist) for tick in ticks] == expected[name], name


def test_a_packet_without_exchange_time_bears_the_time_of_its_receipt():
    for payload in (frame(ltp(INFY, 1)), frame(full(INFY)), frame(ltp(INFY, 1), ltp(INFY, 2))):
        ticks, _ = decode(payload)
        assert {tick.timestamp for tick in ticks} == {RECEIVED_MS}
    (tick,), _ = decode(frame(full(INFY, exchange_time=1_625_461_887)))
    assert tick.timestamp == 1_625_461_887_000
    assert tick.last_trade_time == 0


def test_prices_are_signed_as_spreads_and_crude_oil_were():
    (tick,), _ = decode(frame(full(INFY, last=-3763, close=1827)))
    assert (tick.ltp, tick.close, tick.change) == (-37.63, 18.27, -55.9)


def test_the_change_is_exact_and_not_the_difference_of_two_rounded_prices():
    (tick,), _ = decode(frame(full(INFY, last=157370, close=156780)))
    assert tick.change == 5.9
    assert tick.ltp - tick.close != 5.9


def test_an_index_has_an_empty_book_and_no_volume():
    nifty = 256265
    (tick,), _ = decode(
        frame(struct.pack(">IiiiiiiI", nifty, 2340685, 2344195, 2329595, 2334445, 2326485, 0, 1)), nifty
    )
    assert tick.mode == Mode.DEPTH
    assert (tick.open, tick.high, tick.low, tick.close) == (23344.45, 23441.95, 23295.95, 23264.85)
    assert (tick.volume, tick.buy, tick.sell, tick.change) == (0, (), (), 142.0)


def test_new_session_prices_replace_the_remembered_ones():
    wire = KiteWire()
    routes: dict[Token, Instrument] = {INFY: Instrument("NSE", "INFY")}
    ticks: list[Any] = [
        wire.binary(frame(full(INFY, close=close)), routes, RECEIVED_MS)[0] for close in (100, 100, 250, 100)
    ]
    assert [tick.close for tick in ticks] == [1.0, 1.0, 2.5, 1.0]


def test_the_session_prices_remembered_are_bounded():
    wire = KiteWire()
    instrument = Instrument("NSE", "ANY")
    for start in range(256, 40 * 3000 * 256, 3000 * 256):
        tokens = range(start, start + 3000 * 256, 256)
        packets = [struct.pack(">IiIiIIIiiii", t, 1, 0, 0, 0, 0, 0, 1, 1, 1, 1) for t in tokens]
        assert len(wire.binary(frame(*packets), dict.fromkeys(tokens, instrument), RECEIVED_MS)) == 3000
    assert len(wire._sessions) <= 8192


def test_packets_of_tokens_that_are_not_routed_are_counted_and_the_others_kept():
    other = 256 + 1
    for packets in ([ltp(other, 1)], [ltp(INFY, 7), ltp(other, 1), ltp(INFY, 8)], [full(other), full(INFY)]):
        ticks, skipped = decode(frame(*packets))
        assert len(ticks) == len(packets) - 1
        assert skipped == {"unknown_token": 1, "unknown_length": 0, "truncated": 0}


def test_a_packet_of_unknown_length_between_good_ones_costs_only_itself():
    quote = bytes.fromhex(next(v for v in VECTORS if v["name"] == "quote_nse")["frame_hex"])[4:]
    for bad in (b"", b"abc", bytes(12), bytes(183), bytes(1000)):
        ticks, skipped = decode(frame(ltp(INFY, 100), quote, quote, bad, quote, full(INFY, last=300)))
        assert [tick.ltp for tick in ticks] == [1.0, 1573.7, 1573.7, 1573.7, 3.0]
        assert skipped == {"unknown_token": 0, "unknown_length": 1, "truncated": 0}


def test_the_packets_before_the_cut_of_a_frame_are_kept():
    whole = frame(ltp(INFY, 100), ltp(INFY, 200), full(INFY, last=300))
    for end in range(4, len(whole)):
        ticks, skipped = decode(whole[:end])
        assert [tick.ltp for tick in ticks] == [1.0, 2.0][: (end - 2) // 10]
        assert skipped["truncated"] == 1


def test_a_heartbeat_and_an_empty_frame_are_neither_ticks_nor_faults():
    for payload in (b"", b"\0", b"\1", b"\0\0"):
        assert decode(payload) == ([], {"unknown_token": 0, "unknown_length": 0, "truncated": 0})


def test_a_batch_drops_first_then_adds_and_always_names_the_mode():
    batch = ControlBatch(
        drop=[5, 6],
        add={1: Mode.DEPTH, 2: Mode.QUOTE, 3: Mode.LTP},
        remode={4: Mode.DEPTH},
    )
    assert KiteWire().requests(batch) == [
        '{"a":"unsubscribe","v":[5,6]}',
        '{"a":"subscribe","v":[1,2,3]}',
        '{"a":"mode","v":["ltp",[3]]}',
        '{"a":"mode","v":["quote",[2]]}',
        '{"a":"mode","v":["full",[1,4]]}',
    ]
    assert KiteWire().requests(ControlBatch()) == []
    assert KiteWire().requests(ControlBatch(remode={9: Mode.QUOTE})) == ['{"a":"mode","v":["quote",[9]]}']


def signals(text: str) -> list[Signal]:
    wire = KiteWire()
    assert wire.text(text, {}, RECEIVED_MS) == []
    return wire.signals


LIMIT_ERROR = "Can't subscribe to more than 3000 instruments."


@pytest.mark.parametrize(
    ("text", "signal"),
    [
        (f'{{"type":"error","data":"{LIMIT_ERROR}"}}', Signal(SignalKind.REFUSED, LIMIT_ERROR)),
        ('{"type":"message","data":"Market opens late."}', Signal(SignalKind.TOLD, "Market opens late.")),
        (
            '{"type":"order","data":{"order_id":"1"}}',
            Signal(SignalKind.ORDER_UPDATE, '{"type":"order_update","broker":"zerodha","orderid":"1"}'),
        ),
        ('{"type":"error"}', Signal(SignalKind.REFUSED, '{"type":"error"}')),
        ('{"type":["error"]}', Signal(SignalKind.UNKNOWN, '{"type":["error"]}')),
        (
            '{"type":"instruments_meta","data":{}}',
            Signal(SignalKind.UNKNOWN, '{"type":"instruments_meta","data":{}}'),
        ),
        ("[1]", Signal(SignalKind.UNKNOWN, "[1]")),
        ("pong", Signal(SignalKind.UNKNOWN, "pong")),
        ("", Signal(SignalKind.UNKNOWN, "")),
        ("\ud800", Signal(SignalKind.UNKNOWN, "\ud800")),
    ],
)
def test_text_messages_are_classified(text, signal):
    assert signals(text) == [signal]


def test_the_text_of_a_signal_is_bounded():
    for text in ("x" * 10_000, '{"type":"error","data":"' + "x" * 10_000 + '"}', "[" * 100_000):
        assert [len(signal.text) for signal in signals(text)] == [500]


@pytest.mark.parametrize("odd", [None, ltp((2 << 8) + 3, 12_345_678), ltp(256 + 1, 1), full(INFY, last=300)])
def test_ltp_packets_that_stand_together_read_as_each_alone(odd: bytes | None):
    packets = [ltp(INFY, price) for price in range(100, 500)]
    if odd is not None:  # a finer price, an unknown token, another kind
        packets[200] = odd
    routes: dict[Token, Instrument] = {
        INFY: Instrument("NSE", "INFY"),
        (2 << 8) + 3: Instrument("CDS", "USDINR"),
    }
    together, alone = KiteWire(), KiteWire()
    ticks = together.binary(frame(*packets), routes, RECEIVED_MS)
    assert ticks == [tick for packet in packets for tick in alone.binary(frame(packet), routes, RECEIVED_MS)]
    assert len(ticks) == 400 - together.skipped["unknown_token"]
    assert together.skipped == alone.skipped


@pytest.mark.parametrize("cut", [1, 9, 10, 15])
def test_a_long_run_of_ltp_packets_that_is_cut_keeps_what_is_whole(cut: int):
    ticks, skipped = decode(frame(*[ltp(INFY, price) for price in range(100, 500)])[:-cut])
    assert [tick.ltp for tick in ticks] == [price / 100 for price in range(100, 500 - (cut + 9) // 10)]
    assert skipped["truncated"] == 1
