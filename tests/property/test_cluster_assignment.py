"""Which node is to hold which account: evenly, with few moves, and the same for all who know the same."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.cluster.assignment import assigned

_NODES, _ACCOUNTS = ("n1", "n2", "n3", "n4"), ("a", "b", "c", "d", "e", "f")
_candidates = st.dictionaries(st.sampled_from(_NODES), st.sets(st.sampled_from(_ACCOUNTS)), min_size=1)
_by_account = st.dictionaries(st.sampled_from(_ACCOUNTS), st.sampled_from((*_NODES, "gone", "")))


@given(_candidates, _by_account, _by_account)
def test_every_account_that_some_node_can_hold_is_with_one_that_can(
    candidates: dict[str, set[str]], holders: dict[str, str], wishes: dict[str, str]
) -> None:
    nodes = assigned(candidates, holders, wishes)
    assert set(nodes) == set().union(*candidates.values())
    for account, node in nodes.items():
        assert account in candidates[node]
        if wishes.get(account) in candidates and account in candidates[wishes[account]]:
            assert node == wishes[account]


@given(_candidates, _by_account, _by_account)
def test_once_it_is_as_assigned_nothing_moves(
    candidates: dict[str, set[str]], holders: dict[str, str], wishes: dict[str, str]
) -> None:
    nodes = assigned(candidates, holders, wishes)
    assert assigned(candidates, nodes, wishes) == nodes
    backwards = dict(reversed(candidates.items()))
    assert assigned(backwards, holders, wishes) == nodes, "whatever the order in which nodes became known"


@given(st.sets(st.sampled_from(_NODES), min_size=1), _by_account)
def test_nodes_that_can_hold_everything_have_as_many_accounts_but_for_one(
    names: set[str], holders: dict[str, str]
) -> None:
    nodes = assigned(dict.fromkeys(names, _ACCOUNTS), holders, {})
    loads = [list(nodes.values()).count(name) for name in names]
    assert max(loads) - min(loads) <= 1


def test_an_account_stays_with_its_holder_when_a_node_comes_that_would_have_no_fewer() -> None:
    assert assigned({"n1": "ab", "n2": "ab"}, {"a": "n1", "b": "n2"}, {}) == {"a": "n1", "b": "n2"}
    assert assigned({"n1": "ab", "n2": "ab", "n3": "ab"}, {"a": "n1", "b": "n2"}, {})["a"] == "n1"
    assert sorted(assigned({"n1": "ab", "n2": "ab"}, {"a": "n1", "b": "n1"}, {}).values()) == ["n1", "n2"]
