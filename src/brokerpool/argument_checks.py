"""What callers hand over, understood whole: a wrong argument is an error that says what is right.

Public methods ask these before they change anything. What a value means is decided here once, for all pools
and their blocking twins: TypeError for a value of another kind, ValueError for one that cannot be meant.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TypeAlias, TypeVar

from brokerpool.instruments import Instrument, named
from brokerpool.ticks import Mode

#: One instrument, or its text as in "NSE:INFY", or several of either.
Instruments: TypeAlias = Instrument | str | Iterable[Instrument | str]

T = TypeVar("T")

_RIGHT = 'an Instrument or a text such as "NSE:INFY"'


def instrument(given: Instrument | str) -> Instrument:
    """Return the instrument. Raises TypeError, and ValueError for a text that is not EXCHANGE:SYMBOL."""
    known = named(given)
    if not (isinstance(known.exchange, str) and isinstance(known.symbol, str)):
        raise TypeError("an Instrument has two texts: its exchange and its symbol")
    return known


def instruments(given: Instruments) -> list[Instrument]:
    """Return the instruments, each once and in their order; whatever an iterator raises comes through.

    Raises TypeError, and ValueError for a text that is not EXCHANGE:SYMBOL; the place in the list is named.
    """
    if isinstance(given, str | Instrument):
        return [instrument(given)]
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{_shown(given)} is no instruments; give {_RIGHT}, or a list of these")
    found: dict[Instrument, None] = {}
    for place, one in enumerate(given, 1):
        try:
            found[instrument(one)] = None
        except (TypeError, ValueError) as error:
            raise type(error)(f"entry {place}: {error}") from None
    return list(found)


def mode(given: Mode) -> Mode:
    """Return the mode. Raises TypeError for anything else, a number or a text included."""
    if not isinstance(given, Mode):
        right = ", ".join(f"Mode.{mode.name}" for mode in Mode)
        raise TypeError(f"the mode is {_shown(given)}; give one of {right}")
    return given


def text(name: str, given: str) -> str:
    """Return a text that is not empty. Raises TypeError and ValueError."""
    if not isinstance(given, str):
        raise TypeError(f"{name} is {_shown(given)}; give a text")
    if not given:
        raise ValueError(f"{name} is empty; give a text")
    return given


def whole(name: str, given: int, least: int | None = None, most: int | None = None) -> int:
    """Return a whole number from `least` to `most`. Raises TypeError and ValueError."""
    if not isinstance(given, int) or isinstance(given, bool):
        raise TypeError(f"{name} is {_shown(given)}; give a whole number")
    if least is not None and given < least:
        raise ValueError(f"{name} is {given}; give a whole number of at least {least}")
    if most is not None and given > most:
        raise ValueError(f"{name} is {given}; give a whole number of at most {most}")
    return given


def seconds(name: str, given: float, *, above_zero: bool = False) -> float:
    """Return a finite time of at least 0 seconds, or above 0. Raises TypeError and ValueError."""
    if not isinstance(given, int | float) or isinstance(given, bool):
        raise TypeError(f"{name} is {_shown(given)}; give a number of seconds")
    if not math.isfinite(given) or given < 0 or (above_zero and not given):
        raise ValueError(f"{name} is {given}; give a number of seconds {'above' if above_zero else 'from'} 0")
    return given


def instance(name: str, given: object, kind: type[T]) -> T:
    """Return the object if it is one of that kind. Raises TypeError."""
    if not isinstance(given, kind):
        raise TypeError(f"{name} is {_shown(given)}; give a {kind.__name__}")
    return given


def _shown(given: object) -> str:
    """Show numbers and None; of anything else, which may be long or a secret, the kind alone."""
    if given is None or isinstance(given, bool | int | float):
        return repr(given)
    return f"a {type(given).__name__}"
