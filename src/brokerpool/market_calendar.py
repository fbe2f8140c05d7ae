"""When each exchange trades, in IST, so that silence outside these hours is never judged."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType
from typing import NamedTuple, TypeAlias, TypeVar

from brokerpool.instruments import EXCHANGES

_DAY = 86_400
#: Indian Standard Time has been UTC+05:30 without summer time since 1945, so no time zone data is needed.
_IST = 19_800
_EPOCH = date(1970, 1, 1)
#: Days of the week from Monday, which is 0. The epoch was a Thursday.
_THURSDAY, _SATURDAY = _EPOCH.weekday(), 5

_EXCHANGE_LIST = ", ".join(sorted(EXCHANGES))
_SETTING_FORM = (
    'The form is "india", "always", or parts with ";" between them, as in'
    f' "india; NSE=09:15-15:30,18:00-19:00; CRYPTO=always"; an exchange is one of {_EXCHANGE_LIST}.'
)
_LINE_FORM = (
    'The form of a line is "2026-01-26", "2026-03-03 NSE BSE" or "2026-11-08 NSE=18:15-19:15";'
    f" an exchange is one of {_EXCHANGE_LIST}."
)
#: 24:00 is allowed as an end only.
_SESSION = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]|24(?=:00)):([0-5][0-9])")


class Session(NamedTuple):
    """Trading from `begin` up to, not including, `end`: seconds after midnight IST of the day it begins on.

    A session over midnight ends above 86 400. It belongs to the day on which it begins, also where the
    next one is a holiday.
    """

    begin: int
    end: int


Sessions: TypeAlias = tuple[Session, ...]


class Week(NamedTuple):
    """The sessions of each day from Monday to Friday, or of every day."""

    sessions: Sessions
    every_day: bool = False


#: Trading that never pauses. A holiday of all exchanges does not close it.
ALWAYS = Week((Session(0, _DAY),), every_day=True)

#: Days unlike the week's, by days since 1970 and exchange; the exchange "" stands for all that have holidays.
Days: TypeAlias = Mapping[tuple[int, str], Sessions]

_NO_DAYS: Days = MappingProxyType({})

_Key = TypeVar("_Key")
_Hours = TypeVar("_Hours")


class _Stretch(NamedTuple):
    """A span of epoch seconds, the end not included, in which an exchange is open or closed throughout."""

    begin: int
    end: int
    is_open: bool


class MarketHours:
    """When each exchange trades; one that is not listed is never open, so its silence is never judged."""

    def __init__(
        self, weeks: Mapping[str, Week], days: Days = _NO_DAYS, *, unlisted_open: bool = False
    ) -> None:
        self._weeks = dict(weeks)
        self._days = dict(days)
        self._unlisted_open = unlisted_open
        # A sweep asks for thousands of instruments and the answer changes a few times a day, so the last
        # stretch of each exchange is kept. Listed exchanges only: the others' names come from clients.
        self._stretches = {exchange: _Stretch(0, 0, False) for exchange in self._weeks}

    @classmethod
    def india(cls) -> MarketHours:
        """Return the regular hours of the Indian exchanges, without holidays."""
        return cls(_INDIA)

    @classmethod
    def parse(cls, text: str) -> MarketHours:
        """Return the hours that a setting asks for: `india`, `always`, or parts such as `NSE=09:15-15:30`.

        Parts alone mean exactly these exchanges; after `india` they replace what that says of theirs.
        Raises ValueError, which names every part at fault by its number and quotes none.
        """
        _check_text(text)
        parts = {number: part.strip() for number, part in enumerate(text.split(";"), 1) if part.strip()}
        if list(parts.values()) == ["always"]:
            return ALWAYS_OPEN
        weeks: dict[str, Week] = {}
        faults = [] if parts else ["there is nothing in it"]
        over_india = parts.get(1) == "india"
        if over_india:
            del parts[1]
        for number, part in parts.items():
            try:
                _add(weeks, *_week(part))
            except ValueError as error:
                faults.append(f"part {number} {error}")
        if faults:
            raise ValueError(f"{'; '.join(faults)}. {_SETTING_FORM}")
        return cls({**_INDIA, **weeks} if over_india else weeks)

    def with_holidays(self, text: str) -> MarketHours:
        """Return these hours with the days of a holiday file, one a line, in place of the week's.

        `2026-01-26` closes every exchange but those that trade always; exchanges after the date say that
        only these are closed, and with sessions (`NSE=18:15-19:15`) that they trade then and only then,
        on a weekend too. What names an exchange goes before what names none. `#` begins a comment.
        Raises ValueError, which names every line at fault by its number and quotes none.
        """
        _check_text(text)
        days: dict[tuple[int, str], Sessions] = {}
        faults = []
        for number, line in enumerate(text.split("\n"), 1):
            try:
                for key, sessions in _holiday(line.partition("#")[0].split()).items():
                    _add(days, key, sessions)
            except ValueError as error:
                faults.append(f"line {number} {error}")
        if faults:
            raise ValueError(f"{'; '.join(faults)}. {_LINE_FORM}")
        return MarketHours(self._weeks, {**self._days, **days}, unlisted_open=self._unlisted_open)

    def is_open(self, exchange: str, at: float) -> bool:
        """Tell whether an exchange trades at a moment, given in seconds since the epoch.

        Raises TypeError for an exchange that is no text.
        """
        stretch = self._stretches.get(exchange)
        if stretch is None:
            _check_text(exchange)
            listed = exchange.upper()
            return self.is_open(listed, at) if listed in self._stretches else self._unlisted_open
        begin, end, is_open = stretch
        if begin <= at < end:
            return is_open
        stretch = self._stretches[exchange] = self._stretch(exchange, at)
        return stretch.is_open

    def _stretch(self, exchange: str, at: float) -> _Stretch:
        """Return the stretch around a moment; midnight ends it, whether or not the answer changes there."""
        # Sessions begin and end on whole seconds, so rounding down loses nothing and the rest is exact.
        second = math.floor(at)
        today = (second + _IST) // _DAY
        # Yesterday's may reach over midnight; no session is long enough to reach over two.
        spans = [
            (day * _DAY - _IST + session.begin, day * _DAY - _IST + session.end)
            for day in (today - 1, today)
            for session in self._sessions(exchange, day)
        ]
        midnight = today * _DAY - _IST
        edges = [midnight, midnight + _DAY, *(edge for span in spans for edge in span)]
        return _Stretch(
            max(edge for edge in edges if edge <= second),
            min(edge for edge in edges if edge > second),
            any(begin <= second < end for begin, end in spans),
        )

    def _sessions(self, exchange: str, day: int) -> Sessions:
        """Return the sessions that begin on a day, given in days since 1970."""
        if (day, exchange) in self._days:
            return self._days[day, exchange]
        week = self._weeks[exchange]
        if week.every_day:
            return week.sessions
        weekend = (day + _THURSDAY) % 7 >= _SATURDAY
        return () if weekend or (day, "") in self._days else week.sessions


def _check_text(given: object) -> None:
    if not isinstance(given, str):
        raise TypeError(f"a {type(given).__name__} is no text")


def _week(part: str) -> tuple[str, Week]:
    """Read one part of the setting; an error continues the sentence that its caller begins."""
    exchange, equals, hours = part.partition("=")
    if not equals:
        raise ValueError("has no =")
    return _exchange(exchange), ALWAYS if hours.strip() == "always" else Week(_sessions_of(hours))


def _holiday(words: list[str]) -> dict[tuple[int, str], Sessions]:
    """Read one line of a holiday file without its comment; an error continues its caller's sentence."""
    if not words:
        return {}
    try:
        day = (date.fromisoformat(words[0]) - _EPOCH).days
    except ValueError:
        raise ValueError("does not begin with a date") from None
    days: dict[tuple[int, str], Sessions] = {}
    for word in words[1:]:
        exchange, equals, hours = word.partition("=")
        _add(days, (day, _exchange(exchange)), _sessions_of(hours) if equals else ())
    return days or {(day, ""): ()}


def _add(entries: dict[_Key, _Hours], key: _Key, hours: _Hours) -> None:
    """Enter what is not there yet: of two that contradict each other none is to win unseen."""
    if key in entries:
        raise ValueError("sets hours that are set already")
    entries[key] = hours


def _exchange(text: str) -> str:
    exchange = text.strip().upper()
    if exchange not in EXCHANGES:
        raise ValueError("names an exchange that is not known")
    return exchange


def _sessions_of(text: str) -> Sessions:
    return tuple(_session(session.strip()) for session in text.split(","))


def _session(text: str) -> Session:
    match = _SESSION.fullmatch(text)
    if match is None:
        raise ValueError("has a session that is not HH:MM-HH:MM")
    begin_hour, begin_minute, end_hour, end_minute = map(int, match.groups())
    begin = begin_hour * 3_600 + begin_minute * 60
    end = end_hour * 3_600 + end_minute * 60
    if begin == end:
        raise ValueError("has a session that ends when it begins")
    return Session(begin, end if end > begin else end + _DAY)


def _weekdays(exchanges: str, text: str) -> dict[str, Week]:
    return dict.fromkeys(exchanges.split(), Week(_sessions_of(text)))


#: Narrow where the hours vary: MCX goes on to 23:55 in the winter of the United States, and a fault found
#: late costs less than a healthy feed taken for a dead one. GLOBAL_INDEX follows no Indian hours at all.
_INDIA = {
    **_weekdays("NSE BSE NFO BFO NSE_INDEX BSE_INDEX", "09:15-15:30"),
    **_weekdays("CDS BCD NCDEX", "09:00-17:00"),
    **_weekdays("MCX MCX_INDEX NCO", "09:00-23:30"),
    "CRYPTO": ALWAYS,
}

#: Every exchange, listed or not, at all times, whatever a holiday file says: for simulators and tests.
ALWAYS_OPEN = MarketHours({}, unlisted_open=True)
