"""The shapes of the REST answers: exact members, fixed types, compact JSON; and which failure is told how."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from http import HTTPStatus

import msgspec
import pytest

from brokerpool import Instrument
from brokerpool.brokers.rest import Candle
from brokerpool.errors import (
    BrokerError,
    BrokerpoolError,
    CallFailedError,
    CallRefusedError,
    ErrorCode,
    PoolClosedError,
)
from brokerpool.gateway.rest import answers
from brokerpool.gateway.rest.answers import DepthAnswer, QuoteAnswer, QuoteResult
from brokerpool.gateway.rest.failures import RequestRefusedError, failure, faults
from brokerpool.gateway.rest.history import IST, earliest, windows
from brokerpool.http.broker_api import Quoted
from brokerpool.instruments import Details
from brokerpool.ticks import DepthLevel, DepthTick

INFY = Instrument("NSE", "INFY")
TICK = DepthTick(
    INFY,
    1500.5,
    1_700_000_000_000,
    open=1490.0,
    high=1510.0,
    low=1480.0,
    close=1495.0,
    volume=1234,
    last_trade_quantity=7,
    total_buy_quantity=11,
    total_sell_quantity=22,
    oi=5,
    buy=(DepthLevel(1500.0, 10, 1), DepthLevel(1499.95, 20, 2)),
    sell=(DepthLevel(1500.5, 30, 3),),
)


def encoded(answer: msgspec.Struct) -> bytes:
    return msgspec.json.encode(answer)


def test_a_quote_has_openalgos_members_and_no_blank_that_amibroker_would_stumble_over() -> None:
    assert encoded(QuoteAnswer(answers.quote(TICK))) == (
        b'{"status":"success","data":{"open":1490.0,"high":1510.0,"low":1480.0,"ltp":1500.5,"ask":1500.5,'
        b'"bid":1500.0,"prev_close":1495.0,"volume":1234,"oi":5}}'
    )


def test_live_is_told_of_a_tick_of_the_feed_and_of_nothing_else() -> None:
    live = QuoteAnswer(answers.quote(TICK), answers.live(Quoted(TICK, live=True)))
    asked = QuoteAnswer(answers.quote(TICK), answers.live(Quoted(TICK, live=False)))
    assert json.loads(encoded(live))["live"] is True
    assert "live" not in json.loads(encoded(asked))


def test_an_index_has_no_bid_no_ask_and_five_empty_levels() -> None:
    index = DepthTick(Instrument("NSE_INDEX", "NIFTY"), 24_000.0, 0)
    quote, depth = answers.quote(index), answers.depth(index)
    assert (quote.bid, quote.ask) == (0.0, 0.0)
    assert [*depth.asks, *depth.bids] == [answers.Level(0.0, 0)] * 10


def test_depth_has_five_levels_a_side_the_best_first() -> None:
    data = json.loads(encoded(DepthAnswer(answers.depth(TICK))))["data"]
    assert list(data) == [
        *("open", "high", "low", "ltp", "ltq", "prev_close", "volume", "oi"),
        *("totalbuyqty", "totalsellqty", "asks", "bids"),
    ]
    assert data["bids"][:3] == [
        {"price": 1500.0, "quantity": 10},
        {"price": 1499.95, "quantity": 20},
        {"price": 0.0, "quantity": 0},
    ]
    assert (len(data["bids"]), len(data["asks"])) == (5, 5)
    assert (data["ltq"], data["totalbuyqty"], data["totalsellqty"]) == (7, 11, 22)


def test_a_result_has_either_data_or_an_error() -> None:
    good = QuoteResult("INFY", "nse", answers.quote(TICK))
    bad = QuoteResult("X", "NSE", error="The broker does not list it.", code="SYMBOL_NOT_FOUND")
    assert list(json.loads(encoded(good))) == ["symbol", "exchange", "data"]
    assert list(json.loads(encoded(bad))) == ["symbol", "exchange", "error", "code"]


def test_a_daily_candle_carries_its_indian_day_as_midnight_utc_and_a_short_one_its_moment() -> None:
    midnight = int(datetime(2025, 4, 24, tzinfo=IST).timestamp())
    candle = Candle(midnight, 1.0, 2.0, 0.5, 1.5, 100)
    daily = answers.dated(candle, "D")
    # What the SDK does with it: seconds since the epoch, taken as they are.
    assert datetime.fromtimestamp(daily.timestamp, UTC) == datetime(2025, 4, 24, tzinfo=UTC)
    assert answers.dated(candle, "5m") is candle
    assert encoded(daily) == (
        b'{"timestamp":%d,"open":1.0,"high":2.0,"low":0.5,"close":1.5,"volume":100,"oi":0}' % daily.timestamp
    )


def test_intervals_are_grouped_by_unit_the_shortest_first() -> None:
    grouped = answers.grouped(["30m", "D", "1m", "5s", "1h", "10m", "M", "W"])
    assert json.loads(encoded(grouped)) == {
        "seconds": ["5s"],
        "minutes": ["1m", "10m", "30m"],
        "hours": ["1h"],
        "days": ["D"],
        "weeks": ["W"],
        "months": ["M"],
    }


def test_an_instrument_is_told_in_openalgos_members_with_the_expiry_as_24_apr_25() -> None:
    details = Details("NIFTY25APRFUT", "NFO", "NIFTY", "FUT", "2025-04-24", 0.0, 75, 0.05)
    symbol = answers.symbol(Instrument("NFO", "NIFTY24APR25FUT"), 12_345, details)
    assert json.loads(encoded(symbol)) == {
        "symbol": "NIFTY24APR25FUT",
        "brsymbol": "NIFTY25APRFUT",
        "name": "NIFTY",
        "exchange": "NFO",
        "brexchange": "NFO",
        "token": "12345",
        "expiry": "24-APR-25",
        "strike": 0.0,
        "lotsize": 75,
        "instrumenttype": "FUT",
        "tick_size": 0.05,
        "freeze_qty": 1,
        "id": 12345,
    }


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (BrokerError("x.", code=ErrorCode.SYMBOL_NOT_FOUND), 400, None),
        (BrokerError("x.", code=ErrorCode.INTERVAL_NOT_SUPPORTED), 400, None),
        (BrokerError("x.", code=ErrorCode.RATE_LIMITED), 429, 1),
        (CallRefusedError("x.", code=ErrorCode.RATE_LIMITED, retry_after=29.2), 429, 30),
        (CallRefusedError("x.", code=ErrorCode.HTTP_QUEUE_FULL), 429, 1),
        (CallRefusedError("x.", code=ErrorCode.HTTP_WAIT_TOO_LONG), 429, 1),
        (CallRefusedError("x.", code=ErrorCode.BREAKER_OPEN, retry_after=4.0), 500, 4),
        (CallRefusedError("x.", code=ErrorCode.BROKER_REFUSED_CREDENTIALS), 500, None),
        (BrokerError("x.", code=ErrorCode.BROKER_UNREACHABLE), 500, None),
        (BrokerError("x.", code=ErrorCode.BROKER_REFUSED_CALL), 500, None),
        (CallFailedError("x.", code=ErrorCode.CALL_TIMED_OUT, sent=True), 500, None),
        (PoolClosedError("x."), 500, None),
        (RequestRefusedError(HTTPStatus.NOT_FOUND, "x.", code=ErrorCode.SYMBOL_NOT_FOUND), 404, None),
    ],
)
def test_every_failure_has_a_status_of_openalgo_a_code_and_whole_seconds(
    error: BrokerpoolError, status: int, retry_after: int | None
) -> None:
    told, answer = failure(error)
    assert told == status
    members = json.loads(encoded(answer))
    assert list(members)[:2] == ["status", "message"]
    assert members["status"] == "error"
    assert members["code"] == error.code.name
    assert members.get("retry_after") == retry_after


def test_faults_of_a_request_are_told_by_field_and_never_quote_what_was_sent() -> None:
    found = faults(
        [
            {"type": "missing", "loc": ("body", "symbol"), "msg": "Field required", "input": {"apikey": "s"}},
            {"type": "value_error", "loc": ("body", "symbols", 1, "exchange"), "msg": "Value error, must be"},
            {"type": "json_invalid", "loc": ("body", 17), "msg": "JSON decode error"},
            {"type": "missing", "loc": ("body",), "msg": "Field required"},
        ]
    )
    assert found == {
        "symbol": ["Field required"],
        "symbols.1.exchange": ["must be"],
        "body": ["JSON decode error", "Field required"],
    }


def test_a_stretch_of_days_is_cut_into_calls_that_meet_and_do_not_overlap() -> None:
    parts = windows(date(2025, 1, 1), date(2025, 3, 15), 60)
    assert [(str(a), str(b)) for a, b in parts] == [
        ("2025-01-01 00:00:00+05:30", "2025-03-01 23:59:59+05:30"),
        ("2025-03-02 00:00:00+05:30", "2025-03-15 23:59:59+05:30"),
    ]
    assert windows(date(2025, 1, 2), date(2025, 1, 1), 60) == []


def test_ticker_goes_back_thirty_days_for_short_candles_and_ten_years_for_daily_ones() -> None:
    assert earliest(date(2025, 3, 31), "5m") == date(2025, 3, 1)
    assert earliest(date(2025, 3, 31), "D") == date(2015, 4, 3)
    assert earliest(date(1, 1, 2), "D") == date(1990, 1, 1), "no day before the calendar begins"
