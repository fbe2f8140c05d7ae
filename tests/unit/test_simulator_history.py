"""The simulated past: the same for everybody who asks, and the same story at every interval."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.simulator.exchange import Market
from brokerpool.simulator.history import SESSION_MINUTES, Candle, History
from brokerpool.simulator.listed_instruments import Listing, listings
from brokerpool.simulator.zerodha import instruments, intervals
from brokerpool.simulator.zerodha.intervals import INTERVALS

#: Tuesday, 2026-11-24, 12:00:30 in India.
NOW = 1_795_501_830.0
TODAY = date(2026, 11, 24)
#: One of them so cheap that it runs into the ends of its band.
ROWS = [
    *listings(1_000, TODAY, instruments),
    Listing((99 << 8) + 2, "NFO", "CHEAP", "CHEAP", 99, price=5, kind="CE", expiry=TODAY),
]
INFY, NIFTY, FUTURE, USDINR = 408065, 256265, (40_000 << 8) + 2, (1_000 << 8) + 3
BEGIN, END = datetime(2026, 11, 9), datetime(2026, 11, 24, 23, 59)


def history(seed: int = 0, now: float = NOW) -> History:
    return History(ROWS, seed=seed, clock=lambda: now)


def merged(candles: list[Candle]) -> tuple[int, ...]:
    return (
        candles[0].open,
        max(candle.high for candle in candles),
        min(candle.low for candle in candles),
        candles[-1].close,
        sum(candle.volume for candle in candles),
        candles[-1].oi,
    )


@given(st.sampled_from([row.token for row in ROWS]), st.integers(0, 5))
def test_the_same_request_has_the_same_answer_and_another_seed_another(token: int, seed: int) -> None:
    request = (token, 5, datetime(2026, 11, 20), datetime(2026, 11, 20, 23))
    found = history(seed).candles(*request)
    assert len(found) == 75
    assert found == history(seed, NOW + 3_600).candles(*request), "whenever it is asked that day"
    assert found != history(seed + 1).candles(*request)


@pytest.mark.parametrize("token", [INFY, NIFTY, FUTURE, USDINR])
@pytest.mark.parametrize("length", [interval.minutes for interval in INTERVALS.values()])
def test_every_interval_is_made_of_its_minutes(token: int, length: int) -> None:
    begin = datetime(2026, 11, 23)
    minutes = history().candles(token, 1, begin, END)
    longer = history().candles(token, length, begin, END)
    assert len({candle.start.date() for candle in longer}) == 2
    span = timedelta(days=1) if length == SESSION_MINUTES else timedelta(minutes=length)
    assert sum(candle.volume for candle in longer) == sum(candle.volume for candle in minutes)
    for candle in longer:
        inside = [
            minute
            for minute in minutes
            if minute.start.date() == candle.start.date()
            and candle.start <= minute.start < candle.start + span
        ]
        assert candle[1:] == merged(inside)


def test_sessions_last_from_0915_to_1530_on_weekdays_and_today_until_the_last_whole_minute() -> None:
    minutes = history().candles(INFY, 1, BEGIN, END)
    days = sorted({minute.start.date() for minute in minutes})
    assert days == [BEGIN.date() + timedelta(n) for n in range(16) if n % 7 < 5]
    for day in days:
        starts = [minute.start for minute in minutes if minute.start.date() == day]
        assert starts[0] == datetime(day.year, day.month, day.day, 9, 15)
        assert all(later - earlier == timedelta(minutes=1) for earlier, later in pairwise(starts))
        assert len(starts) == (375 if day != TODAY else 165)
    assert minutes[-1].start == datetime(2026, 11, 24, 11, 59)
    assert [c.start for c in history().candles(INFY, 60, datetime(2026, 11, 23), END)][:7] == [
        datetime(2026, 11, 23, hour, 15) for hour in range(9, 16)
    ]


def test_a_request_gets_the_candles_from_its_first_to_its_last_second() -> None:
    found = history().candles(INFY, 1, datetime(2026, 11, 23, 9, 15), datetime(2026, 11, 23, 9, 30))
    assert [candle.start.minute for candle in found] == list(range(15, 31))
    days = history().candles(INFY, SESSION_MINUTES, datetime(2026, 11, 20, 12), datetime(2026, 11, 23, 0))
    assert [day.start for day in days] == [datetime(2026, 11, 20), datetime(2026, 11, 23)]
    assert history().candles(INFY, 1, datetime(2027, 1, 1), datetime(2027, 1, 5)) == []
    assert history().candles(INFY, SESSION_MINUTES, datetime(1, 1, 1), datetime(5, 1, 1)) == []


def test_prices_are_whole_ticks_in_the_markets_band_and_lead_to_its_previous_close() -> None:
    market = Market(ROWS, seed=0, clock=lambda: NOW)
    for row in (*ROWS[::10], ROWS[-1]):
        floor, ceiling = row.band
        candles = history().candles(row.token, 15, datetime(2026, 11, 16), END)
        for candle in candles:
            assert floor <= candle.low <= min(candle.open, candle.close)
            assert max(candle.open, candle.close) <= candle.high <= ceiling
            assert all((price - row.price) % row.tick == 0 for price in candle[1:5])
        assert all(later.open == earlier.close for earlier, later in pairwise(candles))
        (monday,) = history().candles(
            row.token, SESSION_MINUTES, datetime(2026, 11, 23), datetime(2026, 11, 23)
        )
        assert monday.close == market.quotes[row.token].close


def test_an_index_has_no_volume_and_only_contracts_have_open_interest() -> None:
    for token, has_volume, has_oi in ((INFY, True, False), (NIFTY, False, False), (FUTURE, True, True)):
        (day,) = history().candles(token, SESSION_MINUTES, datetime(2026, 11, 23), datetime(2026, 11, 23))
        assert (day.volume > 0, day.oi > 0) == (has_volume, has_oi)


@pytest.mark.parametrize(
    ("token", "begin", "reason"),
    [(7, BEGIN, "invalid token: 7"), (INFY, datetime(2026, 12, 1), "is later than to")],
)
def test_a_request_that_cannot_be_answered_says_why(token: int, begin: datetime, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        history().candles(token, SESSION_MINUTES, begin, END)


def test_no_request_spans_more_days_than_kite_allows() -> None:
    end = datetime(2040, 1, 1)
    for interval, (minutes, days) in INTERVALS.items():
        begin = end - timedelta(days=days)
        assert intervals.minutes(interval, begin, end) == minutes
        with pytest.raises(ValueError, match=f"max limit: {days} days"):
            intervals.minutes(interval, begin - timedelta(seconds=1), end)


def test_an_interval_that_kite_does_not_have_is_refused_with_those_it_has() -> None:
    with pytest.raises(ValueError, match="invalid interval: '2minute'; intervals: minute, 3minute"):
        intervals.minutes("2minute", BEGIN, END)
