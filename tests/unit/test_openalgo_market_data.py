"""Frames of market data from OpenAlgo's many brokers, whatever their members are called and typed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from brokerpool import DepthLevel, DepthTick, Instrument, QuoteTick, Tick
from brokerpool.brokers.openalgo import OpenAlgoWire
from brokerpool.instruments import Token

INFY = Instrument("NSE", "INFY")
ROUTES: dict[Token, Instrument] = {"NSE:INFY": INFY}
NOW, AT = 1_767_587_400_000, 1_790_000_000_123
BOOK = {
    "buy": [{"price": 1512.3, "quantity": 400, "orders": 7}],
    "sell": [{"price": 1512.4, "quantity": 250, "orders": 3}],
}


def frame(mode: int = 3, **data: Any) -> str:
    members = {"symbol": "INFY", "exchange": "NSE", "ltp": 1512.35, "timestamp": AT, **data}
    said = {"type": "market_data", "symbol": "INFY", "exchange": "NSE", "mode": mode, "data": members}
    return json.dumps({**said, "broker": "dhan"})


def read(message: str | bytes) -> list[Tick]:
    wire = OpenAlgoWire("k")
    ticks = wire.text(message, ROUTES, NOW) if isinstance(message, str) else wire.binary(message, ROUTES, NOW)
    assert not wire.signals
    return ticks


def test_each_mode_is_read_with_the_members_of_the_protocol() -> None:
    assert read(frame(1)) == [Tick(INFY, 1512.35, AT)]
    day = {
        "open": 1500.0,
        "high": 1519.9,
        "low": 1496.1,
        "close": 1498.2,
        "volume": 1834402,
        "oi": 9,
        "last_trade_quantity": 12,
        "avg_trade_price": 1508.71,
        "change": 14.15,
        "change_percent": 0.94,
        "total_buy_quantity": 90211,
        "total_sell_quantity": 120034,
    }
    prices = (1500.0, 1519.9, 1496.1, 1498.2, 1834402, 12, 1508.71, 14.15, 0.94, 90211, 120034)
    assert read(frame(2, **day)) == [QuoteTick(INFY, 1512.35, AT, *prices)]
    book = ((DepthLevel(1512.3, 400, 7),), (DepthLevel(1512.4, 250, 3),))
    full = DepthTick(INFY, 1512.35, AT, *prices, AT, 9, 0, 0, *book)
    assert read(frame(3, **day, depth=BOOK, ltt=AT // 1000 * 1000 + 123)) == [full]


@pytest.mark.parametrize(
    ("others", "field", "value"),
    [
        ({"last_quantity": 12}, "last_trade_quantity", 12),
        ({"ltq": 12}, "last_trade_quantity", 12),
        ({"average_price": 99.5}, "avg_trade_price", 99.5),
        ({"price_change": -2.5}, "change", -2.5),
        ({"prev_close": 98.0}, "close", 98.0),
        ({"close": 0, "prev_close": 98.0}, "close", 98.0),
        ({"total_buy_qty": 5}, "total_buy_quantity", 5),
        ({"total_sell_qty": 6}, "total_sell_quantity", 6),
        ({"open_interest": 7}, "oi", 7),
        ({"oi": 7}, "oi", 7),
        ({"ltt": 1_790_000_000}, "last_trade_time", 1_790_000_000_000),
        ({"volume": 12.0}, "volume", 12),
        ({"volume": "12"}, "volume", 12),
        ({"volume": 12.5}, "volume", 0),
        ({"volume": None}, "volume", 0),
        ({"volume": "many"}, "volume", 0),
        ({"volume": 10**30}, "volume", 0),
        ({"volume": True}, "volume", 0),
        ({"open": "99.5"}, "open", 99.5),
        ({"open": "nan"}, "open", 0.0),
        ({"open": None}, "open", 0.0),
        ({"open": []}, "open", 0.0),
        ({"oi": {}}, "oi", 0),
    ],
)
def test_members_of_other_names_and_types_are_read_and_what_is_none_is_left_out(
    others: dict[str, Any], field: str, value: object
) -> None:
    (tick,) = read(frame(3, depth=BOOK, **others))
    assert isinstance(tick, DepthTick)
    assert getattr(tick, field) == value
    assert type(getattr(tick, field)) is type(value)
    assert tick.ltp == 1512.35, "one bad member costs that member"
    assert tick.buy == (DepthLevel(1512.3, 400, 7),)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (AT, AT),
        (float(AT), AT),
        (str(AT), AT),
        (1_790_000_000, 1_790_000_000_000),
        (1_790_000_000.25, 1_790_000_000_250),
        (AT * 1000, AT),
        ("2026-09-21T19:33:20+05:30", 1_789_999_400_000),
        ("2026-09-21 19:33:20", NOW),
        ("soon", NOW),
        (None, NOW),
        (0, NOW),
        (-5, NOW),
        (10**30, NOW),
        ([], NOW),
    ],
)
def test_times_are_seconds_or_milliseconds_by_their_magnitude(told: object, expected: int) -> None:
    (tick,) = read(frame(1, timestamp=told))
    assert tick.timestamp == expected
    assert type(tick.timestamp) is int


def test_a_frame_without_a_time_is_of_the_moment_of_its_arrival_and_the_exchanges_goes_before() -> None:
    said = json.loads(frame(1))
    del said["data"]["timestamp"]
    assert read(json.dumps(said))[0].timestamp == NOW
    assert read(frame(1, exchange_timestamp=AT + 5))[0].timestamp == AT + 5


def test_a_tick_is_as_full_as_its_data_and_never_fuller_than_its_mode() -> None:
    assert [type(t) for t in read(frame(3))] == [Tick]
    assert [type(t) for t in read(frame(3, open=1.0))] == [QuoteTick]
    assert [type(t) for t in read(frame(2, depth=BOOK, open=1.0))] == [QuoteTick]
    assert [type(t) for t in read(frame(1, depth=BOOK, open=1.0))] == [Tick]
    assert [type(t) for t in read(frame(3, depth={}))] == [DepthTick]
    assert [type(t) for t in read(frame(3, depth=None))] == [Tick]
    (bare,) = read(frame(2, close=1498.2))
    assert isinstance(bare, QuoteTick)
    assert (bare.change, bare.volume, bare.open) == (0.0, 0, 0.0), "nothing is made up"


def test_levels_are_kept_in_order_and_those_of_other_types_are_mended() -> None:
    buy: list[object] = [
        {"price": "10.5", "quantity": 4.0, "orders": "2"},
        {"price": 10.4, "quantity": 3},
        {"price": 10.3, "quantity": 2.5, "orders": None},
        {"price": None, "quantity": 1},
        {"quantity": 1},
        "what?",
        {"price": 10.2, "quantity": 10**40, "orders": 1},
    ]
    (tick,) = read(frame(3, depth={"buy": buy, "sell": "none"}))
    assert isinstance(tick, DepthTick)
    assert tick.buy == (
        DepthLevel(10.5, 4, 2),
        DepthLevel(10.4, 3, 0),
        DepthLevel(10.3, 0, 0),
        DepthLevel(10.2, 0, 1),
    )
    assert tick.sell == ()


def test_a_quantity_beyond_all_quantities_is_left_out() -> None:
    (tick,) = read(
        frame(3, depth={"buy": [{"price": 1.0, "quantity": 10**40, "orders": 10**40}], "sell": []})
    )
    assert isinstance(tick, DepthTick)
    assert tick.buy == (DepthLevel(1.0, 0, 0),)


@pytest.mark.parametrize("price", [float("1e300"), "inf", "-inf", "nan"])
def test_no_number_that_is_none_comes_through_a_level(price: object) -> None:
    levels = [{"price": price, "quantity": 1, "orders": 1}, {"price": 5.0, "quantity": 1, "orders": 1}]
    (tick,) = read(frame(3, depth={"buy": levels, "sell": []}))
    assert isinstance(tick, DepthTick)
    assert all(abs(level.price) <= 1e300 for level in tick.buy)
    assert tick.buy[-1] == DepthLevel(5.0, 1, 1)


def test_a_frame_in_a_binary_message_and_a_mode_by_its_name_are_read_too() -> None:
    assert read(frame(1).encode()) == [Tick(INFY, 1512.35, AT)]
    named = json.loads(frame(1, open=5.0))
    for mode, kind in (("LTP", Tick), ("quote", QuoteTick), ("2", QuoteTick), (None, QuoteTick)):
        assert [type(t) for t in read(json.dumps({**named, "mode": mode}))] == [kind]


def test_a_frame_without_a_price_or_of_an_unknown_symbol_is_counted() -> None:
    wire = OpenAlgoWire("k")
    assert wire.text(frame(3, ltp=None, depth=BOOK), ROUTES, NOW) == []
    assert wire.text(frame(3, ltp="x"), ROUTES, NOW) == []
    assert wire.text(frame(1), {}, NOW) == []
    assert wire.text(frame(1).replace('"NSE"', '"nse"'), ROUTES, NOW) == [], "names are compared as they are"
    assert wire.text('{"type":"market_data","symbol":"INFY","exchange":"NSE"}', ROUTES, NOW) == []
    assert wire.text('{"type":"market_data","symbol":5,"exchange":"NSE","data":{}}', ROUTES, NOW) == []
    assert wire.skipped["no_price"] == 2
    assert wire.skipped["unknown_token"] == 2
    assert wire.skipped["malformed"] == 2


def test_symbols_with_a_number_of_levels_and_the_indices_keep_their_names() -> None:
    for name in ("NSE:TCS:50", "NSE_INDEX:NIFTY", "CRYPTO:SOL_INR"):
        exchange, _, symbol = name.partition(":")
        said = {**json.loads(frame(1)), "symbol": symbol, "exchange": exchange}
        instrument = Instrument(exchange, symbol)
        (tick,) = OpenAlgoWire("k").text(json.dumps(said), {name: instrument}, NOW)
        assert tick.instrument == instrument


def test_a_stale_value_is_no_tick_and_tells_of_the_gap() -> None:
    wire = OpenAlgoWire("k")
    said = {**json.loads(frame(1)), "snapshot": True, "stale": True}
    assert wire.text(json.dumps(said), ROUTES, NOW) == []
    assert [(s.kind.value, list(s.tokens)) for s in wire.signals] == [("gap begun", ["NSE:INFY"])]
    assert len(wire.text(json.dumps({**said, "stale": False}), ROUTES, NOW)) == 1
