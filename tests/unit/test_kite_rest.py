"""Kite's HTTP API: what is asked for, what the answers mean, and what a complaint becomes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerError, Candle, Credentials, ErrorCode, Instrument, Login, TokenBook, ZerodhaRest
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.rest import RestLimits, RestRequest
from brokerpool.http.response import Response
from brokerpool.instruments import Details
from brokerpool.ticks import DepthLevel

NIFTY = Instrument("NFO", "NIFTY24APR25FUT")
INFY = Instrument("NSE", "INFY")
INDEX = Instrument("NSE_INDEX", "NIFTY")
SECRET = "topsecret"


def rest() -> ZerodhaRest:
    book = TokenBook([(INFY, 408065)])
    book.add(NIFTY, 13617666, Details("NIFTY25APRFUT", "NFO", "NIFTY", "FUT", "2025-04-24", 0.0, 75, 0.05))
    book.add(INDEX, 256265, Details("NIFTY 50", "NSE"))
    return ZerodhaRest("key", Login(Credentials(SECRET)), book=lambda: book)


def answer(data: object, status: int = 200) -> Response:
    body = {"status": "success", "data": data} if status < 400 else data
    return Response(status, {}, json.dumps(body).encode())


def test_names_are_kites_own_in_every_request() -> None:
    kite = rest()
    assert [kite.key(i) for i in (INFY, NIFTY, INDEX)] == ["NSE:INFY", "NFO:NIFTY25APRFUT", "NSE:NIFTY 50"]
    keys = ["NSE:INFY", "NFO:NIFTY25APRFUT"]
    assert kite.quotes(keys) == RestRequest("/quote", {"i": keys}, "quote")
    assert kite.ohlc(keys) == RestRequest("/quote/ohlc", {"i": keys}, "quote")
    assert kite.ltp(keys) == RestRequest("/quote/ltp", {"i": keys}, "quote")
    at = datetime(2025, 4, 1, 3, 45, tzinfo=UTC)
    asked = kite.history(NIFTY, "5m", at, at)
    assert asked.path == "/instruments/historical/13617666/5minute"
    assert asked.params == {"from": "2025-04-01 09:15:00", "to": "2025-04-01 09:15:00", "oi": 1}
    assert asked.group == "historical"


def test_the_published_limits_are_the_ones_that_are_kept() -> None:
    limits = RestLimits.load("brokerpool.brokers.zerodha")
    assert limits.windows["quote"] == (RateWindow(1, 1.0),)
    assert limits.windows["historical"] == (RateWindow(3, 1.0),)
    assert set(limits.windows["order"]) == {RateWindow(10, 1), RateWindow(400, 60), RateWindow(5000, 86400)}
    assert limits.windows["other"] == (RateWindow(10, 1.0),)
    assert limits.batch == {"quote": 500, "ohlc": 1000, "ltp": 1000}


def test_a_quote_becomes_a_tick_with_everything() -> None:
    level = {"price": 1412.95, "quantity": 191, "orders": 3}
    quote = {
        "instrument_token": 408065,
        "timestamp": "2021-06-08 15:45:56",
        "last_trade_time": "2021-06-08 15:45:52",
        "last_price": 1412.95,
        "last_quantity": 5,
        "buy_quantity": 10,
        "sell_quantity": 5191,
        "volume": 7360198,
        "average_price": 1412.47,
        "oi": 0,
        "oi_day_high": 0,
        "oi_day_low": 0,
        "net_change": 0,
        "ohlc": {"open": 1396, "high": 1421.75, "low": 1395.55, "close": 1389.65},
        "depth": {"buy": [level] * 5, "sell": [level] * 5},
    }
    tick = rest().read_quotes(answer({"NSE:INFY": quote}), 1)["NSE:INFY"]
    assert (tick.instrument, tick.ltp, tick.volume, tick.close) == (INFY, 1412.95, 7360198, 1389.65)
    assert tick.timestamp == 1623147356000, "Kite's times are India's"
    assert tick.last_trade_time == 1623147352000
    assert tick.change == pytest.approx(23.3)
    assert tick.change_percent == pytest.approx(23.3 / 1389.65 * 100)
    assert tick.buy == (DepthLevel(1412.95, 191, 3),) * 5


def test_an_index_has_neither_quantities_nor_a_book() -> None:
    ohlc = {"open": 1, "high": 3, "low": 1, "close": 2}
    data = {"NSE:NIFTY 50": {"instrument_token": 256265, "last_price": 2.5, "ohlc": ohlc}}
    tick = rest().read_quotes(answer(data), 7)["NSE:NIFTY 50"]
    assert (tick.instrument, tick.volume, tick.buy, tick.timestamp) == (INDEX, 0, (), 7)
    day = rest().read_ohlc(answer(data), 7)["NSE:NIFTY 50"]
    assert (day.ltp, day.open, day.high, day.low, day.close) == (2.5, 1, 3, 1, 2)
    assert rest().read_ltp(answer(data), 7)["NSE:NIFTY 50"].ltp == 2.5


def test_what_the_list_does_not_name_is_left_out() -> None:
    assert rest().read_ltp(answer({"NSE:X": {"instrument_token": 1, "last_price": 1}}), 0) == {}


def test_an_answer_whose_key_and_token_name_two_instruments_is_a_price_of_neither() -> None:
    ohlc = {"open": 1, "high": 3, "low": 1, "close": 2}
    data = {"NSE:INFY": {"instrument_token": 256265, "last_price": 2.5, "ohlc": ohlc}}
    api = rest()
    for read in (api.read_ltp, api.read_ohlc, api.read_quotes):
        assert read(answer(data), 0) == {}


def test_a_complaint_of_the_broker_begins_no_line_and_is_cut() -> None:
    said = "no\n2026-01-01 ERROR forged \x1b[31m" + "x" * 500
    fault = rest().fault(answer({"message": said, "error_type": "InputException"}, 400))
    assert fault is not None
    assert str(fault).isprintable()
    assert len(str(fault)) < 350


def test_candles_begin_at_epoch_seconds() -> None:
    rows = [["2017-12-15T09:15:00+0530", 1704.5, 1705, 1699.25, 1702.8, 2499, 13]]
    assert rest().read_history(answer({"candles": rows})) == [
        Candle(1513309500, 1704.5, 1705.0, 1699.25, 1702.8, 2499, 13)
    ]


@pytest.mark.parametrize(
    ("status", "kind", "code"),
    [
        (403, "TokenException", ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (403, "PermissionException", ErrorCode.BROKER_REFUSED_CALL),
        (400, "InputException", ErrorCode.BROKER_REFUSED_CALL),
        (429, "NetworkException", ErrorCode.RATE_LIMITED),
        (503, "NetworkException", ErrorCode.BROKER_UNREACHABLE),
        (502, "DataException", ErrorCode.BROKER_UNREACHABLE),
        (500, "SomethingNew", ErrorCode.BROKER_UNREACHABLE),
    ],
)
def test_each_complaint_has_a_code_and_the_broker_s_words(status: int, kind: str, code: ErrorCode) -> None:
    said = answer({"status": "error", "message": "No such thing.", "error_type": kind}, status)
    fault = rest().fault(said)
    assert fault is not None
    assert fault.code is code
    assert f"{kind}: No such thing." in str(fault)
    assert rest().refuses(said) == (kind == "TokenException")


def test_a_good_answer_has_no_fault_and_an_error_page_has_one() -> None:
    assert rest().fault(answer({})) is None
    page = Response(502, {}, b"<html>Bad gateway</html>")
    fault = rest().fault(page)
    assert fault is not None
    assert fault.code is ErrorCode.BROKER_UNREACHABLE
    assert "502" in str(fault)
    assert rest().refuses(Response(403, {}, b"<html>")), "an edge that says nothing more"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.binary(max_size=100) | json_values.map(lambda value: json.dumps({"data": value}).encode()))
def test_whatever_a_broker_answers_is_read_or_told_as_its_fault(body: bytes) -> None:
    kite, said, codes = rest(), Response(200, {}, body), set()
    for read in (
        lambda: kite.read_ltp(said, 0),
        lambda: kite.read_ohlc(said, 0),
        lambda: kite.read_quotes(said, 0),
        lambda: kite.read_history(said),
    ):
        try:
            read()
        except BrokerError as error:
            codes.add(error.code)
    assert codes <= {ErrorCode.BROKER_UNREACHABLE}


def test_an_instrument_that_is_not_listed_has_no_history() -> None:
    at = datetime(2025, 4, 1, tzinfo=UTC)
    with pytest.raises(BrokerError, match="NSE:NOPE is not in Kite's list") as caught:
        rest().history(Instrument("NSE", "NOPE"), "1m", at, at)
    assert caught.value.code is ErrorCode.SYMBOL_NOT_FOUND


def test_secrets_are_in_the_headers_and_nowhere_else() -> None:
    kite = rest()
    assert kite.proof(kite.login.credentials)["Authorization"] == f"token key:{SECRET}"
    assert SECRET not in repr(kite)
