"""Upstox's HTTP API: what documented answers say, what complaints mean, and the simulated broker's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool import BrokerApi, BrokerError, Credentials, ErrorCode, Instrument, Login
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.brokers.rest import Ohlc
from brokerpool.brokers.upstox import UpstoxFeed, UpstoxRest
from brokerpool.instruments import TokenBook
from brokerpool.simulator.history import History
from brokerpool.simulator.upstox.broker import UpstoxSimulator
from brokerpool.ticks import DepthLevel, DepthTick, Tick
from tests.rehearsal import Prompt

NHPC, KEY = Instrument("NSE", "NHPC"), "NSE_EQ|INE848E01016"
NIFTY, NIFTY_KEY = Instrument("NSE_INDEX", "NIFTY"), "NSE_INDEX|Nifty 50"
RECEIVED_MS = 1_790_000_000_123
IST = timezone(timedelta(hours=5, minutes=30))
#: 2026-11-24, 12:00:30 in India, a Tuesday.
NOON = 1_795_501_830.0


def rest(now: float = NOON) -> UpstoxRest:
    book = TokenBook([(NHPC, KEY), (NIFTY, NIFTY_KEY)])
    login = Login(Credentials("the-token"))
    return UpstoxRest(login, book=lambda: book, http_url="https://api.example", wall_clock=lambda: now)


def answer(data: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps({"status": "success", "data": data}).encode())


def complaint(status: int, code: str | None, member: str = "errorCode") -> Answer:
    error = {"message": "no", **({member: code} if code else {})}
    return Answer(status, json.dumps({"status": "error", "errors": [error]}).encode())


# -- requests ---------------------------------------------------------------------------------------------


def test_requests_name_keys_and_carry_the_token() -> None:
    api = rest()
    assert api.key(NHPC) == KEY
    assert api.proof(Credentials("t"))["Authorization"] == "Bearer t"
    assert api.ltp([KEY, NIFTY_KEY]).params == {"instrument_key": f"{KEY},{NIFTY_KEY}"}
    assert api.ohlc([KEY]).params == {"instrument_key": KEY, "interval": "1d"}
    assert {api.ltp([]).group, api.ohlc([]).group, api.quotes([]).group} == {"ltp", "ohlc", "quote"}
    assert api.limits.batch == {"ltp": 500, "ohlc": 500, "quote": 500}
    for windows in api.limits.windows.values():
        assert [tuple(window) for window in windows] == [(50, 1.0), (500, 60.0), (2000, 1800.0)]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=IST)


def test_the_candles_of_past_days_and_of_today_are_asked_for_where_they_are_told() -> None:
    api = rest()
    key = "NSE_INDEX%7CNifty%2050"
    past = api.history(NIFTY, "15m", at("2026-11-02"), at("2026-11-20T15:30"))
    assert past.path == f"/v3/historical-candle/{key}/minutes/15/2026-11-20/2026-11-02"
    today = api.history(NIFTY, "1h", at("2026-11-24T09:15"), at("2026-11-24T11:00"))
    assert today.path == f"/v3/historical-candle/intraday/{key}/hours/1"


@pytest.mark.parametrize(
    ("interval", "start", "end", "last"),
    [
        ("1m", "2026-11-20", "2026-11-23T15:30", "2026-11-23T15:30"),
        ("1m", "2026-11-20", "2026-11-24T11:00", "2026-11-23T23:59:59"),
        ("1m", "2026-11-24", "2026-11-24T11:00", "2026-11-24T11:00"),
        ("1m", "2026-09-01", "2026-11-24T11:00", "2026-09-29"),
        ("D", "2020-01-01", "2026-11-23", "2026-11-23"),
    ],
)
def test_a_call_for_candles_reaches_to_the_end_of_yesterday_or_of_the_longest_span(
    interval: str, start: str, end: str, last: str
) -> None:
    assert rest().span(interval, at(start), at(end)) == at(last)


def test_an_instrument_that_is_not_listed_has_no_history() -> None:
    with pytest.raises(BrokerError) as unknown:
        rest().history(Instrument("NSE", "NOPE"), "1m", at("2026-11-20"), at("2026-11-20"))
    assert unknown.value.code is ErrorCode.SYMBOL_NOT_FOUND


# -- answers ----------------------------------------------------------------------------------------------


def test_the_documented_full_quote_is_read_with_the_close_of_the_session_before() -> None:
    quote = {
        "ohlc": {"open": 53.4, "high": 53.8, "low": 51.75, "close": 52.05},
        "depth": {
            "buy": [{"quantity": 6917, "price": 52.05, "orders": 20}],
            "sell": [{"quantity": 0, "price": 0, "orders": 0}],
        },
        "timestamp": "2023-10-19T05:21:51.099+05:30",
        "instrument_token": KEY,
        "symbol": "NHPC",
        "last_price": 52.05,
        "volume": 24123697,
        "average_price": 52.56,
        "oi": 0,
        "net_change": -1.0500000000000043,
        "total_buy_quantity": 6917,
        "total_sell_quantity": 0,
        "last_trade_time": "1697624972130",
        "oi_day_high": 0,
        "oi_day_low": 0,
    }
    found = rest().read_quotes(answer({"NSE_EQ:NHPC": quote}), RECEIVED_MS)
    tick = found[KEY]
    assert (tick.instrument, tick.ltp, tick.timestamp) == (NHPC, 52.05, 1_697_673_111_099)
    assert (tick.open, tick.high, tick.low, tick.close) == (53.4, 53.8, 51.75, 53.1)
    assert (tick.change, round(tick.change_percent, 4)) == (-1.05, -1.9774)
    assert (tick.volume, tick.avg_trade_price, tick.last_trade_time) == (24123697, 52.56, 1697624972130)
    assert tick.buy == (DepthLevel(52.05, 6917, 20),)


def test_an_index_has_neither_quantities_nor_a_book() -> None:
    quote = {
        "instrument_token": NIFTY_KEY,
        "last_price": 5.0,
        "volume": None,
        "ohlc": None,
        "net_change": None,
    }
    tick = rest().read_quotes(answer({"NSE_INDEX:NIFTY": quote}), RECEIVED_MS)[NIFTY_KEY]
    assert tick == DepthTick(NIFTY, 5.0, RECEIVED_MS)


def test_prices_and_the_day_are_read_and_what_is_not_listed_is_left_out() -> None:
    bar = {"open": 2.0, "high": 4.0, "low": 1.0, "close": 3.0, "volume": 1, "ts": 1}
    row = {"last_price": 3.0, "instrument_token": KEY, "ltq": 1, "volume": 2, "cp": 2.5}
    day = {**row, "live_ohlc": bar, "prev_ohlc": {**bar, "close": 2.5}}
    stranger = {**day, "instrument_token": "NSE_EQ|NOBODY"}
    data = {
        "NSE_EQ:NHPC": day,
        "NSE_EQ:NOBODY": stranger,
        "NSE_EQ:EMPTY": {**row, "instrument_token": NIFTY_KEY},
    }
    assert rest().read_ltp(answer(data), RECEIVED_MS) == {
        KEY: Tick(NHPC, 3.0, RECEIVED_MS),
        NIFTY_KEY: Tick(NIFTY, 3.0, RECEIVED_MS),
    }
    assert rest().read_ohlc(answer(data), RECEIVED_MS) == {
        KEY: Ohlc(NHPC, 3.0, RECEIVED_MS, 2.0, 4.0, 1.0, 2.5),
        NIFTY_KEY: Ohlc(NIFTY, 3.0, RECEIVED_MS),
    }


def test_candles_come_the_newest_first_and_are_told_the_oldest_first() -> None:
    rows = [
        ["2023-10-19T15:15:00+05:30", 2, 4, 1, 3, 559982, 7],
        ["2023-10-19T14:45:00+05:30", 2, 4, 1, 3, 5, 0],
    ]
    candles = rest().read_history(answer({"candles": rows}))
    assert [(c.timestamp, c.volume, c.oi) for c in candles] == [(1697706900, 5, 0), (1697708700, 559982, 7)]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"data": 5}', b'{"data": {"candles": [["x", 1, 1, 1, 1, 1, 1]]}}']
)
def test_an_answer_that_is_not_as_documented_is_the_broker_s_fault(body: bytes) -> None:
    api = rest()
    for read in (
        lambda told: api.read_ltp(told, 0) or api.read_history(told),
        api.read_history,
    ):
        with pytest.raises(BrokerError) as unlike:
            read(Answer(200, body))
        assert unlike.value.code is ErrorCode.BROKER_UNREACHABLE


@given(st.binary(max_size=200), st.integers(200, 599))
def test_any_answer_is_judged_and_never_raises_anything_but_our_errors(body: bytes, status: int) -> None:
    api, told = rest(), Answer(status, body)
    assert isinstance(api.refuses(told), bool)
    assert isinstance(api.too_fast(told), bool)
    fault = api.fault(told)
    assert (
        isinstance(fault, BrokerError) if status >= 400 else fault is None or isinstance(fault, BrokerError)
    )


# -- complaints -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["errorCode", "error_code"])
@pytest.mark.parametrize(
    ("status", "code", "ours", "refuses", "too_fast"),
    [
        (401, "UDAPI100050", ErrorCode.BROKER_REFUSED_CREDENTIALS, True, False),
        (200, "UDAPI100050", ErrorCode.BROKER_REFUSED_CREDENTIALS, True, False),
        (401, None, ErrorCode.BROKER_REFUSED_CREDENTIALS, True, False),
        # An extended token that may not do this is good for all else.
        (401, "UDAPI100067", ErrorCode.BROKER_REFUSED_CALL, False, False),
        (403, "UDAPI100500", ErrorCode.BROKER_REFUSED_CALL, False, False),
        (403, None, ErrorCode.BROKER_REFUSED_CALL, False, False),
        (429, "UDAPI10005", ErrorCode.RATE_LIMITED, False, True),
        (200, "UDAPI10005", ErrorCode.RATE_LIMITED, False, True),
        (403, "UDAPI10005", ErrorCode.RATE_LIMITED, False, True),
        (429, None, ErrorCode.RATE_LIMITED, False, False),
        (400, "UDAPI1087", ErrorCode.BROKER_REFUSED_CALL, False, False),
        (400, "UDAPI100042", ErrorCode.BROKER_REFUSED_CALL, False, False),
        (200, "UDAPI1011", ErrorCode.BROKER_REFUSED_CALL, False, False),
        (500, "UDAPI100500", ErrorCode.BROKER_UNREACHABLE, False, False),
        (503, None, ErrorCode.BROKER_UNREACHABLE, False, False),
    ],
)
def test_a_complaint_means_what_its_code_says_whatever_its_status(
    member: str, status: int, code: str | None, ours: ErrorCode, refuses: bool, too_fast: bool
) -> None:
    api, told = rest(), complaint(status, code, member)
    fault = api.fault(told)
    assert fault is not None
    assert (fault.code, api.refuses(told), api.too_fast(told)) == (ours, refuses, too_fast)


def test_a_good_answer_is_no_complaint_and_is_not_searched_for_one() -> None:
    api, told = rest(), answer({f"NSE_EQ:{n}": "UDAPI10005" for n in range(500)})
    assert api.fault(told) is None
    assert not api.too_fast(told)


# -- at the simulated broker ------------------------------------------------------------------------------


def asking(
    scenario: Callable[[UpstoxSimulator, UpstoxFeed, BrokerApi], Awaitable[None]], **options: Any
) -> None:
    async def main() -> None:
        async with UpstoxSimulator(**{"symbols": 60, "rate": 0, **options}) as simulator:
            account = UpstoxFeed(simulator.access_token, http_url=simulator.http_url)
            account.relist(await account.instruments())
            async with BrokerApi(account.rest(), random=Prompt()) as api:
                await scenario(simulator, account, api)

    asyncio.run(asyncio.wait_for(main(), 60))


def test_quotes_prices_and_days_are_the_market_s() -> None:
    async def scenario(simulator: UpstoxSimulator, account: UpstoxFeed, api: BrokerApi) -> None:
        await simulator.step(600)
        everything = [*account.book]
        quotes, ltp, ohlc = (
            await api.quotes(everything),
            await api.ltp(everything),
            await api.ohlc(everything),
        )
        assert len(quotes) == len(ltp) == len(ohlc) == 60
        for listing in simulator.listings:
            (instrument,) = [
                i for i in everything if account.book.details(i).number == str(listing.exchange_token)
            ]
            quote, unit = simulator.market.quotes[listing.token], listing.unit
            tick = quotes[instrument].tick
            assert tick.ltp == ltp[instrument].ltp == ohlc[instrument].ltp == quote.ltp / unit
            assert (tick.open, tick.high, tick.low) == (
                quote.open / unit,
                quote.high / unit,
                quote.low / unit,
            )
            assert round(tick.close * unit) == quote.close == round(ohlc[instrument].close * unit)
            if not quote.is_index:
                assert (tick.volume, tick.oi) == (quote.volume, quote.oi)
                assert [level.quantity for level in tick.buy] == list(quote.depth[:15:3])

    asking(scenario)


def test_candles_of_past_days_and_of_today_come_as_one_history() -> None:
    async def scenario(simulator: UpstoxSimulator, account: UpstoxFeed, api: BrokerApi) -> None:
        now = datetime.now(IST)
        start = (now - timedelta(days=5)).replace(hour=0, minute=0, second=0, microsecond=0)
        listing = simulator.listings[0]
        history = History(simulator.listings, seed=0, clock=now.timestamp)
        expected = history.candles(listing.token, 15, start.replace(tzinfo=None), now.replace(tzinfo=None))
        told = await api.history("NSE:RELIANCE", "15m", start, now)
        # The last candle may have begun between the two questions.
        assert [(c.open, c.close) for c in told][: len(expected) - 1] == [
            (c.open / 100, c.close / 100) for c in expected[:-1]
        ]
        asked = simulator.stats()["http_requests"]
        assert {path: count for path, count in asked.items() if "candle" in path} == {
            "/v3/historical-candle/intraday/{key}/{unit}/{number}": 1,
            "/v3/historical-candle/{key}/{unit}/{number}/{to}/{begin}": 1,
        }

    asking(scenario)


@pytest.mark.parametrize("as_success", [False, True])
def test_calls_that_come_too_fast_wait_and_no_token_is_taken_for_dead(as_success: bool) -> None:
    async def scenario(simulator: UpstoxSimulator, account: UpstoxFeed, api: BrokerApi) -> None:
        simulator.faults.too_fast_as_success = as_success
        for listing in simulator.listings[:3]:
            symbol = f"NSE:{listing.tradingsymbol}"
            assert (await api.ltp(symbol))[Instrument.parse(symbol)].ltp
        assert simulator.stats()["too_fast"]["ltp"] >= 1
        assert not account.login.refused

    # Fewer than are published, as where another program has the same login.
    asking(scenario, http_rates={"ltp": [RateWindow(2, 1.0)]})


def test_a_token_that_dies_is_told_apart_and_the_next_one_is_used() -> None:
    async def scenario(simulator: UpstoxSimulator, account: UpstoxFeed, api: BrokerApi) -> None:
        simulator.expire_token()
        with pytest.raises(BrokerError) as dead:
            await api.ltp("NSE:INFY")
        assert dead.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
        assert account.login.refused
        simulator.renew_token("tomorrows")
        account.login.renew(Credentials("tomorrows"))
        assert len(await api.ltp("NSE:INFY")) == 1

    asking(scenario)
