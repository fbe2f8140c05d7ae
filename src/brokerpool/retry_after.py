"""The header Retry-After (RFC 9110, 10.2.3) in both its forms: how long a server asks to be left alone."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

#: A longer wait is taken for a mistake; whoever waits may allow less.
LONGEST_SECONDS = 86_400.0

_SECONDS = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]*)?", re.ASCII)


def retry_after(value: str | None, wall_clock: float, date: str | None = None) -> float | None:
    """Return the seconds, from 0 to a day, that a Retry-After header asks for; None when it says nothing.

    It holds seconds or a date. A date is judged against the `date` of the same answer (its header Date), for
    the two clocks may disagree, and against ours (epoch seconds) when there is none, or one that is more than
    a day off: with a clock as wrong as that we could not have verified the server's certificate.
    Never raises.
    """
    if value is None:
        return None
    text = value.strip()
    if _SECONDS.fullmatch(text):
        return _bounded(float(text))
    until = _epoch(text)
    if until is None:
        return None
    now = _epoch(date.strip()) if date is not None else None
    if now is None or abs(now - wall_clock) > LONGEST_SECONDS:
        now = wall_clock
    return _bounded(until - now)


def _bounded(seconds: float) -> float:
    return min(max(0.0, seconds), LONGEST_SECONDS)


def _epoch(text: str) -> float | None:
    """Return an HTTP date (any of the three legal forms) as epoch seconds."""
    try:
        parsed = parsedate_to_datetime(text)
        # The form of C's asctime names no zone, and "-0000" none that is known: HTTP means UTC by both.
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
