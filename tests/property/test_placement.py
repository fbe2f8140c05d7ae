from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.instruments import Instrument

SIZE, SLOTS = 4, 3
universe = [Instrument("NSE", f"S{n}") for n in range(20)]
batches = st.lists(st.sampled_from(universe), max_size=10)


class PlacementMachine(RuleBasedStateMachine):
    policy = staticmethod(fill_first)

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement("ws", SIZE, SLOTS, self.policy)
        self.placed: dict[Instrument, str] = {}
        self.names: set[str] = set()
        self.closed: set[str] = set()

    @rule(batch=batches)
    def place(self, batch: list[Instrument]) -> None:
        before = dict(self.placement.loads)
        plan = self.placement.plan(batch)
        assert self.placement.loads == before, "a plan changes nothing"
        fresh = [i for i in dict.fromkeys(batch) if i not in self.placed]
        room = self.placement.capacity - len(self.placement)
        assert plan.unplaced == fresh[room:], "what finds no room is exactly what is beyond it, in order"
        assert not self.closed.intersection(plan.assignments), "a name is never used again"
        if self.policy is fill_first and not set(plan.assignments) <= set(before):
            left = {n: SIZE - load - len(plan.assignments.get(n, ())) for n, load in before.items()}
            assert not any(left.values()), "a new slot only when the others are full"
        self.placement.commit(plan)
        for name, instruments in plan.assignments.items():
            self.placed.update(dict.fromkeys(instruments, name))

    @precondition(lambda self: self.placed)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.placed)))
        assert self.placement.remove(instrument) == self.placed.pop(instrument)

    @precondition(lambda self: 0 in self.placement.loads.values())
    @rule()
    def close_an_empty_slot(self) -> None:
        name = next(name for name, load in self.placement.loads.items() if not load)
        self.placement.close(name)
        self.closed.add(name)

    @invariant()
    def every_instrument_stands_where_it_was_put(self) -> None:
        assert len(self.placement) == len(self.placed)
        for instrument in universe:
            assert self.placement.slot(instrument) == self.placed.get(instrument)

    @invariant()
    def no_limit_is_ever_exceeded(self) -> None:
        assert len(self.placement.loads) <= SLOTS
        assert all(load <= SIZE for load in self.placement.loads.values())
        assert self.placement.capacity - len(self.placement) == SIZE * SLOTS - len(self.placed)


class LeastLoadedMachine(PlacementMachine):
    policy = staticmethod(least_loaded)


TestPlacement = PlacementMachine.TestCase
TestLeastLoaded = LeastLoadedMachine.TestCase


def test_least_loaded_spreads_a_batch_evenly_and_then_tops_up_the_emptiest() -> None:
    placement = Placement("ws", 100, 3, least_loaded)
    many = [Instrument("NSE", f"S{n}") for n in range(150)]
    placement.commit(placement.plan(many[:30]))
    assert placement.loads == {"ws-1": 10, "ws-2": 10, "ws-3": 10}
    for instrument in [i for i in many[:30] if placement.slot(i) == "ws-2"]:
        placement.remove(instrument)
    placement.commit(placement.plan(many[30:42]))
    assert placement.loads == {"ws-1": 11, "ws-2": 11, "ws-3": 10}


def test_2500_symbols_make_three_connections_of_1000_1000_and_500() -> None:
    placement = Placement("zerodha", 1000, 3)
    placement.commit(placement.plan(Instrument("NSE", f"S{n}") for n in range(2500)))
    assert placement.loads == {"zerodha-1": 1000, "zerodha-2": 1000, "zerodha-3": 500}


def test_a_slot_that_carries_something_cannot_be_closed() -> None:
    placement = Placement("ws", 2, 1)
    placement.commit(placement.plan([universe[0]]))
    with pytest.raises(ValueError, match="ws-1 still carries 1"):
        placement.close("ws-1")


@given(st.integers(max_value=0), st.integers(max_value=0))
def test_a_placement_without_places_is_refused(size: int, slots: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Placement("ws", size, slots)
