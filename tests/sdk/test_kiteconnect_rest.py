"""The official kiteconnect 5.2.2 over HTTP at our simulator reads what market and history say there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from kiteconnect import KiteConnect
from kiteconnect.exceptions import InputException, NetworkException, OrderException, TokenException

from brokerpool.simulator import BreakHttp, KiteSimulator, Refuse
from brokerpool.simulator.history import SESSION_MINUTES, History

#: 2026-11-24, 12:00:30 in India, a Tuesday.
NOON = 1_795_501_830.0
IST = timezone(timedelta(hours=5, minutes=30))
SMALL = {
    "exchange": "NSE",
    "tradingsymbol": "INFY",
    "transaction_type": "BUY",
    "quantity": 5,
    "product": "MIS",
    "order_type": "LIMIT",
    "price": 1300.0,
}


def with_sdk(scenario: Callable[[KiteConnect, KiteSimulator], None], **options: Any) -> None:
    """Run a scenario in a thread of its own, because the SDK blocks; the market stands still meanwhile."""

    async def run() -> None:
        async with KiteSimulator(rate=0, clock=lambda: NOON, **options) as broker:
            await broker.step(1_000)
            kite = KiteConnect(
                broker.api_key, access_token=broker.access_token, root=broker.http_url, timeout=5
            )
            try:
                await asyncio.to_thread(scenario, kite, broker)
            finally:
                kite.reqsession.close()

    asyncio.run(asyncio.wait_for(run(), 30))


def test_quotes_and_instruments_are_the_markets() -> None:
    def scenario(kite: KiteConnect, broker: KiteSimulator) -> None:
        rows = {row["instrument_token"]: row for row in kite.instruments()}
        assert list(rows) == [listing.token for listing in broker.listings]
        assert len(kite.instruments("NFO")) == sum(row.exchange == "NFO" for row in broker.listings)
        names = [listing.key for listing in broker.listings]
        full, ohlc, ltp = kite.quote(names), kite.ohlc(names), kite.ltp(names)
        for listing in broker.listings:
            quote, key = broker.market.quotes[listing.token], listing.key
            unit = 10_000_000 if listing.exchange == "CDS" else 100
            assert (rows[listing.token]["tradingsymbol"], rows[listing.token]["lot_size"]) == (
                listing.tradingsymbol,
                listing.lot,
            )
            day = [quote.open / unit, quote.high / unit, quote.low / unit, quote.close / unit]
            for told in (full[key], ohlc[key]):
                assert [told["ohlc"][name] for name in ("open", "high", "low", "close")] == day
            for told in (full[key], ohlc[key], ltp[key]):
                assert (told["instrument_token"], told["last_price"]) == (listing.token, quote.ltp / unit)
            assert full[key]["timestamp"] == datetime(2026, 11, 24, 12, 0, 30)
            if not quote.is_index:
                assert (full[key]["volume"], full[key]["oi"]) == (quote.volume, quote.oi)

    with_sdk(scenario, http_rates={})


def test_candles_are_the_historys() -> None:
    def scenario(kite: KiteConnect, broker: KiteSimulator) -> None:
        history = History(broker.listings, seed=0, clock=lambda: NOON)
        begin, end = datetime(2026, 11, 20, 9, 15), datetime(2026, 11, 24, 15, 30)
        future = next(row for row in broker.listings if row.kind == "FUT" and row.exchange == "NFO")
        for token, interval, minutes in (
            (408065, "minute", 1),
            (408065, "day", SESSION_MINUTES),
            (future.token, "15minute", 15),
        ):
            told = kite.historical_data(token, begin, end, interval, oi=True)
            expected = history.candles(token, minutes, begin, end)
            assert len(told) > 2
            assert told == [
                {
                    "date": candle.start.replace(tzinfo=IST),
                    "open": candle.open / 100,
                    "high": candle.high / 100,
                    "low": candle.low / 100,
                    "close": candle.close / 100,
                    "volume": candle.volume,
                    "oi": candle.oi,
                }
                for candle in expected
            ]
        with pytest.raises(InputException, match="max limit: 60 days"):
            kite.historical_data(408065, "2026-01-01 09:15:00", "2026-11-24 09:15:00", "minute")

    with_sdk(scenario, http_rates={})


def test_an_order_is_placed_modified_followed_and_cancelled() -> None:
    def scenario(kite: KiteConnect, broker: KiteSimulator) -> None:
        order_id = kite.place_order("regular", **SMALL, tag="strategy1")
        (order,) = kite.orders()
        assert {name: order[name] for name in SMALL} == SMALL
        assert (order["order_id"], order["status"], order["tag"]) == (order_id, "OPEN", "strategy1")
        assert order["order_timestamp"] == datetime(2026, 11, 24, 12, 0, 30)
        assert kite.modify_order("regular", order_id, quantity=3, price=1301.0) == order_id
        assert kite.cancel_order("regular", order_id) == order_id
        states = [(state["status"], state["quantity"]) for state in kite.order_history(order_id)]
        assert states == [("PUT ORDER REQ RECEIVED", 5), ("OPEN", 5), ("OPEN", 3), ("CANCELLED", 3)]
        with pytest.raises(OrderException, match="is CANCELLED"):
            kite.cancel_order("regular", order_id)
        kite.place_order("regular", **{**SMALL, "order_type": "MARKET", "price": None})
        traded = kite.orders()[-1]
        ltp = broker.market.quotes[408065].ltp / 100
        assert (traded["status"], traded["average_price"], traded["filled_quantity"]) == ("COMPLETE", ltp, 5)
        with pytest.raises(InputException, match="Invalid tradingsymbol"):
            kite.place_order("regular", **{**SMALL, "tradingsymbol": "NOPE"})
        assert broker.orders.report()["by_tag"] == {"strategy1": 1}

    with_sdk(scenario)


def test_the_sdk_knows_the_errors_by_name() -> None:
    def scenario(kite: KiteConnect, broker: KiteSimulator) -> None:
        assert kite.profile()["user_id"] == "SIM001"
        kite.ltp("NSE:INFY")
        with pytest.raises(NetworkException) as too_fast:
            kite.ltp("NSE:INFY")
        assert too_fast.value.code == 429
        broker.faults.refuse_http = Refuse(504, carried_out=True, method="POST", count=1)
        with pytest.raises(NetworkException):
            kite.place_order("regular", **SMALL, tag="unknown")
        kite.set_access_token("wrong")
        with pytest.raises(TokenException):
            kite.orders()
        assert broker.orders.report()["by_tag"] == {"unknown": 1}

    with_sdk(scenario)


def test_a_reset_after_reading_is_an_error_to_the_sdk_though_the_order_exists() -> None:
    def scenario(kite: KiteConnect, broker: KiteSimulator) -> None:
        broker.faults.http_break = BreakHttp("reset-after-read", count=1, method="POST")
        with pytest.raises(OSError, match=r"reset|aborted"):
            kite.place_order("regular", **SMALL, tag="lost")
        assert [order["tag"] for order in kite.orders()] == ["lost"]

    with_sdk(scenario)


def test_the_sdk_logs_in_learns_whose_the_session_is_and_ends_it() -> None:
    def scenario(kite: KiteConnect, broker: KiteSimulator) -> None:
        page = f"{broker.login_url}?v=3&api_key={broker.api_key}"
        moved = kite.reqsession.post(page, allow_redirects=False, timeout=5)
        token = parse_qs(urlsplit(moved.headers["Location"]).query)["request_token"][0]
        with pytest.raises(TokenException, match="checksum"):
            kite.generate_session(token, api_secret="not the secret")
        session = kite.generate_session(token, api_secret=broker.api_secret)
        assert session["user_id"] == kite.profile()["user_id"] == "SIM001"
        assert session["login_time"] == datetime(2026, 11, 24, 12, 0, 30)
        with pytest.raises(TokenException, match="expired"):
            kite.generate_session(token, api_secret=broker.api_secret)
        assert kite.invalidate_access_token()
        with pytest.raises(TokenException):
            kite.profile()

    with_sdk(scenario)
