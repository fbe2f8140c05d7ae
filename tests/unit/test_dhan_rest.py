"""Dhan's HTTP API: what is asked, what the answers mean, and what it complains of in either form."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.dhan.account import HTTP_URL, DhanFeed
from brokerpool.brokers.dhan.instruments import DhanDetails
from brokerpool.brokers.dhan.rest import DhanRest
from brokerpool.brokers.dhan.segments import token
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.rest import Candle
from brokerpool.errors import BrokerError, ErrorCode
from brokerpool.instruments import Details, Instrument, TokenBook

INFY, FUTURE = Instrument("NSE", "INFY"), Instrument("NFO", "NIFTY24NOV26FUT")
INDIA = timezone(timedelta(hours=5, minutes=30))
NOW_MS = 1_795_501_800_000


class Answer(NamedTuple):
    status: int
    body: bytes


def answer(body: object, status: int = 200) -> Answer:
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode())


def rest() -> DhanRest:
    book = TokenBook()
    book.add(INFY, token(1, 1594), DhanDetails("INFY", "NSE_EQ", instrument="EQUITY"))
    book.add(FUTURE, token(2, 49081), DhanDetails("NIFTY-Nov2026-FUT", "NSE_FNO", instrument="FUTIDX"))
    book.add("NSE:UNKNOWN", token(1, 7), Details("UNKNOWN", "NSE"))
    return DhanFeed("1100000001", "the-token", book=book).rest()


def quote(**other: Any) -> dict[str, Any]:
    levels = [{"quantity": 1800, "orders": 1, "price": 77}, {"quantity": 0, "orders": 0, "price": 0}]
    return {
        "average_price": 1570.37,
        "buy_quantity": 1825,
        "depth": {"buy": levels, "sell": levels[::-1]},
        "last_price": 1573.7,
        "last_quantity": 7,
        "last_trade_time": "24/11/2026 12:00:30",
        "lower_circuit_limit": 48.25,
        "net_change": 5.9,
        "ohlc": {"open": 1569.15, "close": 1567.8, "high": 1575, "low": 1561.05},
        "oi": 5,
        "oi_day_high": 6,
        "oi_day_low": 4,
        "sell_quantity": 3,
        "upper_circuit_limit": 510.85,
        "volume": 1_192_471,
        **other,
    }


def test_the_token_stands_in_the_headers_and_nowhere_else() -> None:
    api = rest()
    assert api.http_url == HTTP_URL
    assert api.proof(api.login.credentials) == {
        "access-token": "the-token",
        "client-id": "1100000001",
        "Accept": "application/json",
    }
    assert "the-token" not in repr(api)


def test_instruments_are_asked_for_by_segment_with_numbers() -> None:
    api = rest()
    keys = [api.key(each) for each in (INFY, FUTURE, Instrument("NSE", "NOPE"))]
    assert keys == ["NSE_EQ:1594", "NSE_FNO:49081", "NSE:NOPE"]
    for path, ask in (("ltp", api.ltp), ("ohlc", api.ohlc), ("quote", api.quotes)):
        asked = ask(keys)
        assert (asked.path, asked.group) == (f"/marketfeed/{path}", "quote")
        assert asked.body == {"NSE_EQ": [1594], "NSE_FNO": [49081]}


def test_prices_are_read_by_key_and_a_row_that_cannot_be_costs_itself() -> None:
    api = rest()
    data = {
        "NSE_EQ": {"1594": quote(), "7": quote(last_price="x"), "x": quote(), "99": quote()},
        "NSE_FNO": {"49081": quote(last_price=368.15)},
        "MOON": {"1": quote()},
    }
    told = answer({"data": data, "status": "success"})
    assert {key: tick.ltp for key, tick in api.read_ltp(told, NOW_MS).items()} == {
        "NSE_EQ:1594": 1573.7,
        "NSE_FNO:49081": 368.15,
    }
    day = api.read_ohlc(told, NOW_MS)["NSE_EQ:1594"]
    assert (day.open, day.high, day.low, day.close, day.timestamp) == (1569.15, 1575, 1561.05, 1567.8, NOW_MS)
    tick = api.read_quotes(told, NOW_MS)["NSE_EQ:1594"]
    assert tick.instrument == INFY
    assert (tick.timestamp, tick.last_trade_time) == (1_795_501_830_000, 1_795_501_830_000)
    assert (tick.change, round(tick.change_percent, 4)) == (5.9, 0.3763)
    assert (tick.buy[0].price, tick.buy[0].quantity, tick.sell[1].orders) == (77, 1800, 1)
    assert (tick.oi, tick.oi_day_high, tick.oi_day_low) == (5, 6, 4)


def test_what_never_traded_has_the_time_of_its_arrival() -> None:
    api = rest()
    for never in ("01/01/1980 00:00:00", "", "soon"):
        data = {"NSE_EQ": {"1594": quote(last_trade_time=never)}}
        tick = api.read_quotes(answer({"data": data, "status": "success"}), NOW_MS)["NSE_EQ:1594"]
        assert (tick.timestamp, tick.last_trade_time) == (NOW_MS, 0)


def test_candles_are_asked_for_in_india_s_time_and_the_last_day_is_among_them() -> None:
    api = rest()
    begin, end = datetime(2026, 11, 20, 9, 15, tzinfo=INDIA), datetime(2026, 11, 24, 15, 30, tzinfo=INDIA)
    days, minutes = api.history(FUTURE, "D", begin, end), api.history(INFY, "15m", begin, end)
    assert (days.path, days.group, days.body) == (
        "/charts/historical",
        "data",
        {
            "securityId": "49081",
            "exchangeSegment": "NSE_FNO",
            "instrument": "FUTIDX",
            "oi": True,
            "fromDate": "2026-11-20",
            "toDate": "2026-11-25",
        },
    )
    assert (minutes.path, minutes.body) == (
        "/charts/intraday",
        {
            "securityId": "1594",
            "exchangeSegment": "NSE_EQ",
            "instrument": "EQUITY",
            "oi": True,
            "interval": "15",
            "fromDate": "2026-11-20 09:15:00",
            "toDate": "2026-11-24 15:30:00",
        },
    )
    for unlisted in (Instrument("NSE", "NOPE"), Instrument("NSE", "UNKNOWN")):
        with pytest.raises(BrokerError) as raised:
            api.history(unlisted, "D", begin, end)
        assert raised.value.code is ErrorCode.SYMBOL_NOT_FOUND
    assert api.intervals == {"1m": 90, "5m": 90, "15m": 90, "25m": 90, "1h": 90, "D": 3650}


def test_candles_are_read_and_open_interest_may_be_missing() -> None:
    api = rest()
    columns = {"open": [1, 2], "high": [3, 4], "low": [0.5, 1], "close": [2, 3], "volume": [10, 20]}
    told = {**columns, "timestamp": [1_326_220_200, 1_326_306_600]}
    for interest, oi in (([5, 6], [5, 6]), ([5], [5, 0]), ([], [0, 0]), ([5, 6, 7], [5, 6])):
        candles = api.read_history(answer({**told, "open_interest": interest}))
        assert candles == [
            Candle(1_326_220_200, 1, 3, 0.5, 2, 10, oi[0]),
            Candle(1_326_306_600, 2, 4, 1, 3, 20, oi[1]),
        ]
    wrong: list[object] = [{**told, "low": [1]}, {"open": []}, [], {**told, "timestamp": [1e400, 2]}]
    for bad in wrong:
        with pytest.raises(BrokerError, match="not as documented"):
            api.read_history(answer(bad))


DATA_FORM = {"data": {"805": "Too many requests. You may be blocked."}, "status": "failed"}


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"errorCode": "DH-904", "errorMessage": "slow"}, 429, ErrorCode.RATE_LIMITED),
        (DATA_FORM, 429, ErrorCode.RATE_LIMITED),
        (DATA_FORM, 400, ErrorCode.RATE_LIMITED),
        (DATA_FORM, 200, ErrorCode.RATE_LIMITED),
        (b"<html>", 429, ErrorCode.RATE_LIMITED),
        ({"errorCode": "DH-901"}, 401, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        ({"errorCode": "DH-901"}, 400, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        ({"data": {"807": "expired"}, "status": "failed"}, 401, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        ({"data": {"808": "wrong"}, "status": "failed"}, 400, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        ({"data": {"809": "wrong"}, "status": "failed"}, 403, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        ({"data": {"810": "wrong"}, "status": "failed"}, 200, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (b"", 401, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        ({"errorCode": "DH-902"}, 403, ErrorCode.BROKER_REFUSED_CALL),
        ({"data": {"806": "not subscribed"}, "status": "failed"}, 403, ErrorCode.BROKER_REFUSED_CALL),
        ({"errorCode": "DH-905"}, 400, ErrorCode.BROKER_REFUSED_CALL),
        ({"errorCode": "DH-907"}, 400, ErrorCode.BROKER_REFUSED_CALL),
        ({"errorCode": "DH-908"}, 500, ErrorCode.BROKER_UNREACHABLE),
        (b"<html>", 502, ErrorCode.BROKER_UNREACHABLE),
        ({"data": {}, "status": "failed"}, 200, ErrorCode.BROKER_UNREACHABLE),
        (b"", 403, ErrorCode.BROKER_UNREACHABLE),
    ],
)
def test_complaints_in_either_form_are_told_apart(body: object, status: int, code: ErrorCode) -> None:
    api, told = rest(), answer(body, status)
    fault = api.fault(told)
    assert fault is not None
    assert fault.code is code
    assert api.refuses(told) is (code is ErrorCode.BROKER_REFUSED_CREDENTIALS)
    if status != 429:
        assert api.too_fast(told) is (code is ErrorCode.RATE_LIMITED)
    with pytest.raises(BrokerError):
        api.read_ltp(told, NOW_MS)


def test_a_good_answer_is_no_complaint_whatever_it_holds() -> None:
    api = rest()
    long = {"data": {"NSE_EQ": {str(n): quote() for n in range(50)}}, "status": "success"}
    good: list[object] = [long, {"status": "success", "data": {}}, {"open": []}, [1], {"status": 200}]
    for body in good:
        told = answer(body)
        assert api.fault(told) is None
        assert not api.refuses(told)
        assert not api.too_fast(told)


@given(st.binary(max_size=200) | st.text().map(str.encode), st.sampled_from([200, 400, 401, 429, 500]))
def test_no_body_makes_the_codec_raise_anything_but_its_own_error(body: bytes, status: int) -> None:
    api, told = rest(), Answer(status, body)
    api.fault(told), api.refuses(told), api.too_fast(told)
    for read in (api.read_ltp, api.read_ohlc, api.read_quotes):
        with suppress(BrokerError):
            read(told, NOW_MS)
    with suppress(BrokerError):
        api.read_history(told)


def test_the_limits_are_the_published_ones() -> None:
    limits = rest().limits
    assert limits.batch == {"ltp": 1000, "ohlc": 1000, "quote": 1000}
    assert limits.windows == {
        "quote": (RateWindow(1, 1.0),),
        "data": (RateWindow(5, 1.0), RateWindow(100_000, 86_400.0)),
        "other": (RateWindow(20, 1.0),),
    }
