"""What a call carries, as form, query and JSON: what would mean nothing to a broker never leaves.

One rule for all three. A member that is None is left out, as the brokers' own clients do. A number that is
none, a list in a form, or a value of which it is not clear how a broker writes it, is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from numbers import Integral, Real
from typing import TypeAlias
from urllib.parse import urlencode

import msgspec

#: One value in a form, a query or JSON; numpy's numbers are taken as well.
Scalar: TypeAlias = str | int | float | Decimal | date | Enum | None
Query: TypeAlias = Mapping[str, Scalar | Sequence[Scalar]]
Body: TypeAlias = bytes | Mapping[str, Scalar]

#: A float is sent with so many digits, and from 1 upward so many places: more than any tick size needs, and
#: few enough that what arithmetic leaves behind (0.1 + 0.2, a sum of a thousand prices) is gone.
FLOAT_DIGITS = 14
FLOAT_PLACES = Decimal("1e-8")

# Written out, a Decimal of 1E+999999999 would fill the memory.
_DECIMAL_MAGNITUDE = 30
# From here on a float does not tell whole numbers apart.
_EXACT = 2.0**53

_json = msgspec.json.Encoder(decimal_format="number")


def form(members: Mapping[str, Scalar]) -> bytes:
    """Return the body of a form. Raises ValueError for a member that has no place in one."""
    return urlencode(
        {name: _word(name, value) for name, value in members.items() if value is not None}
    ).encode()


def query(members: Query) -> dict[str, str | list[str]]:
    """Return the members of a query, those that are lists or tuples as such; raises as `form` does."""
    return {
        name: [_word(name, each) for each in value] if isinstance(value, list | tuple) else _word(name, value)
        for name, value in members.items()
        if value is not None
    }


def json_body(value: object) -> bytes:
    """Return a value as JSON, a Decimal as a number. Raises ValueError, also for a None inside a list."""
    try:
        plain = msgspec.to_builtins(value, builtin_types=(Decimal, date, datetime), enc_hook=_of_numpy)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"this cannot be sent as JSON: {error}") from None
    return _json.encode(_within("json", plain))


def number(name: str, value: float) -> Decimal | int:
    """Return the number that a float stands for, without what arithmetic has left behind.

    No decimal number of up to 14 digits and 8 places is changed. Raises ValueError for nan, the infinities,
    and whole numbers from 2^53 on, of which the last digits are lost already.
    """
    if not math.isfinite(value):
        raise ValueError(f"{name} is {value}, which is no number that could be sent")
    if value.is_integer():
        if abs(value) >= _EXACT:
            raise ValueError(f"{name} is a float beyond 2^53 and has lost its last digits: give it as an int")
        return int(value)
    short = Decimal(f"{value:.{FLOAT_DIGITS}g}")
    return short.quantize(FLOAT_PLACES).normalize() if abs(value) >= 1 else short.normalize()


def _word(name: str, value: object) -> str:
    if not isinstance(name, str):
        raise ValueError(f"the name of a member is text, and not a {type(name).__name__}")
    if type(value) is str:
        return value
    plain = _scalar(name, value)
    if plain is None:
        raise ValueError(f"{name} has a None in it, which cannot be sent")
    if isinstance(plain, bool):
        return "true" if plain else "false"
    return f"{plain:f}" if isinstance(plain, Decimal) else str(plain)


def _within(name: str, value: object) -> object:
    if isinstance(value, dict):
        return {key: _within(f"{name}.{key}", each) for key, each in value.items() if each is not None}
    if isinstance(value, list):
        if None in value:
            raise ValueError(f"{name} has a None among its values, which cannot be left out")
        return [_within(f"{name}[{at}]", each) for at, each in enumerate(value)]
    plain = _scalar(name, value)
    # 1E+3 is legal JSON, and yet not what everybody takes for a whole number.
    return int(plain) if isinstance(plain, Decimal) and "E+" in str(plain) else plain


def _scalar(name: str, value: object) -> str | int | Decimal | None:
    if isinstance(value, Enum):
        return _scalar(name, value.value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Decimal):
        if not value.is_finite() or abs(value.adjusted()) > _DECIMAL_MAGNITUDE:
            raise ValueError(f"{name} is {value}, which is no number that could be sent")
        return value
    if isinstance(value, float):
        return number(name, float(value))
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, datetime):
        raise ValueError(f"{name} is a datetime, which brokers write in many ways: give it as text")
    try:
        plain = _of_numpy(value)
    except (TypeError, ValueError):
        text = f"{name} is a {type(value).__name__}, which has no place here: only JSON holds what is nested"
        raise ValueError(text) from None
    return number(name, plain) if isinstance(plain, float) else plain


def _of_numpy(value: object) -> int | float:
    """Return what a number of numpy's stands for, by its own shortest digits. Raises TypeError for others."""
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(str(value))
    item = getattr(value, "item", None)
    if callable(item) and isinstance(flag := item(), bool):  # numpy.bool is no number
        return flag
    raise TypeError(f"a {type(value).__name__} has no form in it")
