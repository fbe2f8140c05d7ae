"""India's time, in which its brokers tell times and end their tokens; pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

#: UTC+05:30 without summer time since 1945, so no time zone data is needed.
INDIA = timezone(timedelta(hours=5, minutes=30))


def next_time(now: float, hour: int, minute: int = 0) -> float:
    """Return when the clock in India shows this time next after `now`, both in epoch seconds."""
    local = datetime.fromtimestamp(now, UTC).astimezone(INDIA)
    then = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (then if then > local else then + timedelta(days=1)).timestamp()


def utc_seconds(hour: int, minute: int = 0) -> int:
    """Return a time of the day in India in seconds after midnight UTC."""
    return (hour * 60 + minute - 330) * 60


def as_read(at: float, about: str = "") -> str:
    """Return epoch seconds as a trader in India reads them, as in Sun 29 Nov, 03:30 India time."""
    return datetime.fromtimestamp(at, INDIA).strftime(f"%a %d %b, {about}%H:%M India time")
