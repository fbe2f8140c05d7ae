"""What speaks against health, told in the log when it begins and when it is over; pure, with a clock."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from brokerpool.monitor.health_reasons import Code, Condition
from brokerpool.monitor.health_timing import Reason

#: What is away for less is not over: a condition that comes and goes is told once, and not again and again.
SETTLED_SECONDS = 30.0


class Line(NamedTuple):
    """One line for the log."""

    level: int
    text: str


class _Told(NamedTuple):
    began: float
    #: When it was seen last.
    seen: float


class ConditionLog:
    """Turns the reasons of each moment into two lines for each condition: its beginning and its end."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: dict[Condition, _Told] = {}

    def look(self, reasons: Iterable[Reason]) -> list[Line]:
        """Return what is to be logged now; to be called every second or so."""
        now = self._clock()
        lines = []
        for reason in reasons:
            if reason.code is Code.STOPPING:
                continue  # somebody has asked for it
            condition = reason.condition
            known = self._told.get(condition)
            if known is None:
                lines.append(Line(logging.WARNING, f"{condition}: {reason.text} {condition.action}"))
            self._told[condition] = _Told(known.began if known else now, now)
        for condition, (began, seen) in list(self._told.items()):
            if now - seen >= SETTLED_SECONDS:
                del self._told[condition]
                lines.append(Line(logging.WARNING, f"{condition} is over; it took {seen - began:.0f} s"))
        return lines
