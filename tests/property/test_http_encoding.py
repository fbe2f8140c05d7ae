"""What leaves in a form, a query and JSON: prices as they are meant, and nothing that means nothing."""

from __future__ import annotations

import enum
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any
from urllib.parse import parse_qs

import numpy
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from brokerpool.http.encoding import form, json_body, query

#: Of Indian exchanges, currencies, and markets of coins.
TICKS = [Decimal(t) for t in ("1", "0.5", "0.05", "0.01", "0.0025", "0.0001", "0.00000001")]


class Side(enum.Enum):
    BUY = "BUY"


class Product(str, enum.Enum):  # noqa: UP042  (as users have it)
    CNC = "CNC"


class Validity(enum.IntEnum):
    DAY = 1


def sent(**members: Any) -> dict[str, str]:
    """Return a form as its receiver reads it."""
    return {k: v for k, (v,) in parse_qs(form(members).decode(), keep_blank_values=True).items()}


@given(st.sampled_from(TICKS), st.integers(0, 10**13))
def test_no_price_on_a_tick_is_changed(tick: Decimal, steps: int) -> None:
    price = tick * steps
    assume(len(price.normalize().as_tuple().digits) <= 14)
    for value in (float(price), numpy.float64(float(price)), price):
        assert Decimal(sent(price=value)["price"]) == price
        assert json.loads(json_body({"price": value}), parse_float=Decimal)["price"] == price


@given(st.sampled_from(TICKS[2:6]), st.lists(st.integers(1, 4_000_000), min_size=1, max_size=200))
def test_what_a_sum_leaves_behind_is_not_sent(tick: Decimal, steps: list[int]) -> None:
    prices = [tick * s for s in steps]
    total = 0.0
    for price in prices:
        total += float(price)
    assert Decimal(sent(price=total)["price"]) == sum(prices)
    mean = Decimal(sent(price=total - float(sum(prices[1:])))["price"])
    assert abs(mean - prices[0]) < Decimal("1e-6"), "what is taken away again leaves at most a trace"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.1 + 0.2, "0.3"),
        (100.05 * 3, "300.15"),
        (1.1 * 1.1, "1.21"),
        (sum([0.05] * 10_000), "500"),
        (1e-05, "0.00001"),
        (-0.0, "0"),
        (1500.0, "1500"),
        (1e15, "1000000000000000"),
        (Decimal("1.10"), "1.10"),
        (Decimal("1E+3"), "1000"),
        (True, "true"),
        (numpy.float32(100.05), "100.05"),
        (numpy.int64(75), "75"),
        (numpy.bool_(False), "false"),
        (Side.BUY, "BUY"),
        (Product.CNC, "CNC"),
        (Validity.DAY, "1"),
        (date(2026, 11, 24), "2026-11-24"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("None", "None"),
        ("", ""),
    ],
)
def test_a_value_is_sent_as_it_is_meant(value: Any, text: str) -> None:
    assert sent(member=value) == {"member": text}
    assert query({"member": value}) == {"member": text}
    said = json.loads(json_body({"member": value}), parse_float=str, parse_int=str)["member"]
    assert said == ({"true": True, "false": False}.get(text, text))


@pytest.mark.parametrize(
    "value",
    [
        *(
            math.nan,
            math.inf,
            -math.inf,
            Decimal("NaN"),
            Decimal("-Infinity"),
            Decimal("1E+99"),
            numpy.float32("nan"),
            1e300,
        ),
        *(datetime(2026, 11, 24, tzinfo=UTC), Fraction(1, 3), object(), 1j),
    ],
)
def test_what_means_nothing_to_a_broker_is_refused_by_its_name(value: Any) -> None:
    for encode in (form, query, json_body, lambda members: json_body({"json": {"legs": [members]}})):
        with pytest.raises(ValueError, match=r"limit_price|JSON"):
            encode({"limit_price": value})


@pytest.mark.parametrize("value", [[1], (1, 2), {"a": 1}, {1}, b"bytes", numpy.array([1, 2])])
def test_a_form_holds_nothing_nested(value: Any) -> None:
    with pytest.raises(ValueError, match="legs is a"):
        form({"legs": value})


def test_a_member_that_is_none_is_left_out_everywhere() -> None:
    members = {"price": 1.5, "trigger_price": None}
    assert form(members) == b"price=1.5"
    assert query(members) == {"price": "1.5"}
    assert json_body({"legs": [members], "tag": None}) == b'{"legs":[{"price":1.5}]}'
    with pytest.raises(ValueError, match=r"json\.legs has a None"):
        json_body({"legs": [None]})


def test_a_query_may_name_a_member_several_times() -> None:
    assert query({"i": ["NSE:INFY", "NSE:SBIN"], "n": (1, 2.50)}) == {
        "i": ["NSE:INFY", "NSE:SBIN"],
        "n": ["1", "2.5"],
    }
    with pytest.raises(ValueError, match="i "):
        query({"i": ["NSE:INFY", None]})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), values, max_size=4))
def test_whatever_is_given_is_refused_or_sent_as_plain_json_without_null(members: dict[str, Any]) -> None:
    try:
        body = json_body(members)
    except ValueError:
        return
    told: list[object] = [json.loads(body, parse_constant=lambda word: pytest.fail(word))]
    while told:
        value = told.pop()
        assert value is not None
        told += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []


@given(st.dictionaries(st.text(), values, max_size=4))
def test_a_form_of_whatever_is_given_has_no_word_for_nothing(members: dict[str, Any]) -> None:
    try:
        body = form(members)
    except ValueError:
        return
    words = parse_qs(body.decode(), keep_blank_values=True)
    for name, (word,) in words.items():
        if not isinstance(members[name], str):
            assert word not in ("None", "nan", "inf", "-inf", "True", "False")
            assert "e" not in word.removesuffix("true").removesuffix("false").lower()
