"""Faults of settings in words: each begins with the name that the user wrote, and none quotes a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from brokerpool.settings.settings_in_words import describe


def fault(group: type[BaseModel], detail: ErrorDetails, shown: str = "") -> str:
    """Return what is wrong with a setting of the group, which is `shown` under another name than its own."""
    name = str(detail["loc"][0])
    shown = shown or name
    setting = next(setting for setting in describe(group) if setting.name == name)
    if detail["type"] == "missing":
        return f"{shown} is missing; it is {setting.allowed}"
    if detail["type"] == "value_error":
        # Of our own validators, whose errors quote nothing.
        return f"{shown}: {detail['ctx']['error']}"
    return f"{shown} must be {setting.allowed}"


def stranger(shown: str, name: str, known: Iterable[str], table: str = "") -> str:
    """Return that what is `shown` is no setting, and which one of the known was meant."""
    near = difflib.get_close_matches(name, known, n=1)
    place = f"{table}." if table else ""
    return f"{shown} is not a setting" + (f"; did you mean {place}{near[0]}?" if near else "")


def sentence(faults: list[str]) -> str:
    """Return all faults as one text, a line each."""
    return f"{len(faults)} at fault:\n" + "".join(f"  - {fault}\n" for fault in faults)
