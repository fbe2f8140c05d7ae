"""OpenAlgo's REST as an upstream is asked: quotes and candles over real sockets, and what answers mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from brokerpool import BrokerApi, BrokerError, Candle, Credentials, DepthLevel, ErrorCode, Instrument, Login
from brokerpool.brokers.openalgo import OpenAlgoBook, OpenAlgoRest
from brokerpool.http.response import Response
from tests.rehearsal import Prompt
from tests.small_openalgo import KEY, SmallOpenAlgo, small_openalgo

INFY, SBIN, NOPE = (Instrument("NSE", symbol) for symbol in ("INFY", "SBIN", "NOPE"))
DAY = datetime(2026, 9, 21, tzinfo=UTC)
_IST = 19_800


def rest(http_url: str = "http://127.0.0.1:5000", login: Login | None = None, **entries: Any) -> OpenAlgoRest:
    book = OpenAlgoBook(entries.get("book", ()))
    return OpenAlgoRest(login or Login(Credentials(KEY)), book=lambda: book, http_url=http_url)


@asynccontextmanager
async def api_of(login: Login | None = None) -> AsyncIterator[tuple[SmallOpenAlgo, BrokerApi]]:
    async with (
        small_openalgo() as server,
        BrokerApi(rest(f"http://{server.url}", login), random=Prompt()) as api,
    ):
        yield server, api


def answer(body: object, status: int = 200) -> Response:
    return Response(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode())


def test_quotes_of_all_kinds_come_of_one_call_and_without_what_the_server_does_not_know() -> None:
    async def main() -> None:
        async with api_of() as (server, api):
            ltp, ohlc, quotes = await asyncio.gather(
                api.ltp([INFY, NOPE]), api.ohlc([INFY, NOPE, SBIN]), api.quotes([INFY, NOPE])
            )
            assert {i: tick.ltp for i, tick in ltp.items()} == {INFY: 100.0}
            assert set(ohlc) == {INFY, SBIN}
            day = ohlc[INFY]
            assert (day.open, day.high, day.low, day.close) == (99.0, 111.0, 98.0, 97.5)
            tick = quotes[INFY].tick
            assert (tick.volume, tick.oi, tick.close) == (1200, 3, 97.5)
            assert (tick.buy, tick.sell) == ((DepthLevel(99.9, 0, 0),), ()), (
                "no offer is told, and none made up"
            )
            assert [endpoint for endpoint, _ in server.calls] == ["multiquotes"] * 3
            assert all(said["apikey"] == KEY for _, said in server.calls)

    asyncio.run(main())


def test_single_quotes_that_are_asked_for_together_leave_as_one_post() -> None:
    async def main() -> None:
        async with api_of() as (server, api):
            found = await asyncio.gather(*(api.quotes(f"NSE:S{n}") for n in range(50)))
            assert all(len(one) == 1 for one in found)
            ((_, said),) = server.calls
            assert len(said["symbols"]) == 50

    asyncio.run(main())


def test_the_order_book_of_one_instrument_comes_with_a_call_of_its_own() -> None:
    async def main() -> None:
        async with api_of() as (server, api):
            one, same = await asyncio.gather(api.depth(INFY), api.depth("NSE:INFY"))
            assert one is not None
            assert same is not None
            tick = one.tick
            assert (tick.ltp, tick.last_trade_quantity, tick.total_buy_quantity) == (100.0, 5, 7)
            assert (tick.buy, tick.sell) == ((DepthLevel(99.9, 50, 0),), ())
            assert server.calls == [("depth", {"apikey": KEY, "symbol": "INFY", "exchange": "NSE"})]
            with pytest.raises(BrokerError) as raised:
                await api.depth(NOPE)
            assert raised.value.code is ErrorCode.SYMBOL_NOT_FOUND

    asyncio.run(main())


def test_symbols_of_which_none_is_known_are_all_left_out() -> None:
    async def main() -> None:
        async with api_of() as (_, api):
            assert await api.quotes([NOPE]) == {}

    asyncio.run(main())


def test_candles_are_asked_for_by_days_in_india_and_those_of_days_begin_at_midnight_there() -> None:
    async def main() -> None:
        async with api_of() as (server, api):
            row = {"open": 1, "high": 2, "low": 0.5, "close": 1.5, "volume": 7}
            server.candles = [
                {**row, "timestamp": 1_790_000_100, "oi": 4},
                {**row, "timestamp": 1_790_000_040},
            ]
            late = datetime(2026, 9, 21, 20, 0, tzinfo=UTC)
            candles = await api.history(INFY, "1m", DAY, late)
            assert candles == [
                Candle(1_790_000_040, 1.0, 2.0, 0.5, 1.5, 7, 0),
                Candle(1_790_000_100, 1.0, 2.0, 0.5, 1.5, 7, 4),
            ]
            midnight = int(DAY.timestamp())
            server.candles = [{**row, "timestamp": midnight}]
            (candle,) = await api.history(INFY, "D", DAY, DAY)
            assert candle.timestamp == midnight - _IST
            (_, first), (_, second) = server.calls
            asked = {"symbol": "INFY", "exchange": "NSE", "start_date": "2026-09-21"}
            assert first == {"apikey": KEY, **asked, "interval": "1m", "end_date": "2026-09-22"}
            assert second == {"apikey": KEY, **asked, "interval": "D", "end_date": "2026-09-21"}
            assert await api.history(INFY, "W", DAY, DAY)
            with pytest.raises(BrokerError, match=r"1m.*\bD\b"):
                await api.history(INFY, "7m", DAY, DAY)

    asyncio.run(main())


def test_a_read_is_repeated_after_a_failure_of_the_server() -> None:
    async def main() -> None:
        async with api_of() as (server, api):
            server.complaints = [(500, {"status": "error", "message": "broker away"})] * 2
            assert set(await api.ltp(INFY)) == {INFY}
            assert len(server.calls) == 3

    asyncio.run(main())


def test_a_wrong_key_is_not_used_again_and_the_next_one_is_used_in_the_same_call() -> None:
    async def provider() -> Credentials:
        return Credentials(KEY)

    async def main() -> None:
        async with api_of(Login(Credentials("a-wrong-key"))) as (server, api):
            with pytest.raises(BrokerError) as raised:
                await api.ltp(INFY)
            assert raised.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            assert "a-wrong-key" not in str(raised.value)
            assert len(server.calls) == 1
        async with api_of(Login(Credentials("a-wrong-key"), provider)) as (server, api):
            assert set(await api.ltp(INFY)) == {INFY}
            assert [said["apikey"] for _, said in server.calls] == ["a-wrong-key", KEY]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (200, {"status": "error", "message": "no"}, ErrorCode.BROKER_REFUSED_CALL),
        (400, {"message": "Symbol not found"}, ErrorCode.SYMBOL_NOT_FOUND),
        (400, {"message": {"interval": ["Not a valid choice."]}}, ErrorCode.BROKER_REFUSED_CALL),
        (400, {"message": "no", "code": "INTERVAL_NOT_SUPPORTED"}, ErrorCode.INTERVAL_NOT_SUPPORTED),
        (403, {"message": "Invalid openalgo apikey"}, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (403, {"message": "no", "code": "AUTHENTICATION_ERROR"}, ErrorCode.BROKER_REFUSED_CREDENTIALS),
        (403, {"message": "no API key may do it", "code": "SCOPE_MISSING"}, ErrorCode.BROKER_REFUSED_CALL),
        (403, {"message": "not allowed in Semi-Auto mode"}, ErrorCode.BROKER_REFUSED_CALL),
        (404, {"message": "nothing here"}, ErrorCode.SYMBOL_NOT_FOUND),
        (429, {"message": "slow down", "retry_after": 60}, ErrorCode.RATE_LIMITED),
        (500, {"message": "Failed for the symbol"}, ErrorCode.BROKER_UNREACHABLE),
        (502, b"<html>bad gateway</html>", ErrorCode.BROKER_UNREACHABLE),
        (403, b"<html>forbidden</html>", ErrorCode.BROKER_REFUSED_CALL),
        (500, {"message": 5, "code": [1]}, ErrorCode.BROKER_UNREACHABLE),
    ],
)
def test_a_complaint_comes_under_our_code_and_only_a_wrong_key_speaks_against_the_key(
    status: int, said: object, code: ErrorCode
) -> None:
    codec, told = rest(), answer(said, status)
    fault = codec.fault(told)
    assert fault is not None
    assert fault.code is code
    assert codec.refuses(told) is (code is ErrorCode.BROKER_REFUSED_CREDENTIALS)
    assert not codec.too_fast(told)


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"null", b'{"results": 5, "data": 5}', b"\xff"])
def test_an_answer_that_is_not_as_documented_is_an_error(body: bytes) -> None:
    for read in (lambda a: rest().read_quotes(a, 0), rest().read_history):
        with pytest.raises(BrokerError) as raised:
            read(answer(body))
        assert raised.value.code is ErrorCode.BROKER_UNREACHABLE


def test_quotes_with_odd_members_are_read_as_far_as_they_go() -> None:
    results = [
        {"symbol": "A", "exchange": "NSE", "data": {"ltp": 1.5, "volume": None, "oi": 2.5, "bid": 1.25}},
        {"symbol": "B", "exchange": "NSE", "data": {"ltp": None}},
        {"symbol": "C", "exchange": "NSE", "data": None},
        {"symbol": "D", "exchange": "NSE", "error": "No data"},
    ]
    found = rest().read_quotes(answer({"status": "success", "results": results}), 77)
    assert set(found) == {"NSE:A"}
    tick = found["NSE:A"]
    assert (tick.timestamp, tick.volume, tick.oi, tick.buy) == (77, 0, 0, (DepthLevel(1.25, 0, 0),))


def test_a_symbol_that_the_list_lacks_is_not_asked_for() -> None:
    codec = rest(book=[(INFY, "NSE:INFY")])
    with pytest.raises(BrokerError) as raised:
        codec.history(SBIN, "1m", DAY, DAY)
    assert raised.value.code is ErrorCode.SYMBOL_NOT_FOUND


def test_no_secret_shows() -> None:
    codec = rest()
    assert KEY not in repr(codec)
    assert codec.order_key() == KEY
    assert codec.carries_orders
    assert KEY not in str(codec.proof(codec.login.credentials))
