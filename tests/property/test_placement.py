from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.instruments import Instrument

SIZE, SLOTS = 4, 3
universe = [Instrument("NSE", f"S{n}") for n in range(20)]
batches = st.lists(st.sampled_from(universe), max_size=10)


class PlacementMachine(RuleBasedStateMachine):
    policy = staticmethod(fill_first)

    def __init__(self) -> None:
        super().__init__()
        self.placement = Placement("ws", Capacity(SIZE, SLOTS), self.policy)
        self.placed: dict[Instrument, str] = {}
        self.hosted: dict[Instrument, str] = {}
        self.names: set[str] = set()
        self.closed: set[str] = set()

    @rule(batch=batches, data=st.data())
    def place(self, batch: list[Instrument], data: st.DataObject) -> None:
        before = dict(self.placement.loads)
        out = data.draw(st.sets(st.sampled_from(sorted(before)))) if before else set()
        plan = self.placement.plan(batch, out)
        assert self.placement.loads == before, "a plan changes nothing"
        fresh = [i for i in dict.fromkeys(batch) if i not in self.placed]
        room = self.placement.capacity - len(self.placement)
        assert plan.unplaced == fresh[room:], "what finds no room is exactly what is beyond it, in order"
        assert not self.closed.intersection(plan.assignments), "a name is never used again"
        up = [name for name in before if name not in out]
        if self.policy is fill_first and not set(plan.assignments) <= set(before):
            left = [self.placement.room(name) - len(plan.assignments.get(name, ())) for name in up]
            assert max(left, default=0) <= 0, "a new slot only when the others are full"
        places = sum(self.placement.room(name) for name in up) + SIZE * (SLOTS - len(before))
        late = sum(len(plan.assignments.get(name, ())) for name in out)
        assert late <= max(0, len(fresh[:room]) - places), "slots that are out come after those that are up"
        self.placement.commit(plan)
        for name in before:
            # What a replica does next: a slot's own symbols come before its hosted symbols.
            for instrument in list(self.placement.hosted(name))[max(0, SIZE - self.placement.loads[name]) :]:
                self.placement.leave(instrument)
                del self.hosted[instrument]
        for name, instruments in plan.assignments.items():
            self.placed.update(dict.fromkeys(instruments, name))

    @precondition(lambda self: self.placed)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.placed)))
        assert self.placement.remove(instrument) == self.placed.pop(instrument)
        self.hosted.pop(instrument, None)

    @precondition(lambda self: self.placed)
    @rule(data=st.data())
    def take_in(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.placed)))
        hosts = [
            n for n in self.placement.loads if self.placement.room(n) > 0 and n != self.placed[instrument]
        ]
        if hosts:
            name = data.draw(st.sampled_from(hosts))
            self.placement.take_in(instrument, name)
            self.hosted[instrument] = name

    @precondition(lambda self: self.hosted)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.hosted)))
        self.placement.leave(instrument)
        self.placement.leave(instrument)
        del self.hosted[instrument]

    @precondition(lambda self: self.hosted)
    @rule(data=st.data())
    def make_home(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.hosted)))
        assert self.placement.make_home(instrument) == self.placed[instrument], "the home that it leaves"
        self.placed[instrument] = self.hosted.pop(instrument)

    @precondition(lambda self: any(not self.placement.carried(name) for name in self.placement.loads))
    @rule()
    def close_an_empty_slot(self) -> None:
        name = next(name for name in self.placement.loads if not self.placement.carried(name))
        self.placement.close(name)
        self.closed.add(name)

    @invariant()
    def every_instrument_stands_where_it_was_put(self) -> None:
        assert len(self.placement) == len(self.placed)
        for instrument in universe:
            assert self.placement.slot(instrument) == self.placed.get(instrument)
            assert self.placement.host(instrument) == self.hosted.get(instrument)
        assert self.placement.has_hosted is bool(self.hosted)
        for name in self.placement.loads:
            assert set(self.placement.homes(name)) == {i for i, n in self.placed.items() if n == name}
            assert set(self.placement.hosted(name)) == {i for i, n in self.hosted.items() if n == name}

    @invariant()
    def no_limit_is_ever_exceeded(self) -> None:
        assert len(self.placement.loads) <= SLOTS
        assert all(self.placement.carried(name) <= SIZE for name in self.placement.loads)
        assert self.placement.capacity - len(self.placement) == SIZE * SLOTS - len(self.placed)


class LeastLoadedMachine(PlacementMachine):
    policy = staticmethod(least_loaded)


TestPlacement = PlacementMachine.TestCase
TestLeastLoaded = LeastLoadedMachine.TestCase


def test_least_loaded_spreads_a_batch_evenly_and_then_tops_up_the_emptiest() -> None:
    placement = Placement("ws", Capacity(100, 3), least_loaded)
    many = [Instrument("NSE", f"S{n}") for n in range(150)]
    placement.commit(placement.plan(many[:30]))
    assert placement.loads == {"ws-1": 10, "ws-2": 10, "ws-3": 10}
    for instrument in [i for i in many[:30] if placement.slot(i) == "ws-2"]:
        placement.remove(instrument)
    placement.commit(placement.plan(many[30:42]))
    assert placement.loads == {"ws-1": 11, "ws-2": 11, "ws-3": 10}


def test_2500_symbols_make_three_connections_of_1000_1000_and_500() -> None:
    placement = Placement("zerodha", Capacity(1000, 3))
    placement.commit(placement.plan(Instrument("NSE", f"S{n}") for n in range(2500)))
    assert placement.loads == {"zerodha-1": 1000, "zerodha-2": 1000, "zerodha-3": 500}


def test_a_slot_that_carries_something_cannot_be_closed() -> None:
    placement = Placement("ws", Capacity(2, 1))
    placement.commit(placement.plan([universe[0]]))
    with pytest.raises(ValueError, match="ws-1 still carries 1"):
        placement.close("ws-1")


def test_a_slot_with_a_hosted_symbol_cannot_be_closed() -> None:
    placement = Placement("ws", Capacity(2, 2))
    placement.commit(placement.plan(universe[:3]))
    placement.remove(universe[2])
    placement.take_in(universe[0], "ws-2")
    with pytest.raises(ValueError, match="ws-2 still carries 1"):
        placement.close("ws-2")


def test_new_symbols_go_to_a_new_slot_before_one_that_is_out_and_take_the_places_of_hosted_symbols_last() -> (
    None
):
    placement = Placement("ws", Capacity(2, 3))
    placement.commit(placement.plan(universe[:2]))
    placement.remove(universe[1])
    assert placement.plan(universe[5:7], out=["ws-1"]).assignments == {"ws-2": universe[5:7]}
    placement.commit(placement.plan(universe[5:8], out=["ws-1"]))
    placement.take_in(universe[0], "ws-3")
    assert placement.plan(universe[10:12], out=["ws-1"]).assignments == {
        "ws-1": universe[10:11],
        "ws-3": universe[11:12],
    }


def test_a_slot_is_spare_only_if_the_others_could_carry_all_and_keep_a_fifth_free() -> None:
    placement = Placement("ws", Capacity(10, 3))
    many = [Instrument("NSE", f"S{n}") for n in range(25)]
    placement.commit(placement.plan(many))
    for number in range(24, 16, -1):
        assert placement.spare() is None
        placement.remove(many[number])
    assert placement.loads == {"ws-1": 10, "ws-2": 7, "ws-3": 0}
    assert placement.spare() is None, "17 of 20 places would be taken"
    placement.remove(many[16])
    assert placement.spare() == "ws-3"
    placement.take_in(many[0], "ws-2")
    assert placement.spare() is None, "not while anybody is hosted"


def test_least_loaded_wants_as_many_slots_as_there_are() -> None:
    placement = Placement("ws", Capacity(10, 3), least_loaded)
    placement.commit(placement.plan(universe[:3]))
    assert placement.spare() is None


@given(st.integers(max_value=0), st.integers(max_value=0))
def test_a_placement_without_places_is_refused(size: int, slots: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        Placement("ws", Capacity(size, slots))
