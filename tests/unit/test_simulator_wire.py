"""Kite packets, written: byte for byte what the official SDK reads, and what Zerodha has recorded."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from brokerpool.simulator.exchange import Quote
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.simulator.zerodha.instruments import INDICES, divisor
from brokerpool.simulator.zerodha.wire import (
    frame,
    malformed,
    packet_token,
    packets,
    record,
    trimmed,
)
from brokerpool.ticks import Mode
from tests.recordings import recorded

FIXTURES = Path(__file__).parents[1] / "fixtures"
INDIA = timezone(timedelta(hours=5, minutes=30))
MODES = {"ltp": Mode.LTP, "quote": Mode.QUOTE, "full": Mode.DEPTH}

VECTORS = json.loads((FIXTURES / "kite_ticker_vectors.json").read_text())["vectors"]
# The SDK does not tell of a heartbeat, nor of a packet of unknown length: nothing to write them from.
WRITABLE = [v for v in VECTORS if v["name"] not in ("heartbeat_1_byte", "unknown_length_skipped")]


def quote_from(tick: Mapping[str, Any], packet: bytes) -> Quote:
    """The quote behind what the SDK read; `packet` gives the one field that the SDK leaves out."""
    token = tick["instrument_token"]

    def units(price: float) -> int:
        return round(price * divisor(token))

    quote = Quote(token, units(tick["last_price"]), is_index=token & 0xFF == INDICES)
    for name in ("open", "high", "low", "close"):
        setattr(quote, name, units(tick.get("ohlc", {}).get(name, 0)))
    quote.last_quantity = tick.get("last_traded_quantity", 0)
    quote.average = units(tick.get("average_traded_price", 0))
    quote.volume = tick.get("volume_traded", 0)
    quote.buy_total = tick.get("total_buy_quantity", 0)
    quote.sell_total = tick.get("total_sell_quantity", 0)
    quote.oi = tick.get("oi", 0)
    quote.oi_high = tick.get("oi_day_high", 0)
    quote.oi_low = tick.get("oi_day_low", 0)
    quote.last_trade_time = epoch(tick.get("last_trade_time"))
    quote.exchange_time = epoch(tick.get("exchange_timestamp"))
    if "depth" in tick:
        levels = tick["depth"]["buy"] + tick["depth"]["sell"]
        quote.levels = tuple(
            number
            for level in levels
            for number in (level["quantity"], units(level["price"]), level["orders"])
        )
    if quote.is_index and len(packet) > 8:
        (quote.change,) = struct.unpack_from(">i", packet, 24)
    return quote


def epoch(local: str | None) -> int:
    return int(datetime.fromisoformat(local).replace(tzinfo=INDIA).timestamp()) if local else 0


def rewritten(message: bytes, ticks: list[dict[str, Any]]) -> bytes:
    read = list(packets(message))
    return frame(
        [
            record(quote_from(tick, packet), MODES[tick["mode"]])
            for tick, packet in zip(ticks, read, strict=True)
        ]
    )


@pytest.mark.parametrize("vector", WRITABLE, ids=lambda vector: vector["name"])
def test_what_the_official_sdk_read_becomes_the_same_bytes(vector: dict[str, Any]) -> None:
    message = bytes.fromhex(vector["frame_hex"])
    assert rewritten(message, vector["expected"]).hex() == message.hex()


@pytest.mark.parametrize("name", ["ltpMode_binary", "quoteMode_binary", "fullMode_binary"])
def test_recorded_frames_are_written_again_byte_for_byte(name: str) -> None:
    path = f"kiteconnectjs/{name}.packet"
    message = recorded(path).read_bytes()
    assert rewritten(message, sdk_values(path)) == message


@pytest.mark.parametrize("name", ["ticker_quote", "ticker_full"])
def test_recorded_packets_are_written_again_byte_for_byte(name: str) -> None:
    path = f"gokiteconnect/{name}.packet"
    packet = base64.b64decode(recorded(path).read_text())
    (tick,) = sdk_values(path)
    assert record(quote_from(tick, packet), MODES[tick["mode"]])[2:] == packet


def sdk_values(path: str) -> list[dict[str, Any]]:
    values: list[dict[str, Any]] = json.loads(recorded("kite_expected.json").read_text())["expected"][path]
    return values


@pytest.mark.parametrize("vector", WRITABLE, ids=lambda vector: vector["name"])
def test_a_message_is_split_where_it_was_joined(vector: dict[str, Any]) -> None:
    message = bytes.fromhex(vector["frame_hex"])
    found = list(packets(message))
    assert [packet_token(packet) for packet in found] == [t["instrument_token"] for t in vector["expected"]]
    assert frame([len(packet).to_bytes(2, "big") + packet for packet in found]) == message


def test_splitting_stops_where_a_message_was_cut() -> None:
    message = bytes.fromhex(next(v["frame_hex"] for v in VECTORS if v["name"] == "mixed_frame_4"))
    whole = list(packets(message))
    for end in range(len(message)):
        found = list(packets(message[:end]))
        assert found == whole[: len(found)]
        assert len(found) < len(whole)


def test_a_full_packet_trims_to_what_a_lower_mode_is_sent() -> None:
    for token in (408065, 256265):
        quote = Quote(token, 157370, 7, 157037, 1192471, 256443, 363009, 1, 2, 3, 4, 5, 6, 7, 8, 9, change=-3)
        full = record(quote, Mode.DEPTH)[2:]
        for mode in Mode:
            assert trimmed(full, mode) == record(quote, mode)
        assert trimmed(full[:8], Mode.DEPTH)[2:] == full[:8]


def test_each_malformation_is_wrong_in_its_own_way() -> None:
    records = [record(Quote(408065, 1), Mode.LTP), record(Quote(408065, 2), Mode.QUOTE)]
    assert [len(p) for p in packets(malformed(Malformation.TRUNCATED, records))] == [8]
    assert [len(p) for p in packets(malformed(Malformation.WRONG_LENGTH, records))] == [9, 45]
    unknown = list(packets(malformed(Malformation.UNKNOWN_TOKEN, records)))
    assert [packet_token(packet) for packet in unknown] == [0xFFFFFF01] * 2
    assert [len(packet) for packet in unknown] == [8, 44]
