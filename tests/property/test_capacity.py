"""What fits on a socket, by the rules of seven brokers and by rules that nobody has."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.capacity import Capacity, Limit, ModeRule, mode_rule
from brokerpool.ticks import Mode
from tests.capacity_rules import RULES

modes = st.sampled_from(list(Mode))
weights = st.tuples(st.just(0), *[st.integers(0, 3)] * 3)
limits = st.builds(Limit, st.integers(1, 30), weights, st.booleans())
mode_rules = st.builds(
    ModeRule, st.lists(limits, max_size=4).map(tuple), st.tuples(st.just(0), *[st.integers(0, 2)] * 3)
)
rules = st.one_of(
    st.sampled_from(list(RULES.values())),
    st.builds(Capacity, st.integers(1, 30), st.integers(1, 3), st.none() | mode_rules),
)


@st.composite
def loads(draw: st.DrawFn) -> tuple[Capacity, list[int]]:
    """Return a rule, and counts around its limits."""
    rule = draw(rules)
    most = rule.symbols + 2
    return rule, [0, *(draw(st.integers(0, draw(st.sampled_from((3, most // 2, most))))) for _ in Mode)]


@given(loads(), modes)
def test_there_is_room_exactly_where_one_more_fits(load: tuple[Capacity, list[int]], mode: Mode) -> None:
    rule, carried = load
    one_more = list(carried)
    one_more[mode] += 1
    assert (rule.room(carried, mode) > 0) is rule.fits(one_more)


@given(loads(), modes)
def test_as_many_fit_as_there_is_room_for_and_not_one_more(
    load: tuple[Capacity, list[int]], mode: Mode
) -> None:
    rule, carried = load
    if room := rule.room(carried, mode):
        carried[mode] += room
        assert rule.fits(carried)
        assert rule.share(carried) <= 1
        carried[mode] += 1
        assert not rule.fits(carried)
        assert rule.share(carried) > 1


@given(loads(), st.data())
def test_what_fits_still_fits_when_some_of_it_is_dropped(
    load: tuple[Capacity, list[int]], data: st.DataObject
) -> None:
    rule, carried = load
    fewer = [data.draw(st.integers(0, count)) for count in carried]
    if rule.fits(carried):
        assert rule.fits(fewer)
        assert all(rule.room(fewer, mode) >= rule.room(carried, mode) for mode in Mode)


@given(loads(), st.integers(1, 10_000), st.integers(1, 10))
def test_the_settings_only_lower_what_a_broker_allows(
    load: tuple[Capacity, list[int]], symbols: int, sockets: int
) -> None:
    rule, carried = load
    lowered = rule.lowered(symbols, sockets)
    assert lowered.sockets <= min(sockets, rule.sockets)
    assert lowered.fits(carried) is (rule.fits(carried) and sum(carried) <= symbols)


@pytest.mark.parametrize(
    ("broker", "ltp", "quote", "depth", "fits"),
    [
        ("kite", 1000, 1000, 1000, True),
        ("kite", 1000, 1000, 1001, False),
        ("angel", 1, 999, 0, True),
        ("angel", 1, 999, 1, False),
        ("upstox", 5000, 0, 0, True),
        ("upstox", 0, 1000, 1000, True),
        ("upstox", 0, 1000, 1001, False),
        ("upstox", 2000, 0, 1500, True),
        ("upstox", 1, 0, 1501, False),
        ("upstox", 2001, 0, 1, False),
        ("dhan", 0, 0, 5000, True),
        ("dhan", 1, 0, 5000, False),
        ("fyers", 5000, 0, 0, True),
        ("fyers", 5000, 1, 0, False),
        ("noren", 100, 0, 0, True),
        ("noren", 50, 0, 51, False),
        ("binance", 24, 0, 500, True),
        ("binance", 24, 1, 500, False),
    ],
)
def test_the_limits_that_brokers_publish(broker: str, ltp: int, quote: int, depth: int, fits: bool) -> None:
    assert RULES[broker].fits([0, ltp, quote, depth]) is fits


def test_a_capacity_says_its_numbers() -> None:
    assert str(RULES["kite"]) == "3000 instruments a socket, 3 sockets"
    assert str(RULES["fyers"]) == "5000 instruments a socket, 1 socket"
    assert str(RULES["upstox"]) == (
        "5000 instruments a socket, 2 sockets; at most 5000 LTP, 2000 Quote + Depth a socket;"
        " where they mix 2000 LTP, 1500 Quote + Depth"
    )
    assert "at most 1024 LTP + Quote + 2 x Depth" in str(RULES["binance"])


def test_a_word_that_a_capacity_table_does_not_know_is_refused() -> None:
    with pytest.raises(ValueError, match="no wieghts"):
        mode_rule({"wieghts": {"value": {"ltp": 1}}}, 10)
    with pytest.raises(KeyError):
        mode_rule({"most": {"value": {"ltb": 1}}}, 10)


def test_a_broker_without_a_capacity_table_counts_all_modes_alike() -> None:
    assert mode_rule({}, 10) is None
    assert not RULES["kite"].by_mode
