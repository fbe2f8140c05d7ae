"""When markets trade, so that silence outside of it is never judged; told the time."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from typing import NamedTuple, TypeAlias

#: Indian exchanges keep India's time, which knows no summer.
IST = timezone(timedelta(hours=5, minutes=30))

_DAY_MINUTES = 24 * 60
_FORM = "india, always, or NSE=09:15-15:30 MCX=09:00-23:30 (a list of times is joined with commas)"
_SESSION = re.compile(r"([01]\d|2[0-4]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)")


class Session(NamedTuple):
    """A time of trading in minutes after midnight, `end` excluded."""

    start: int
    end: int


Sessions: TypeAlias = tuple[Session, ...]


def parse_sessions(text: str) -> Sessions:
    """Return the sessions of `09:15-15:30,18:00-19:00`. Raises ValueError for anything else."""
    sessions = []
    for part in text.split(","):
        match = _SESSION.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{part.strip()!r} is not a time of trading such as 09:15-15:30")
        hour, minute, end_hour, end_minute = map(int, match.groups())
        session = Session(hour * 60 + minute, end_hour * 60 + end_minute)
        if not session.start < session.end <= _DAY_MINUTES:
            raise ValueError(f"{part.strip()!r} does not end after it begins, on the same day")
        sessions.append(session)
    return tuple(sorted(sessions))


class Holidays:
    """Days on which exchanges do not trade as usual: `{day: {exchange: sessions}}`, "" for all of them."""

    def __init__(self, days: Mapping[date, Mapping[str, Sessions]] | None = None) -> None:
        self._days = days or {}

    @classmethod
    def parse(cls, lines: Iterable[str]) -> Holidays:
        """Read one day a line: `2026-01-26`, `2026-03-03 NSE BSE` or `2026-11-08 NSE=18:15-19:15`.

        A day alone closes every exchange that does not trade around the clock. What follows # is ignored.
        Raises ValueError, which tells of every line at fault by its number.
        """
        days: dict[date, dict[str, Sessions]] = {}
        faults = []
        for number, line in enumerate(lines, start=1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                day = days.setdefault(date.fromisoformat(words[0]), {})
                for word in words[1:] or [""]:
                    exchange, equals, times = word.partition("=")
                    day[exchange.upper()] = parse_sessions(times) if equals else ()
            except ValueError as error:
                faults.append(f"line {number}: {error}")
        if faults:
            raise ValueError("; ".join(faults))
        return cls(days)

    def sessions(self, exchange: str, day: date) -> Sessions | None:
        """Return what the exchange trades on the day; None when it is a day like any other."""
        named = self._days.get(day)
        if named is None:
            return None
        return named.get(exchange, named.get(""))


class MarketHours:
    """Tells when each exchange trades; one that is not listed never does, so its silence is never judged."""

    def __init__(
        self,
        weekdays: Mapping[str, Sessions],
        always: Iterable[str] = (),
        holidays: Holidays | None = None,
    ) -> None:
        """`weekdays` trade from Monday to Friday in IST; `always` names those that never close.

        An "*" among these means every exchange.
        """
        self._weekdays = dict(weekdays)
        self._always = frozenset(always)
        self._holidays = holidays or Holidays()
        # Answers are asked for every second: the minutes at which each exchange opens and closes on a day.
        self._day = -1
        self._changes: dict[str, list[int]] = {}

    @classmethod
    def india(cls, holidays: Holidays | None = None) -> MarketHours:
        """Return the usual hours of India's exchanges; CRYPTO never closes."""
        return cls(INDIA, ("CRYPTO",), holidays)

    @classmethod
    def parse(cls, text: str, holidays: Holidays | None = None) -> MarketHours:
        """Read `india`, `always`, or `NSE=09:15-15:30 CRYPTO=always`, which may follow `india`.

        Raises ValueError, which says what is wrong and shows the form.
        """
        weekdays: dict[str, Sessions] = {}
        always: set[str] = set()
        for word in text.split():
            exchange, equals, times = word.partition("=")
            exchange = exchange.upper()
            try:
                if word.lower() == "india":
                    weekdays, always = {**INDIA, **weekdays}, {"CRYPTO", *always}
                elif word.lower() == "always":
                    always.add("*")
                elif not equals or not exchange:
                    raise ValueError(f"{word!r} names no times")
                elif times.lower() == "always":
                    always.add(exchange)
                else:
                    weekdays[exchange] = parse_sessions(times)
            except ValueError as error:
                raise ValueError(f"{error}; market hours are {_FORM}") from None
        if not weekdays and not always:
            raise ValueError(f"no market is named; market hours are {_FORM}")
        return cls(weekdays, always, holidays)

    def is_open(self, exchange: str, at: float) -> bool:
        """Tell whether the exchange trades at a time in epoch seconds."""
        if exchange in self._always or "*" in self._always:
            return True
        moment = datetime.fromtimestamp(at, UTC).astimezone(IST)
        if moment.toordinal() != self._day:
            self._day = moment.toordinal()
            self._changes.clear()
        changes = self._changes.get(exchange)
        if changes is None:
            sessions = self._sessions(exchange, moment.date())
            changes = self._changes[exchange] = [minute for session in sessions for minute in session]
        # Open after an odd number of changes.
        return bool(bisect_right(changes, moment.hour * 60 + moment.minute) % 2)

    def _sessions(self, exchange: str, day: date) -> Sessions:
        usual = self._weekdays.get(exchange)
        if usual is None:
            return ()
        special = self._holidays.sessions(exchange, day)
        if special is not None:
            return special
        return usual if day.weekday() < 5 else ()

    def __repr__(self) -> str:
        return f"<MarketHours of {len(self._weekdays)} exchanges, always: {', '.join(sorted(self._always))}>"


_EQUITY = parse_sessions("09:15-15:30")
_CURRENCY = parse_sessions("09:00-17:00")
_COMMODITY = parse_sessions("09:00-23:30")
#: Monday to Friday, IST, as commonly published (2026-11-24, not checked with the exchanges); MCX trades to
#: 23:55 while New York has winter time.
INDIA: Mapping[str, Sessions] = {
    **dict.fromkeys(("NSE", "BSE", "NFO", "BFO", "NSE_INDEX", "BSE_INDEX"), _EQUITY),
    **dict.fromkeys(("CDS", "BCD", "NCDEX"), _CURRENCY),
    **dict.fromkeys(("MCX", "MCX_INDEX", "NCO"), _COMMODITY),
}

#: Every exchange, all the time: for simulators, and for markets that never close.
ALWAYS_OPEN = MarketHours({}, "*")
