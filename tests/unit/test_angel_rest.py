"""Angel's HTTP API: what is asked for, what the answers mean, and which 403 says nothing of the login."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerError, Candle, Credentials, ErrorCode, Instrument, Login, TokenBook
from brokerpool.brokers.angel.rest import AngelRest
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.rest import RestLimits
from brokerpool.http.response import Response
from brokerpool.instruments import Details
from brokerpool.ticks import DepthLevel

INFY = Instrument("NSE", "INFY")
NIFTY = Instrument("NFO", "NIFTY24APR25FUT")
INDEX = Instrument("NSE_INDEX", "NIFTY")
SECRET = "topsecret"
TOO_FAST = b"Access denied because of exceeding access rate"


def rest() -> AngelRest:
    book = TokenBook()
    book.add(INFY, "1|1594", Details("INFY-EQ", "NSE", number="1594"))
    book.add(NIFTY, "2|35003", Details("NIFTY24APR25FUT", "NFO", number="35003"))
    book.add(INDEX, "1|99926000", Details("Nifty 50", "NSE", number="99926000"))
    return AngelRest("key", Login(Credentials(SECRET)), book=lambda: book)


def answer(data: object) -> Response:
    body = {"status": True, "message": "SUCCESS", "errorcode": "", "data": data}
    return Response(200, {}, json.dumps(body).encode())


def fetched(*rows: dict[str, Any]) -> Response:
    return answer({"fetched": list(rows), "unfetched": []})


def row(number: str = "1594", exchange: str = "NSE", **more: Any) -> dict[str, Any]:
    return {"exchange": exchange, "tradingSymbol": "X", "symbolToken": number, "ltp": 1571.55, **more}


DAY: dict[str, Any] = {"open": 1563.0, "high": 1580.5, "low": 1560.1, "close": 1560.0}


def test_names_are_angels_own_in_every_request() -> None:
    angel = rest()
    keys = [angel.key(i) for i in (INFY, INDEX, NIFTY)]
    assert keys == ["NSE:1594", "NSE:99926000", "NFO:35003"]
    for mode, ask in (("LTP", angel.ltp), ("OHLC", angel.ohlc), ("FULL", angel.quotes)):
        asked = ask(keys)
        assert (asked.path, asked.group) == ("/rest/secure/angelbroking/market/v1/quote/", "quote")
        tokens = {"NSE": ["1594", "99926000"], "NFO": ["35003"]}
        assert asked.body == {"mode": mode, "exchangeTokens": tokens}
    at = datetime(2025, 4, 1, 3, 45, tzinfo=UTC)
    asked = angel.history(NIFTY, "5m", at, at)
    assert (asked.path, asked.group) == (
        "/rest/secure/angelbroking/historical/v1/getCandleData",
        "historical",
    )
    assert asked.body == {
        "exchange": "NFO",
        "symboltoken": "35003",
        "interval": "FIVE_MINUTE",
        "fromdate": "2025-04-01 09:15",
        "todate": "2025-04-01 09:15",
    }


def test_an_instrument_that_is_not_listed_is_not_asked_for() -> None:
    angel = rest()
    unknown = Instrument("NSE", "NOPE")
    assert angel.quotes([angel.key(unknown)]).body == {"mode": "FULL", "exchangeTokens": {}}
    with pytest.raises(BrokerError) as refused:
        angel.history(unknown, "5m", datetime.now(UTC), datetime.now(UTC))
    assert refused.value.code is ErrorCode.SYMBOL_NOT_FOUND


def test_the_published_limits_are_the_ones_that_are_kept() -> None:
    limits = RestLimits.load("brokerpool.brokers.angel")
    assert set(limits.windows["quote"]) == {RateWindow(6, 1), RateWindow(500, 60), RateWindow(5000, 3600)}
    candles = {RateWindow(3, 1), RateWindow(500, 60), RateWindow(5000, 3600)}
    assert set(limits.windows["historical"]) == candles
    assert limits.batch == {"quote": 50, "ohlc": 50, "ltp": 50}


def test_the_proof_of_a_call_is_the_token_once_with_the_word_before_it() -> None:
    for token in (SECRET, f"Bearer {SECRET}"):
        headers = rest().proof(Credentials(token))
        assert headers["Authorization"] == f"Bearer {SECRET}"
        assert headers["X-PrivateKey"] == "key"


def test_a_quote_becomes_a_tick_with_everything() -> None:
    level = {"price": 1571.5, "quantity": 191, "orders": 3}
    quote = row(
        **DAY,
        lastTradeQty=5,
        exchFeedTime="21-Jun-2023 10:46:10",
        exchTradeTime="21-Jun-2023 10:46:09",
        netChange=11.55,
        percentChange=0.74,
        avgPrice=1570.47,
        tradeVolume=7360198,
        opnInterest=12,
        totBuyQuan=10,
        totSellQuan=5191,
        depth={"buy": [level] * 5, "sell": [level] * 5},
    )
    tick = rest().read_quotes(fetched(quote), 1)["NSE:1594"]
    assert (tick.instrument, tick.ltp, tick.volume, tick.close) == (INFY, 1571.55, 7360198, 1560.0)
    assert tick.timestamp == 1687324570000, "Angel's times are India's"
    assert tick.last_trade_time == 1687324569000
    assert (tick.change, tick.oi, tick.total_sell_quantity) == (11.55, 12, 5191)
    assert tick.change_percent == pytest.approx(11.55 / 1560 * 100)
    assert tick.buy == (DepthLevel(1571.5, 191, 3),) * 5


def test_an_index_has_neither_quantities_nor_a_book() -> None:
    said = fetched(row("99926000", **DAY, exchFeedTime="", exchTradeTime="once"))
    tick = rest().read_quotes(said, 7)["NSE:99926000"]
    assert (tick.instrument, tick.volume, tick.buy, tick.timestamp) == (INDEX, 0, (), 7)
    day = rest().read_ohlc(said, 7)["NSE:99926000"]
    assert (day.ltp, day.open, day.high, day.low, day.close) == (1571.55, 1563.0, 1580.5, 1560.1, 1560.0)


def test_what_is_not_listed_or_cannot_be_read_is_left_out_and_the_rest_is_there() -> None:
    said = fetched(row("1"), row("1594", "MOON"), {"symbolToken": 5}, row(ltp="high"), row(**DAY))
    assert list(rest().read_ltp(said, 0)) == ["NSE:1594"]
    assert list(rest().read_ohlc(said, 0)) == ["NSE:1594"]


def test_candles_begin_at_epoch_seconds_and_null_is_none() -> None:
    rows = [["2023-09-06T11:15:00+05:30", 19571.2, 19573.35, 19534.4, 19552.05, 7]]
    assert rest().read_history(answer(rows)) == [Candle(1693979100, 19571.2, 19573.35, 19534.4, 19552.05, 7)]
    assert rest().read_history(answer(None)) == []
    unlike: list[object] = [[["yesterday", 1, 1, 1, 1, 1]], [["2023-09-06T11:15:00+05:30", 1]], "x", {}]
    for bad in unlike:
        with pytest.raises(BrokerError, match="not as documented"):
            rest().read_history(answer(bad))


@pytest.mark.parametrize("code", ["AG8001", "AG8002", "AB1010"])
@pytest.mark.parametrize("spelling", ["errorcode", "errorCode"])
@pytest.mark.parametrize("status", [False, "false", "FALSE"])
def test_a_session_that_has_ended_is_told_by_a_code_and_a_200(
    code: str, spelling: str, status: object
) -> None:
    angel = rest()
    said = Response(200, {}, json.dumps({"status": status, "message": "Over", spelling: code}).encode())
    assert angel.refuses(said)
    assert not angel.too_fast(said)
    fault = angel.fault(said)
    assert fault is not None
    assert fault.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
    assert code in str(fault)


def test_a_403_for_calls_that_come_too_fast_says_nothing_of_the_login() -> None:
    angel = rest()
    for said in (Response(403, {}, TOO_FAST), Response(403, {}, TOO_FAST.upper() + b"\n")):
        assert angel.too_fast(said)
        assert not angel.refuses(said)
        fault = angel.fault(said)
        assert fault is not None
        assert fault.code is ErrorCode.RATE_LIMITED
    candles = Response(200, {}, b'{"status": false, "errorcode": "AB1021", "message": "Too many requests"}')
    assert (angel.too_fast(candles), angel.refuses(candles)) == (True, False)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (Response(401, {}, b""), ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (Response(403, {}, b"<html>not from here</html>"), ErrorCode.BROKER_UNREACHABLE),
        (Response(502, {}, b"<html>"), ErrorCode.BROKER_UNREACHABLE),
        (Response(429, {}, b""), ErrorCode.RATE_LIMITED),
        (Response(200, {}, b'{"status": false, "errorcode": "AB1004"}'), ErrorCode.BROKER_UNREACHABLE),
        (Response(200, {}, b'{"status": false, "errorcode": "AB1009"}'), ErrorCode.BROKER_REFUSED_CALL),
        (Response(200, {}, b'{"success": false, "errorCode": "AB1009"}'), ErrorCode.BROKER_REFUSED_CALL),
        (Response(400, {}, b'{"status": false, "errorcode": "AB1009"}'), ErrorCode.BROKER_REFUSED_CALL),
    ],
)
def test_each_complaint_has_its_code(said: Response, code: ErrorCode) -> None:
    fault = rest().fault(said)
    assert fault is not None
    assert fault.code is code


def test_a_good_answer_is_no_complaint_however_long() -> None:
    for said in (fetched(row()), answer([["x" * 9_000]]), answer(None)):
        assert rest().fault(said) is None
        assert not rest().refuses(said)
        assert not rest().too_fast(said)


def test_a_complaint_of_the_broker_begins_no_line_and_is_cut() -> None:
    said = "no\n2026-01-01 ERROR forged \x1b[31m" + "x" * 500
    body = {"status": False, "errorcode": "AB1009", "message": said}
    fault = rest().fault(Response(200, {}, json.dumps(body).encode()))
    assert fault is not None
    assert str(fault).isprintable()
    assert len(str(fault)) < 350


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["status", "data", "fetched", "errorcode", "ltp", "exchange"]), inner, max_size=4
    ),
).map(lambda value: json.dumps(value).encode()), st.sampled_from([200, 400, 401, 403, 500]))  # fmt: skip
def test_no_answer_raises_anything_but_a_broker_error(body: bytes, status: int) -> None:
    angel, said = rest(), Response(status, {}, body)
    angel.refuses(said), angel.too_fast(said), angel.fault(said)
    for read in (partial(angel.read_ltp, said, 0), partial(angel.read_quotes, said, 0)):
        with contextlib.suppress(BrokerError):
            assert read() == {}
    with contextlib.suppress(BrokerError):
        assert isinstance(angel.read_history(said), list)


def test_no_secret_shows() -> None:
    assert SECRET not in repr(rest())
    assert "key" not in repr(rest()).replace("AngelRest", "")
