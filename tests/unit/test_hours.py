"""When markets trade: sessions, weekends, holidays, and how they are written."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.hours import ALWAYS_OPEN, INDIA, IST, Holidays, MarketHours, Session, parse_sessions


def at(text: str) -> float:
    """Return the epoch seconds of a time in India."""
    return datetime.fromisoformat(text).replace(tzinfo=IST).timestamp()


@pytest.mark.parametrize(
    ("exchange", "moment", "expected"),
    [
        ("NSE", "2026-11-24 09:14:59", False),
        ("NSE", "2026-11-24 09:15:00", True),
        ("NFO", "2026-11-24 15:29:59", True),
        ("NFO", "2026-11-24 15:30:00", False),
        ("MCX", "2026-11-24 23:29:59", True),
        ("CDS", "2026-11-24 17:00:00", False),
        ("NSE_INDEX", "2026-11-28 11:00:00", False),  # a Saturday
        ("CRYPTO", "2026-11-28 03:00:00", True),
        ("GLOBAL_INDEX", "2026-11-24 11:00:00", False),  # not listed: never judged
    ],
)
def test_indian_exchanges_trade_on_weekdays_in_indian_time(
    exchange: str, moment: str, expected: bool
) -> None:
    assert MarketHours.india().is_open(exchange, at(moment)) is expected


def test_a_holiday_closes_all_but_what_never_closes_or_the_exchanges_that_it_names() -> None:
    holidays = Holidays.parse(["# 2026", "2026-11-24", "2026-11-25 nse BSE  # two of them", ""])
    hours = MarketHours.india(holidays)
    assert not hours.is_open("NSE", at("2026-11-24 11:00"))
    assert not hours.is_open("MCX", at("2026-11-24 11:00"))
    assert hours.is_open("CRYPTO", at("2026-11-24 11:00"))
    assert not hours.is_open("NSE", at("2026-11-25 11:00"))
    assert hours.is_open("MCX", at("2026-11-25 11:00"))
    assert hours.is_open("NSE", at("2026-11-26 11:00"))


def test_a_special_session_opens_an_exchange_on_a_sunday() -> None:
    hours = MarketHours.india(Holidays.parse(["2026-11-08 NSE=18:15-19:15"]))
    assert hours.is_open("NSE", at("2026-11-08 18:15"))
    assert not hours.is_open("NSE", at("2026-11-08 11:00"))
    assert not hours.is_open("BSE", at("2026-11-08 18:15"))


def test_every_line_at_fault_is_told_by_its_number() -> None:
    with pytest.raises(ValueError, match=r"line 2: .*; line 3: .*25:00") as caught:
        Holidays.parse(["2026-01-26", "26 January", "2026-01-27 NSE=09:00-25:00"])
    assert "line 1" not in str(caught.value)


def test_settings_name_exactly_these_hours_or_change_the_usual_ones() -> None:
    only = MarketHours.parse("nse=10:00-11:00,12:00-13:00 X=always")
    assert only.is_open("NSE", at("2026-11-24 12:30"))
    assert not only.is_open("NSE", at("2026-11-24 11:30"))
    assert not only.is_open("MCX", at("2026-11-24 11:30"))
    assert only.is_open("X", at("2026-11-28 01:00"))
    changed = MarketHours.parse("india NSE=10:00-11:00")
    assert not changed.is_open("NSE", at("2026-11-24 11:30"))
    assert changed.is_open("MCX", at("2026-11-24 11:30"))
    always = MarketHours.parse("always")
    assert always.is_open("ANY", 0)
    assert ALWAYS_OPEN.is_open("ANY", 0)


@pytest.mark.parametrize(
    "text", ["", "NSE", "NSE=", "=09:00-10:00", "NSE=10:00-09:00", "NSE=9-10", "NSE=24:01-24:02"]
)
def test_what_is_no_market_hours_is_refused_and_the_form_is_shown(text: str) -> None:
    with pytest.raises(ValueError, match="NSE=09:15-15:30"):
        MarketHours.parse(text)


moments = st.integers(0, 20 * 24 * 60).map(lambda minutes: at("2026-11-16 00:00") + minutes * 60)
special = st.dictionaries(
    st.dates(date(2026, 11, 16), date(2026, 12, 5)),
    st.dictionaries(
        st.sampled_from(["", "NSE", "MCX"]), st.sampled_from([(), (Session(60, 120),)]), max_size=2
    ),
    max_size=4,
)


@given(st.lists(st.tuples(st.sampled_from([*INDIA, "OTHER"]), moments), max_size=30), special)
def test_answers_do_not_depend_on_what_was_asked_before(
    questions: list[tuple[str, float]], days: dict[date, dict[str, tuple[Session, ...]]]
) -> None:
    hours = MarketHours.india(Holidays(days))
    for exchange, moment in questions:
        fresh = MarketHours.india(Holidays(days)).is_open(exchange, moment)
        assert hours.is_open(exchange, moment) is fresh
        local = datetime.fromtimestamp(moment, IST)
        sessions = INDIA.get(exchange, ()) if local.weekday() < 5 else ()
        if exchange in INDIA and local.date() in days:
            named = days[local.date()]
            sessions = named.get(exchange, named.get("", sessions))
        minute = local.hour * 60 + local.minute
        assert fresh is any(start <= minute < end for start, end in sessions)


def test_sessions_are_put_in_order() -> None:
    assert parse_sessions("12:00-13:00,09:00-10:00") == (Session(540, 600), Session(720, 780))
