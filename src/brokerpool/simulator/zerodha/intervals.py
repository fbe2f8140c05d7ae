"""Kite's candles: the names of their lengths, and how many days one request may span."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from brokerpool.simulator.history import SESSION_MINUTES


class Interval(NamedTuple):
    """How many minutes a candle spans, and how many days one request may span.

    Days: an employee of the broker in its forum, kite.trade/forum/discussion/3105, edited May 2020; looked
    up on 2026-11-25. Minutes: the broker's documentation.
    """

    minutes: int
    max_days: int


INTERVALS = {
    "minute": Interval(1, 60),
    "3minute": Interval(3, 100),
    "5minute": Interval(5, 100),
    "10minute": Interval(10, 100),
    "15minute": Interval(15, 200),
    "30minute": Interval(30, 200),
    "60minute": Interval(60, 400),
    "day": Interval(SESSION_MINUTES, 2000),
}


def minutes(interval: str, begin: datetime, end: datetime) -> int:
    """Return how many minutes each candle of a request spans.

    Raises ValueError for an interval that does not exist, and for more days than one request may ask for.
    """
    if interval not in INTERVALS:
        raise ValueError(f"invalid interval: {interval!r}; intervals: {', '.join(INTERVALS)}")
    span, max_days = INTERVALS[interval]
    if end - begin > timedelta(days=max_days):
        raise ValueError(f"interval exceeds max limit: {max_days} days")
    return span
