"""Retry-After: both forms, every legal spelling of a date, and whatever else a server may send."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.retry_after import LONGEST_SECONDS, retry_after

INDIA = timezone(timedelta(hours=5, minutes=30))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)

SPELLINGS: dict[str, Callable[[datetime], str]] = {
    "IMF-fixdate": lambda when: format_datetime(when, usegmt=True),
    "RFC 850": lambda when: when.strftime("%A, %d-%b-%y %H:%M:%S GMT"),
    "asctime": lambda when: when.strftime("%a %b %e %H:%M:%S %Y"),
    "zone unknown": lambda when: when.strftime("%a, %d %b %Y %H:%M:%S -0000"),
    "another zone": lambda when: format_datetime(when.astimezone(tz=INDIA)),
}
moments = st.integers(-400_000, 400_000).map(lambda seconds: NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7\t", 7.0),
        ("1.5", 1.5),
        ("-3", 0.0),
        ("9" * 200, LONGEST_SECONDS),
        ("Tue, 24 Nov 2026 10:00:30 GMT", 30.0),
        ("Tuesday, 24-Nov-26 10:00:30 GMT", 30.0),
        ("Tue Nov 24 10:00:30 2026", 30.0),
        ("Tue, 24 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun Nov  6 08:49:37 1994", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_SECONDS),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("1_000", None),
        ("٣", None),
        ("5, 7", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW.timestamp()) == seconds


@given(st.sampled_from(list(SPELLINGS)), st.integers(0, 86_400), moments)
def test_every_spelling_of_a_date_means_the_same_wherever_we_are(
    spelling: str, wait: int, now: datetime
) -> None:
    text = SPELLINGS[spelling](now + timedelta(seconds=wait))
    assert retry_after(text, now.timestamp()) == wait


@given(
    st.sampled_from(list(SPELLINGS)),
    st.sampled_from(list(SPELLINGS)),
    st.integers(0, 86_400),
    st.integers(-80_000, 80_000),
)
def test_clocks_that_disagree_change_nothing_where_the_answer_has_its_own_date(
    spelling: str, date_spelling: str, wait: int, off: int
) -> None:
    theirs = NOW + timedelta(seconds=off)
    text = SPELLINGS[spelling](theirs + timedelta(seconds=wait))
    assert retry_after(text, NOW.timestamp(), SPELLINGS[date_spelling](theirs)) == wait


@pytest.mark.parametrize("date", ["rubbish", "", "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_date_that_cannot_be_right_is_not_used(date: str) -> None:
    assert retry_after("Tue, 24 Nov 2026 10:00:30 GMT", NOW.timestamp(), date) == 30.0


@given(
    st.one_of(
        st.none(), st.text(), st.from_regex(r"[+-]?[0-9 ,:.-]{0,40}(GMT)?"), st.sampled_from(["0" * 999])
    ),
    st.floats(0, 4e9),
    st.one_of(st.none(), st.text()),
)
def test_whatever_is_sent_it_is_a_bounded_wait_or_nothing(
    text: str | None, now: float, date: str | None
) -> None:
    wait = retry_after(text, now, date)
    assert wait is None or (math.isfinite(wait) and 0.0 <= wait <= LONGEST_SECONDS)
