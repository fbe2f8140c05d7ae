"""Market hours against a calendar that is read minute for minute, without a cache."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone

from hypothesis import example, given
from hypothesis import strategies as st

from brokerpool.market_calendar import MarketHours

IST = timezone(timedelta(hours=5, minutes=30))
#: A fortnight, so that holidays, weekends and overnight sessions meet; it includes two Mondays.
FIRST = date(2026, 2, 26)
DAYS = [FIRST + timedelta(days=n) for n in range(14)]
LISTED = ("NSE", "MCX", "CRYPTO")

Session = tuple[int, int]
Week = list[Session] | None
Holidays = dict[tuple[date, str], list[Session]]

minutes = st.integers(0, 24 * 60 - 1)
sessions = st.lists(
    st.tuples(minutes, minutes | st.just(24 * 60)).filter(lambda pair: pair[0] != pair[1]),
    min_size=1,
    max_size=3,
)
#: None stands for `always`.
weeks = st.dictionaries(st.sampled_from(LISTED), st.none() | sessions, min_size=1)
holidays = st.dictionaries(
    st.tuples(st.sampled_from(DAYS), st.sampled_from(LISTED)), st.just([]) | sessions, max_size=6
)
closed_days = st.sets(st.sampled_from(DAYS), max_size=4)
moments = st.lists(
    st.tuples(
        st.sampled_from((*LISTED, "NFO")),
        st.floats(0, len(DAYS) * 86_400) | st.integers(0, len(DAYS) * 24 * 60).map(lambda n: n * 60.0),
    ),
    min_size=1,
    max_size=40,
)


def clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def spelt(spans: list[Session]) -> str:
    return ",".join(f"{clock(begin)}-{clock(end)}" for begin, end in spans)


def built(weeks: dict[str, Week], holidays: Holidays, closed: set[date]) -> MarketHours:
    """Return the hours as a user gets them: from the text of a setting and of a file."""
    setting = "; ".join(
        f"{name}={'always' if spans is None else spelt(spans)}" for name, spans in weeks.items()
    )
    lines = [f"{day}" for day in closed]
    lines += [f"{day} {name}{'=' if spans else ''}{spelt(spans)}" for (day, name), spans in holidays.items()]
    return MarketHours.parse(setting).with_holidays("\n".join(lines))


def naive(weeks: dict[str, Week], holidays: Holidays, closed: set[date], exchange: str, at: float) -> bool:
    """Look the moment up in the calendar of its own day and of the day before."""
    if exchange not in weeks:
        return False
    now = datetime.fromtimestamp(at, IST)
    for day in (now.date() - timedelta(days=1), now.date()):
        spans: Week = holidays.get((day, exchange))
        if spans is None:
            spans = weeks[exchange]
            if spans is None:
                spans = [(0, 24 * 60)]
            elif day in closed or day.isoweekday() > 5:
                spans = []
        midnight = datetime.combine(day, time(), IST)
        for begin, end in spans:
            lasts = (end - begin) % (24 * 60) or 24 * 60
            opens = midnight + timedelta(minutes=begin)
            if opens <= now < opens + timedelta(minutes=lasts):
                return True
    return False


@given(weeks, holidays, closed_days, moments)
@example({"NSE": [(22 * 60, 2 * 60)]}, {}, {date(2026, 3, 3)}, [("NSE", (5 * 24 + 1) * 3600.0)])
def test_whatever_is_asked_in_whatever_order_the_answer_is_that_of_the_calendar(
    weeks: dict[str, Week], holidays: Holidays, closed: set[date], moments: list[tuple[str, float]]
) -> None:
    start = datetime.combine(FIRST, time(), IST).timestamp()
    hours = built(weeks, holidays, closed)
    for exchange, offset in moments:
        # Whole microseconds, which is as fine as the calendar's datetime goes.
        at = start + round(offset, 5)
        expected = naive(weeks, holidays, closed, exchange, at)
        assert hours.is_open(exchange, at) == expected, "whatever was asked before"
        assert built(weeks, holidays, closed).is_open(exchange, at) == expected, "with nothing asked before"


@given(st.sampled_from(LISTED), st.floats(-1e11, 1e11), st.floats(0, 86_400))
def test_no_moment_is_too_remote_and_hours_repeat_every_week(exchange: str, at: float, ahead: float) -> None:
    hours = MarketHours.india()
    at = float(round(at))
    answers = [hours.is_open(exchange, at + week * 7 * 86_400 + round(ahead)) for week in range(3)]
    assert len(set(answers)) == 1
