"""Demand against a model that is obviously right: a set of (owner, instrument, mode)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerpool.feed.demand import Demand
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

INSTRUMENTS = [Instrument("NSE", name) for name in ("INFY", "SBIN", "TCS")]
OWNERS = ["a", "b", "c"]
owners = st.sampled_from(OWNERS)
instruments = st.sampled_from(INSTRUMENTS)
modes = st.sampled_from(list(Mode))
priorities = st.integers(-3, 3)


class DemandMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.demand = Demand()
        self.model: set[tuple[str, Instrument, Mode]] = set()
        self.priorities: dict[tuple[str, Instrument], int] = {}

    @rule(owner=owners, instrument=instruments, mode=modes, priority=priorities)
    def want_with_a_priority(self, owner: str, instrument: Instrument, mode: Mode, priority: int) -> None:
        self.demand.want(owner, instrument, mode, priority)
        self.model.add((owner, instrument, mode))
        self.priorities[owner, instrument] = priority

    @rule(owner=owners, instrument=instruments, mode=modes)
    def want(self, owner: str, instrument: Instrument, mode: Mode) -> None:
        self.demand.want(owner, instrument, mode)
        self.model.add((owner, instrument, mode))
        self.priorities[owner, instrument] = 0

    @rule(owner=owners, instrument=instruments, given_up=st.sets(modes))
    def release(self, owner: str, instrument: Instrument, given_up: set[Mode]) -> None:
        held = {(owner, instrument, mode) for mode in given_up} & self.model
        assert self.demand.release(owner, instrument, given_up) is bool(held)
        self.model -= held

    @rule(owner=owners)
    def leave(self, owner: str) -> None:
        for instrument in self.demand.instruments(owner):
            assert self.demand.release(owner, instrument)
        self.model = {want for want in self.model if want[0] != owner}

    @invariant()
    def the_highest_wanted_mode_is_effective(self) -> None:
        for instrument in INSTRUMENTS:
            wanted = [mode for _, i, mode in self.model if i == instrument]
            assert self.demand.mode(instrument) == (max(wanted) if wanted else None)

    @invariant()
    def the_highest_priority_of_those_who_hold_it_counts_and_nobody_else_s(self) -> None:
        for instrument in INSTRUMENTS:
            holders = {owner for owner, i, _ in self.model if i == instrument}
            given_to_it = [self.priorities[owner, instrument] for owner in holders]
            assert self.demand.priority(instrument) == max(given_to_it, default=0)

    @invariant()
    def everybody_holds_exactly_what_they_asked_for(self) -> None:
        for owner in OWNERS:
            theirs = {i for o, i, _ in self.model if o == owner}
            assert set(self.demand.instruments(owner)) == theirs
            assert self.demand.count(owner) == len(theirs)
            for instrument in INSTRUMENTS:
                held = {m for o, i, m in self.model if (o, i) == (owner, instrument)}
                assert self.demand.held(owner, instrument) == held
                assert self.demand.holds(owner, instrument) is bool(held)
                assert self.demand.owners(instrument).get(owner, frozenset()) == held

    @invariant()
    def nothing_is_kept_of_who_has_left(self) -> None:
        assert set(self.demand.instruments()) == {i for _, i, _ in self.model}
        assert len(self.demand) == len({i for _, i, _ in self.model})


TestDemand = DemandMachine.TestCase


@given(st.permutations(OWNERS * 2), st.lists(modes, min_size=6, max_size=6))
def test_owners_that_leave_in_any_order_never_change_what_the_others_hold(
    order: list[str], wanted: list[Mode]
) -> None:
    demand = Demand()
    instrument = INSTRUMENTS[0]
    holds: dict[str, set[Mode]] = {}
    for owner, mode in zip(order, wanted, strict=True):
        demand.want(owner, instrument, mode)
        holds.setdefault(owner, set()).add(mode)
    for leaver in list(holds):
        demand.release(leaver, instrument)
        del holds[leaver]
        assert {o: demand.held(o, instrument) for o in holds} == holds
        left = [mode for held in holds.values() for mode in held]
        assert demand.mode(instrument) == max(left, default=None)


def test_a_negative_priority_counts_only_while_all_others_give_a_lower_one() -> None:
    demand = Demand()
    instrument = INSTRUMENTS[0]
    demand.want("a", instrument, Mode.QUOTE, -5)
    demand.want("b", instrument, Mode.QUOTE, -2)
    assert demand.priority(instrument) == -2
    demand.want("c", instrument, Mode.LTP)
    assert demand.priority(instrument) == 0
    demand.release("c", instrument)
    demand.release("b", instrument)
    assert demand.priority(instrument) == -5


def test_who_leaves_and_comes_back_brings_no_old_priority() -> None:
    demand = Demand()
    instrument = INSTRUMENTS[0]
    demand.want("a", instrument, Mode.QUOTE, 7)
    demand.release("a", instrument)
    assert demand.priority(instrument) == 0
    demand.want("a", instrument, Mode.QUOTE)
    assert demand.priority(instrument) == 0


def test_a_search_takes_any_case_and_gives_the_symbols_that_begin_with_it_first_and_no_more_than_asked() -> (
    None
):
    demand = Demand()
    for name in ("NIFTYBEES", "FINNIFTY", "SBIN", "NIFTY"):
        demand.want("a", Instrument("NSE", name), Mode.LTP)
    found = [instrument.symbol for instrument in demand.search("nifty", 5)]
    assert found == ["NIFTY", "NIFTYBEES", "FINNIFTY"]
    assert [instrument.symbol for instrument in demand.search("Nifty", 2)] == found[:2]
