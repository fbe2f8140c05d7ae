"""Promises of the market hours: what is open when, what the setting and the holiday file may say."""

from __future__ import annotations

from datetime import datetime

import pytest

from brokerpool.instruments import EXCHANGES
from brokerpool.market_calendar import ALWAYS_OPEN, MarketHours

#: In the week of these tests 2 March 2026 is a Monday, 7 March a Saturday.
MONDAY, TUESDAY, FRIDAY = "2026-03-02", "2026-03-03", "2026-03-06"
SATURDAY, SUNDAY, NEXT_MONDAY = "2026-03-07", "2026-03-08", "2026-03-09"


def at(day: str, time: str) -> float:
    return datetime.fromisoformat(f"{day}T{time}+05:30").timestamp()


def open_at(hours: MarketHours, exchange: str, day: str, *times: str) -> list[bool]:
    return [hours.is_open(exchange, at(day, time)) for time in times]


@pytest.mark.parametrize(
    ("exchanges", "begin", "before", "last", "end"),
    [
        ("NSE BSE NFO BFO NSE_INDEX BSE_INDEX", "09:15:00", "09:14:59.999", "15:29:59.999", "15:30:00"),
        ("CDS BCD NCDEX", "09:00:00", "08:59:59.999", "16:59:59.999", "17:00:00"),
        ("MCX MCX_INDEX NCO", "09:00:00", "08:59:59.999", "23:29:59.999", "23:30:00"),
    ],
)
def test_indian_exchanges_trade_from_the_first_second_of_the_session_up_to_its_end(
    exchanges: str, begin: str, before: str, last: str, end: str
) -> None:
    hours = MarketHours.india()
    for exchange in exchanges.split():
        for day in (MONDAY, FRIDAY):
            assert open_at(hours, exchange, day, before, begin, last, end) == [False, True, True, False]
        for day in (SATURDAY, SUNDAY):
            assert open_at(hours, exchange, day, begin, last) == [False, False]


def test_crypto_trades_at_all_times() -> None:
    for day in (MONDAY, SATURDAY, SUNDAY):
        assert all(open_at(MarketHours.india(), "CRYPTO", day, "00:00:00", "12:00:00", "23:59:59.999"))


@pytest.mark.parametrize("exchange", ["GLOBAL_INDEX", "NASDAQ", ""])
def test_an_exchange_that_is_not_listed_is_never_open(exchange: str) -> None:
    assert open_at(MarketHours.india(), exchange, MONDAY, "00:00", "12:00", "23:59") == [False] * 3


def test_always_open_holds_for_every_exchange_and_on_holidays_too() -> None:
    hours = ALWAYS_OPEN.with_holidays(f"{MONDAY}\n{TUESDAY} NSE BSE=10:00-11:00\n")
    for exchange in (*EXCHANGES, "NASDAQ"):
        for day in (MONDAY, TUESDAY, SUNDAY):
            assert all(open_at(hours, exchange, day, "00:00", "12:00", "23:59:59.999"))


def test_the_setting_always_opens_every_exchange() -> None:
    assert open_at(MarketHours.parse(" always; "), "NASDAQ", SUNDAY, "03:00") == [True]


def test_the_setting_india_means_the_regular_hours() -> None:
    hours, india = MarketHours.parse(" india "), MarketHours.india()
    for exchange in EXCHANGES:
        for day in (FRIDAY, SATURDAY):
            times = [f"{hour:02}:{minute:02}" for hour in range(24) for minute in (0, 15, 30, 45)]
            assert open_at(hours, exchange, day, *times) == open_at(india, exchange, day, *times)


def test_parts_alone_mean_exactly_these_exchanges() -> None:
    hours = MarketHours.parse("nse = 09:15-15:30, 18:00-19:00 ; MCX=09:00-23:30;CRYPTO=always;")
    assert open_at(hours, "NSE", MONDAY, "15:29", "15:30", "17:59", "18:00", "19:00") == [
        *(True, False),
        *(False, True, False),
    ]
    assert open_at(hours, "MCX", MONDAY, "23:29", "23:30") == [True, False]
    assert open_at(hours, "CRYPTO", SUNDAY, "23:59") == [True]
    assert open_at(hours, "BSE", MONDAY, "12:00") == [False], "regular hours apply after india only"


def test_parts_after_india_replace_the_regular_hours_of_their_exchanges() -> None:
    hours = MarketHours.parse("india; NSE=10:00-11:00; GLOBAL_INDEX=always")
    assert open_at(hours, "NSE", MONDAY, "09:30", "10:30", "11:30") == [False, True, False]
    assert open_at(hours, "BSE", MONDAY, "09:30") == [True]
    assert open_at(hours, "GLOBAL_INDEX", SUNDAY, "03:00") == [True]


def test_a_session_over_midnight_belongs_to_the_day_on_which_it_begins() -> None:
    hours = MarketHours.parse("NSE=22:00-02:00").with_holidays(TUESDAY)
    assert open_at(hours, "NSE", MONDAY, "01:59", "21:59", "22:00") == [False, False, True]
    assert open_at(hours, "NSE", TUESDAY, "00:00", "01:59", "02:00", "22:00") == [True, True, False, False]
    assert open_at(hours, "NSE", SATURDAY, "01:59", "02:00", "22:00") == [True, False, False]
    assert open_at(hours, "NSE", NEXT_MONDAY, "01:59") == [False]


def test_a_session_may_last_until_24_00() -> None:
    hours = MarketHours.parse("NSE=00:00-24:00")
    assert open_at(hours, "NSE", FRIDAY, "00:00", "23:59:59.999") == [True, True]
    assert open_at(hours, "NSE", SATURDAY, "00:00") == [False]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("", ["there is nothing in it"]),
        (" ; ", ["there is nothing in it"]),
        ("nonsense", ["part 1 has no ="]),
        ("NSE=09:15-15:30; india", ["part 2 has no ="]),
        ("always; NSE=09:15-15:30", ["part 1 has no ="]),
        ("NES=09:15-15:30", ["part 1 names an exchange that is not known"]),
        ("NSE=09:15-15:30; nse=always", ["part 2 sets hours that are set already"]),
        ("NSE=", ["part 1 has a session that is not HH:MM-HH:MM"]),
        ("NSE=9:15-15:30", ["part 1 has a session that is not HH:MM-HH:MM"]),
        ("NSE=09:15-15:60", ["part 1 has a session that is not HH:MM-HH:MM"]),
        ("NSE=09:15-24:01", ["part 1 has a session that is not HH:MM-HH:MM"]),
        ("NSE=24:00-02:00", ["part 1 has a session that is not HH:MM-HH:MM"]),
        ("NSE=09:15-15:30,", ["part 1 has a session that is not HH:MM-HH:MM"]),
        ("NSE=09:15-09:15", ["part 1 has a session that ends when it begins"]),
        ("india; X=always;; NSE", ["part 2 names an exchange that is not known", "part 4 has no ="]),
    ],
)
def test_a_setting_at_fault_is_refused_with_every_part_that_is_and_the_form(
    text: str, faults: list[str]
) -> None:
    with pytest.raises(ValueError, match="The form is") as caught:
        MarketHours.parse(text)
    assert str(caught.value).startswith("; ".join(faults) + ". ")


def test_a_holiday_closes_every_exchange_but_those_that_trade_always() -> None:
    hours = MarketHours.parse("india; NSE=00:00-24:00; BSE=always").with_holidays(MONDAY)
    for exchange in EXCHANGES - {"CRYPTO", "BSE"}:
        assert open_at(hours, exchange, MONDAY, "00:00", "12:00", "23:00") == [False] * 3
    for exchange in ("CRYPTO", "BSE"):
        assert open_at(hours, exchange, MONDAY, "00:00", "12:00", "23:00") == [True] * 3
    assert open_at(hours, "NFO", TUESDAY, "12:00") == [True]


def test_a_holiday_with_exchanges_closes_only_these() -> None:
    hours = MarketHours.india().with_holidays(f"{MONDAY} NSE crypto")
    assert [open_at(hours, name, MONDAY, "12:00") for name in ("NSE", "CRYPTO", "BSE")] == [
        [False],
        [False],
        [True],
    ]


def test_a_day_with_sessions_has_these_and_no_others_on_a_weekend_too() -> None:
    hours = MarketHours.india().with_holidays(
        f"{SUNDAY} NSE=18:15-19:15 BSE=18:15-19:15,20:00-20:30\n{MONDAY} NSE=18:15-19:15"
    )
    assert open_at(hours, "NSE", SUNDAY, "12:00", "18:14", "18:15", "19:15") == [False, False, True, False]
    assert open_at(hours, "BSE", SUNDAY, "18:15", "20:15") == [True, True]
    assert open_at(hours, "NFO", SUNDAY, "18:15") == [False]
    assert open_at(hours, "NSE", MONDAY, "12:00", "18:15") == [False, True]


@pytest.mark.parametrize(
    "text", [f"{MONDAY}\n{MONDAY} MCX=17:00-23:30", f"{MONDAY} MCX=17:00-23:30\n{MONDAY}"]
)
def test_what_names_an_exchange_goes_before_what_names_none(text: str) -> None:
    hours = MarketHours.india().with_holidays(text)
    assert open_at(hours, "MCX", MONDAY, "12:00", "18:00") == [False, True]
    assert open_at(hours, "NSE", MONDAY, "12:00") == [False]


def test_a_holiday_file_may_hold_comments_empty_lines_and_exchanges_without_hours() -> None:
    text = f"# holidays\r\n\r\n  {MONDAY}  # Holi\r\n{TUESDAY} GLOBAL_INDEX=09:00-10:00\r\n"
    hours = MarketHours.india().with_holidays(text)
    assert open_at(hours, "NSE", MONDAY, "12:00") == [False]
    assert open_at(hours, "GLOBAL_INDEX", TUESDAY, "09:30") == [False], "not listed, so never open"


def test_holidays_are_added_to_those_there_and_change_only_the_hours_returned() -> None:
    hours = MarketHours.india()
    assert open_at(hours, "NSE", MONDAY, "12:00") == [True]
    later = hours.with_holidays(MONDAY).with_holidays(TUESDAY)
    assert [open_at(later, "NSE", day, "12:00") for day in (MONDAY, TUESDAY)] == [[False], [False]]
    assert open_at(hours, "NSE", MONDAY, "12:00") == [True]


def test_every_line_of_a_holiday_file_at_fault_is_reported_at_once_and_none_is_quoted() -> None:
    with pytest.raises(ValueError, match="The form of a line is") as caught:
        MarketHours.india().with_holidays(
            "26 January\n"
            "2026-02-30\n"
            "2026-01-26\n"
            "2026-01-26 # again\n"
            "2026-03-03 NSE, BSE\n"
            "# fine\n"
            "2026-03-04 NSE=always\n"
            "2026-03-05 NSE BSE NSE=18:15-19:15\n"
            "2026-03-06 NSE=18:15-18:15\n"
        )
    assert str(caught.value).startswith(
        "line 1 does not begin with a date; line 2 does not begin with a date;"
        " line 4 sets hours that are set already; line 5 names an exchange that is not known;"
        " line 7 has a session that is not HH:MM-HH:MM; line 8 sets hours that are set already;"
        " line 9 has a session that ends when it begins. "
    )
    assert "January" not in str(caught.value)


def test_asking_again_within_a_session_works_nothing_out_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    hours = MarketHours.india()
    assert open_at(hours, "NSE", MONDAY, "09:15") == [True]
    monkeypatch.setattr(hours, "_stretch", lambda *_: pytest.fail("worked out anew"))
    assert all(open_at(hours, "NSE", MONDAY, "09:15", "12:00", "15:29:59.999"))


def test_exchanges_that_clients_make_up_take_no_memory() -> None:
    hours = MarketHours.india()
    listed = len(hours._stretches)
    for number in range(100):
        hours.is_open(f"X{number}", at(MONDAY, "12:00"))
    assert len(hours._stretches) == listed
