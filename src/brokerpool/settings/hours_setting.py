"""The market hours as settings give them: a text and a holiday file, both checked when they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field

from brokerpool.market_calendar import MarketHours


def with_holiday_file(hours: MarketHours, path: str) -> MarketHours:
    """Return the hours with the days of a holiday file; without a path they stay as they are.

    Raises ValueError, which quotes neither the path nor what is in the file.
    """
    if not path:
        return hours
    try:
        text = Path(path).read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text.") from None
    except OSError as error:
        raise ValueError(f"the file cannot be read: {error.strerror}.") from None
    return hours.with_holidays(text)


def _checked_hours(text: str) -> str:
    MarketHours.parse(text)
    return text


def _checked_file(path: str) -> str:
    with_holiday_file(MarketHours.india(), path)
    return path


# The settings keep what was given, so that they show and dump as such; each is checked on its own, so that
# a fault of one hides none of the others.
Hours = Annotated[
    str,
    AfterValidator(_checked_hours),
    Field(json_schema_extra={"allowed": "india, always, or hours as in `NSE=09:15-15:30; CRYPTO=always`"}),
]
HolidayFile = Annotated[
    str, AfterValidator(_checked_file), Field(json_schema_extra={"allowed": "a file, or empty for none"})
]
