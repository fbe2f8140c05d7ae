"""The simulated Upstox writes byte by byte what the official SDK reads, and reads what clients ask for."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.upstox.codec import UpstoxWire as Reader
from brokerpool.brokers.wire import ControlBatch
from brokerpool.instruments import Instrument, Token
from brokerpool.simulator.exchange import Market
from brokerpool.simulator.fault_switches import Malformation
from brokerpool.simulator.listed_instruments import listings
from brokerpool.simulator.upstox import instruments, protobuf
from brokerpool.simulator.upstox.subscriptions import UpstoxSubscriptions
from brokerpool.simulator.upstox.wire import UpstoxWire
from brokerpool.ticks import DepthTick, Mode, Tick

ROOT = Path(__file__).parents[2]
VECTORS = json.loads((ROOT / "tests/fixtures/upstox_v3_vectors.json").read_text())["vectors"]
MODES = {"ltpc": 0, "full_d5": 1, "option_greeks": 2, "full_d30": 3}
STATUSES = {"PRE_OPEN_START": 0, "NORMAL_OPEN": 2}
NOW = 1_790_000_000.5
#: Their fields are those of the auction before the market, and of the market without trades: not simulated.
NOT_WRITTEN = ("live_feed_preopen_new_fields", "market_info_session_maps", "live_feed_depth_only")


def number(told: dict[str, Any], name: str) -> int:
    return int(told.get(name, 0))


def ltpc(told: dict[str, Any]) -> bytes:
    return protobuf.ltpc(told["ltp"], number(told, "ltt"), number(told, "ltq"), told["cp"])


def level(told: dict[str, Any]) -> bytes:
    return protobuf.level(number(told, "bidQ"), told["bidP"], number(told, "askQ"), told["askP"])


def bars(told: dict[str, Any]) -> bytes:
    return protobuf.bars(
        [
            protobuf.bar(
                bar["interval"],
                bar["open"],
                bar["high"],
                bar["low"],
                bar["close"],
                number(bar, "vol"),
                number(bar, "ts"),
            )
            for bar in told["ohlc"]
        ]
    )


def greeks(told: dict[str, Any]) -> bytes:
    return protobuf.greeks(told["delta"], told["theta"], told["gamma"], told["vega"], told["rho"])


def row(key: str, told: dict[str, Any]) -> bytes:
    if "ltpc" in told:
        return protobuf.price_row(key, ltpc(told["ltpc"]))
    if "firstLevelWithGreeks" in told:
        first = told["firstLevelWithGreeks"]
        return protobuf.greeks_row(
            key,
            protobuf.with_greeks(
                ltpc(first["ltpc"]),
                level(first["firstDepth"]),
                greeks(first["optionGreeks"]),
                number(first, "vtt"),
                first["oi"],
                first["iv"],
            ),
        )
    mode = MODES[told["requestMode"]]
    if "indexFF" in told["fullFeed"]:
        index = told["fullFeed"]["indexFF"]
        return protobuf.full_row(
            key, index=protobuf.index(ltpc(index["ltpc"]), bars(index["marketOHLC"])), mode=mode
        )
    market = told["fullFeed"]["marketFF"]
    written = protobuf.market(
        ltpc(market["ltpc"]),
        protobuf.book([level(one) for one in market["marketLevel"]["bidAskQuote"]]),
        greeks(market["optionGreeks"]),
        bars(market["marketOHLC"]),
        average=market["atp"],
        volume=number(market, "vtt"),
        oi=market["oi"],
        volatility=market["iv"],
        buys=market["tbq"],
        sells=market["tsq"],
    )
    return protobuf.full_row(key, market=written, mode=mode)


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if v["name"] not in NOT_WRITTEN], ids=lambda v: v["name"]
)
def test_every_message_that_the_sdk_has_read_is_written_byte_by_byte(vector):
    told, expected = vector["expected"], bytes.fromhex(vector["frame_hex"])
    at = int(told["currentTs"])
    if told.get("type") == "market_info":
        statuses = [(k, STATUSES[s]) for k, s in told["marketInfo"]["segmentStatus"].items()]
        written = protobuf.market_info(sorted(statuses), at)
        assert sorted(written) == sorted(expected)  # a map has no order
        return
    kind = 1 if told.get("type") == "live_feed" else 0
    records = [protobuf.record(row(key, feed)) for key, feed in told["feeds"].items()]
    written = protobuf.feed(records, at, kind)
    if len(records) == 1:
        assert written == expected
    else:
        assert sorted(written) == sorted(expected)


# -- the market's quotes ----------------------------------------------------------------------------------


def wire() -> tuple[UpstoxWire, Market]:
    rows = listings(200, date(2026, 11, 29), instruments)
    return UpstoxWire(rows, lambda: NOW), Market(rows, seed=3, clock=lambda: NOW)


def routes(written: UpstoxWire) -> dict[Token, Instrument]:
    return {key: Instrument("NSE", str(token)) for key, token in written.tokens.items()}


def test_the_adapter_reads_every_quote_as_the_exchange_has_it():
    written, market = wire()
    reader = Reader()
    for quote in market.advance(400):
        (price,) = reader.binary(written.frame([written.record(quote, Mode.LTP)]), routes(written), 1)
        (full,) = reader.binary(written.frame([written.record(quote, Mode.DEPTH)]), routes(written), 1)
        assert isinstance(full, DepthTick)
        unit = quote.unit
        assert type(price) is Tick
        assert price.ltp == full.ltp == quote.ltp / unit
        assert price.timestamp == full.timestamp == int(NOW * 1000)
        day = tuple(value / unit for value in (quote.open, quote.high, quote.low, quote.close))
        assert (full.open, full.high, full.low, full.close) == day
        assert (full.volume, full.oi, full.avg_trade_price) == (quote.volume, quote.oi, quote.average / unit)
        assert (full.total_buy_quantity, full.total_sell_quantity) == (quote.buy_total, quote.sell_total)
        book = [(level.quantity, level.price, 0) for level in (*full.buy, *full.sell)]
        exchange = zip(quote.depth[::3], quote.depth[1::3], strict=False)
        assert book == ([] if quote.is_index else [(q, p / unit, 0) for q, p in exchange])
    assert not any(reader.skipped.values())


def test_the_mode_of_greeks_is_written_and_makes_no_tick():
    written, market = wire()
    reader = Reader()
    for quote in market.advance(200):
        assert not reader.binary(written.frame([written.record(quote, Mode.QUOTE)]), routes(written), 1)
    assert reader.skipped["unknown_feed"] == 200


def test_a_recorded_message_gives_its_rows_their_tokens_and_their_prices_alone():
    written, market = wire()
    quotes = [*market.advance(1), *market.advance(1)]
    message = written.frame([written.record(quotes[0], Mode.DEPTH), written.record(quotes[1], Mode.QUOTE)])
    packets = list(written.packets(message))
    assert [written.packet_token(packet) for packet in packets] == [quote.token for quote in quotes]
    for packet, quote in zip(packets, quotes, strict=True):
        assert written.trimmed(packet, Mode.LTP) == written.record(quote, Mode.LTP)
        assert written.trimmed(packet, Mode.DEPTH) == protobuf.record(packet)


@pytest.mark.parametrize(
    ("kind", "skipped"),
    [
        (Malformation.TRUNCATED, {"malformed": 1}),
        (Malformation.UNKNOWN_TOKEN, {"unknown_token": 2}),
        (Malformation.WRONG_LENGTH, {"malformed": 2}),
    ],
)
def test_a_spoilt_message_brings_no_tick_and_is_counted(kind, skipped):
    written, market = wire()
    reader = Reader()
    records = [written.record(quote, Mode.DEPTH) for quote in market.advance(2)]
    assert not reader.binary(written.malformed(kind, records), routes(written), 1)
    assert {reason: count for reason, count in reader.skipped.items() if count} == skipped


@given(st.binary(max_size=300))
def test_any_bytes_on_a_tape_have_rows_or_none(data: bytes) -> None:
    written, _ = wire()
    for packet in written.packets(data):
        written.packet_token(packet)
        written.trimmed(packet, Mode.LTP)


# -- requests ---------------------------------------------------------------------------------------------


def subscriptions(count: int = 6000, limit: float = 5000) -> UpstoxSubscriptions:
    return UpstoxSubscriptions(limit, {f"NSE_EQ|{n}": n for n in range(count)})


def asked(method: str, numbers: Any, mode: str = "") -> bytes:
    data = {"instrumentKeys": [f"NSE_EQ|{n}" for n in numbers], **({"mode": mode} if mode else {})}
    return json.dumps({"guid": "1", "method": method, "data": data}).encode()


def test_the_adapter_s_requests_are_carried_out():
    broker, client = subscriptions(), Reader()
    keys = [f"NSE_EQ|{n}" for n in range(4)]
    for batch in (
        ControlBatch(add={keys[0]: Mode.LTP, keys[1]: Mode.QUOTE, keys[2]: Mode.DEPTH}),
        ControlBatch(drop=[keys[2]], add={keys[3]: Mode.LTP}, remode={keys[0]: Mode.DEPTH}),
    ):
        for message in client.requests(batch):
            assert broker.handle(message).error is None
    assert broker.report() == {"0": "full", "1": "full", "3": "ltpc"}


@pytest.mark.parametrize(("mode", "most"), [("ltpc", 5000), ("option_greeks", 3000), ("full", 2000)])
def test_a_mode_alone_has_the_limit_of_its_own(mode, most):
    broker = subscriptions()
    assert len(broker.handle(asked("sub", range(most), mode)).added) == most
    over = broker.handle(asked("sub", [most], mode))
    assert (over.over_limit, over.added, broker.entries) == (True, [], most)


def test_beside_another_mode_each_has_the_lower_limit():
    broker = subscriptions()
    broker.handle(asked("sub", range(2000), "full"))
    assert broker.handle(asked("sub", [5000], "ltpc")).over_limit
    broker.handle(asked("unsub", range(1500, 2000)))
    assert len(broker.handle(asked("sub", range(2000, 4000), "ltpc")).added) == 2000
    assert broker.handle(asked("sub", [4000], "ltpc")).over_limit
    assert broker.handle(asked("change_mode", [2000], "full")).over_limit
    assert broker.entries == 3500


@pytest.mark.parametrize(
    "message",
    [
        "{}",
        b"",
        b"\xff\xfe",
        b"[" * 5000,
        asked("sub", [1]),
        asked("dance", [1], "full"),
        b'{"method": "sub", "data": {"mode": "full", "instrumentKeys": [1]}}',
        asked("sub", [1], "full").decode(),
    ],
)
def test_a_request_that_is_not_understood_changes_nothing(message):
    broker = subscriptions()
    assert broker.handle(message).error
    assert not broker.modes


def test_keys_that_are_not_listed_and_modes_of_what_is_not_subscribed_are_ignored():
    broker = subscriptions(2)
    assert broker.handle(asked("sub", [1, 7], "ltpc")).added == [1]
    outcome = broker.handle(asked("change_mode", [0, 1], "full"))
    assert (outcome.added, outcome.remoded) == ([], [1])
    assert broker.handle(asked("sub", [1], "ltpc")).remoded == [1]
