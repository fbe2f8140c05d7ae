"""The accounts of a cluster: one order at all gateways, and no answer to an older question is taken."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.cluster.account_preference import GONE_SECONDS, AccountRoll
from brokerpool.cluster.demand_answers import Asks
from brokerpool.cluster.demand_state import Wanted
from brokerpool.errors import ErrorCode, Refused
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_NAMES = [f"account-{n}" for n in range(5)]
_lists = st.lists(st.sampled_from(_NAMES), unique=True, max_size=5)
_nodes = st.dictionaries(st.sampled_from(["a", "b", "c"]), _lists, min_size=1)
INFY = Instrument("NSE", "INFY")
_REFUSED = Refused(INFY, ErrorCode.MAX_CAPACITY_REACHED, "no place left")


@given(_nodes, st.integers(0, 2**32))
def test_all_gateways_have_the_accounts_in_one_order_in_whatever_order_they_hear_of_them(
    nodes: dict[str, list[str]], seed: int
) -> None:
    orders = []
    for turn in range(3):
        roll, signs = AccountRoll(), [*nodes.items()]
        Random(seed + turn).shuffle(signs)
        for node, accounts in signs:
            roll.named(node, accounts, 0.0)
        orders.append(roll.read(1.0).accounts)
    assert orders[0] == orders[1] == orders[2]
    assert set(orders[0]) == {account for accounts in nodes.values() for account in accounts}
    if len({*map(tuple, nodes.values())}) == 1:
        assert [*orders[0]] == next(iter(nodes.values())), "nodes that agree are followed"


def test_an_order_that_every_node_has_given_up_counts_no_more_after_a_minute() -> None:
    roll = AccountRoll()
    roll.named("old", ["b", "a"], 0.0)
    roll.named("new", ["c", "a", "b"], 1.0)
    assert roll.read(2.0).accounts == ("b", "c", "a")
    assert roll.read(GONE_SECONDS).accounts == ("c", "a", "b")


@given(_nodes)
def test_an_account_is_gone_once_no_node_has_named_it_for_long_and_back_with_the_first_that_does(
    nodes: dict[str, list[str]],
) -> None:
    roll = AccountRoll()
    for node, accounts in nodes.items():
        roll.named(node, accounts, 0.0)
    every = set(roll.read(0.0).accounts)
    assert not roll.read(GONE_SECONDS - 1).gone
    roll.named("a", _NAMES[:1], GONE_SECONDS)
    now = roll.read(GONE_SECONDS)
    assert now.gone == every - {_NAMES[0]}
    assert set(now.accounts) == every | {_NAMES[0]}, "its place is kept"


@given(st.lists(st.tuples(st.sampled_from(Mode), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_an_answer_to_an_older_version_says_nothing_of_what_is_asked_for_since(
    steps: list[tuple[Mode, bool, bool]],
) -> None:
    asks, version = Asks(), 0
    for mode, accepted, late in steps:
        asks.ask(INFY, Wanted(mode), version := version + 1)
        asked = asks.get(INFY)
        assert asked is not None
        before = asked.open, asked.granted, asked.refused
        if late and asked.version == version:
            assert asks.answered(version - 1, [INFY], {}) == []
            assert (asked.open, asked.granted, asked.refused) == before
        asks.answered(version, [INFY], {} if accepted else {INFY: _REFUSED})
        assert not asked.open
        assert (asked.refused is None) == accepted
        if accepted:
            assert asked.granted is mode
        assert asked.has_no_place == (not accepted and asked.granted is None)
        assert asked.granted is None or accepted or asked.granted < mode, "what it has is a lower mode"
    assert asks.forget(INFY)
    assert asks.get(INFY) is None
