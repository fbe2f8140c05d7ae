"""The simulated market and its listings: deterministic, in bounds, each instrument in its turn."""

from __future__ import annotations

import csv
import io
from copy import copy
from datetime import date

import pytest

from brokerpool.simulator.exchange import Market
from brokerpool.simulator.listed_instruments import listings, monthly_expiries
from brokerpool.simulator.zerodha import instruments
from brokerpool.simulator.zerodha.instruments import COLUMNS, instruments_csv

TODAY = date(2026, 11, 22)


def market(symbols: int = 200, seed: int = 7) -> Market:
    return Market(listings(symbols, TODAY, instruments), seed=seed, clock=lambda: 1_795_341_600.0)


def test_the_same_seed_gives_the_same_trades() -> None:
    first = [copy(quote) for quote in market().advance(2_000)]
    again = [copy(quote) for quote in market().advance(2_000)]
    assert first == again
    assert [copy(quote) for quote in market(seed=8).advance(2_000)] != first


def test_every_instrument_trades_once_a_round() -> None:
    walk = market(symbols=200)
    for _ in range(3):
        assert len({quote.token for quote in walk.advance(200)}) == 200
    assert walk.ticks == 600


def test_quotes_stay_consistent_and_fit_the_wire() -> None:
    for quote in market().advance(20_000):
        assert 0 < quote.low <= quote.ltp <= quote.high < 2**31
        assert quote.change == quote.ltp - quote.close
        counters = (quote.volume, quote.buy_total, quote.sell_total, quote.oi, quote.oi_high, quote.oi_low)
        assert all(0 <= counter < 2**32 for counter in counters)
        if quote.is_index:
            assert quote.volume == 0
            assert not any(quote.depth)
            continue
        assert quote.oi_low <= quote.oi <= quote.oi_high
        prices = quote.depth[1::3]
        bids = [price for price in prices[:5] if price]
        asks = [price for price in prices[5:] if price]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)
        assert not bids or max(bids) < min(asks)
        assert all(0 <= orders < 2**16 for orders in quote.depth[2::3])


def test_a_full_volume_counter_begins_a_new_day() -> None:
    walk = market(symbols=1)
    quote = next(iter(walk.quotes.values()))
    quote.volume = 2**32 - 1
    (traded,) = walk.advance(1)
    assert traded.volume == traded.last_quantity
    assert traded.average == traded.ltp


def test_listings_start_with_known_names_and_have_unique_tokens() -> None:
    rows = listings(3_000, TODAY, instruments)
    assert len(rows) == 3_000
    assert len({row.token for row in rows}) == 3_000
    assert len({row.key for row in rows}) == 3_000
    assert [row.key for row in rows[:4]] == ["NSE:RELIANCE", "NSE:INFY", "NSE:SBIN", "NSE:TCS"]
    assert rows[1].token == 408065
    assert {row.token & 0xFF for row in rows} == {1, 2, 3, 9}
    assert {row.kind for row in rows} == {"EQ", "INDEX", "FUT", "CE", "PE"}
    assert next(row for row in rows if row.tradingsymbol == "NIFTY 50").token == 256265
    assert next(row for row in rows if row.exchange == "CDS").tradingsymbol == "USDINR26NOVFUT"


def test_a_longer_list_has_the_same_equities_first() -> None:
    short, long = listings(40, TODAY, instruments), listings(200_000, TODAY, instruments)
    assert long[:36] == short[:36]
    assert all(row.price > 0 for row in long)
    assert len({row.token for row in long}) == 200_000


@pytest.mark.parametrize("count", [0, -1, 200_001])
def test_a_senseless_number_of_instruments_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 200000"):
        listings(count, TODAY, instruments)


def test_a_market_needs_listings_with_tokens_of_their_own() -> None:
    row = listings(1, TODAY, instruments)
    with pytest.raises(ValueError, match="at least one"):
        Market([], seed=0, clock=lambda: 0.0)
    with pytest.raises(ValueError, match="token of another"):
        Market(row * 2, seed=0, clock=lambda: 0.0)


def test_contracts_expire_on_the_last_tuesday_of_a_month() -> None:
    assert monthly_expiries(TODAY, 3) == [date(2026, 11, 24), date(2026, 12, 29), date(2027, 1, 26)]
    assert monthly_expiries(date(2026, 11, 24), 1) == [date(2026, 11, 24)]
    assert monthly_expiries(date(2026, 11, 25), 1) == [date(2026, 12, 29)]


def test_the_instrument_file_has_the_brokers_columns() -> None:
    rows = list(csv.DictReader(io.StringIO(instruments_csv(listings(200, TODAY, instruments)).decode())))
    assert tuple(rows[0]) == COLUMNS
    assert rows[1] == {
        "instrument_token": "408065",
        "exchange_token": "1594",
        "tradingsymbol": "INFY",
        "name": "INFOSYS",
        "last_price": "0.0",
        "expiry": "",
        "strike": "0.0",
        "tick_size": "0.05",
        "lot_size": "1",
        "instrument_type": "EQ",
        "segment": "NSE",
        "exchange": "NSE",
    }
    future = next(row for row in rows if row["segment"] == "NFO-FUT")
    assert (future["tradingsymbol"], future["expiry"]) == ("NIFTY26NOVFUT", "2026-11-24")
    option = next(row for row in rows if row["segment"] == "NFO-OPT")
    assert (option["tradingsymbol"], option["strike"]) == ("NIFTY26NOV23400CE", "23400")
    assert {row["segment"] for row in rows} == {"NSE", "INDICES", "NFO-FUT", "NFO-OPT", "CDS-FUT"}
    assert {row["instrument_type"] for row in rows if row["segment"] in ("NSE", "INDICES")} == {"EQ"}
    assert next(row for row in rows if row["exchange"] == "CDS")["tick_size"] == "0.0025"
