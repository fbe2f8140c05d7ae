from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.feed.planning import Policy
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from tests.capacity_rules import RULES, scaled

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


class ModesMachine(RuleBasedStateMachine):
    """The rules of seven brokers in small: what is accepted fits, and what is refused could not have."""

    @initialize(
        broker=st.sampled_from(sorted(RULES)),
        size=st.integers(3, 12),
        sockets=st.integers(1, 3),
        policy=st.sampled_from([fill_first, least_loaded]),
    )
    def begin(self, broker: str, size: int, sockets: int, policy: Policy) -> None:
        self.rule = scaled(RULES[broker], size, sockets)
        self.placement = Placement("ws", self.rule, policy)
        self.wanted: dict[Instrument, Mode] = {}

    # -- what happens -------------------------------------------------------------------------------------

    @rule(batch=batches, mode=st.sampled_from(Mode), data=st.data())
    def subscribe(self, batch: list[Instrument], mode: Mode, data: st.DataObject) -> None:
        known = sorted(self.placement.loads)
        out = data.draw(st.sets(st.sampled_from(known))) if known else set()
        before = [self.placement.carried_by_mode(name) for name in known]
        plan = self.placement.plan(batch, out, mode=mode)
        assert before == [self.placement.carried_by_mode(name) for name in known], "a plan changes nothing"
        homes = {i: self.placement.slot(i) for i in batch}
        self.placement.commit(plan)
        for instrument, name in plan.moved.items():
            assert name != homes[instrument]
            hosts = [self.placement.host(instrument), homes[instrument], None]
            host = data.draw(st.sampled_from([h for h in hosts if h != name]))
            self.placement.rehome(instrument, name, mode, host)
            assert self.placement.host(instrument) == host
        touched = {*plan.assignments, *plan.moved.values(), *map(self.placement.slot, plan.raised)}
        for touch in touched - {None}:
            self._make_room(str(touch))
        for instrument in dict.fromkeys(batch):
            if instrument not in plan.unplaced:
                self._want(instrument, max(mode, self.wanted.get(instrument, mode)))
        for instrument in plan.unplaced:
            assert self.placement.slot(instrument) == homes[instrument], "it stays where it is"
            self._check_refused(instrument, mode)

    @precondition(lambda self: self.wanted)
    @rule(data=st.data(), mode=st.sampled_from(Mode))
    def an_owner_leaves(self, data: st.DataObject, mode: Mode) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.wanted)))
        if mode < self.wanted[instrument]:
            self._want(instrument, mode)

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.wanted)))
        places = [self.placement.slot(instrument), self.placement.host(instrument)]
        self.placement.remove(instrument)
        del self.wanted[instrument]
        for name in filter(None, places):
            self.placement.settle(name)

    @precondition(lambda self: self.wanted)
    @rule(data=st.data())
    def be_hosted(self, data: st.DataObject) -> None:
        instrument = data.draw(st.sampled_from(sorted(self.wanted)))
        others = [n for n in self.placement.loads if n != self.placement.slot(instrument)]
        others = [n for n in others if self.placement.takes(n, instrument)]
        if others:
            name = data.draw(st.sampled_from(others))
            self.placement.take_in(instrument, name)
            assert self.placement.mode(name, instrument) in (self.wanted[instrument], Mode.LTP)

    @precondition(lambda self: self.placement.has_hosted)
    @rule(data=st.data(), stays=st.booleans())
    def move_on(self, data: st.DataObject, stays: bool) -> None:
        hosted = [i for i in sorted(self.wanted) if self.placement.host(i) is not None]
        instrument = data.draw(st.sampled_from(hosted))
        if stays and not self.placement.low(instrument):
            self.placement.make_home(instrument)
        else:
            self.placement.leave(instrument)

    @precondition(lambda self: any(not self.placement.carried(name) for name in self.placement.loads))
    @rule()
    def close_an_empty_slot(self) -> None:
        self.placement.close(next(n for n in self.placement.loads if not self.placement.carried(n)))

    # -- what a replica does ------------------------------------------------------------------------------

    def _want(self, instrument: Instrument, mode: Mode) -> None:
        self.wanted[instrument] = mode
        places = [self.placement.slot(instrument), self.placement.host(instrument)]
        for name in filter(None, places):
            self.placement.adapt(instrument, name, mode)
        for name in filter(None, places):
            self.placement.settle(name)

    def _make_room(self, name: str) -> None:
        self.placement.settle(name)
        for instrument in list(self.placement.hosted(name)):
            if self.placement.overfull(name):
                self.placement.leave(instrument)

    # -- what holds ---------------------------------------------------------------------------------------

    def _demand(self, name: str) -> list[int]:
        """Return what is wanted of those at home in a slot, by mode."""
        counts = [0, 0, 0, 0]
        for instrument in self.placement.homes(name):
            counts[self.wanted[instrument]] += 1
        return counts

    def _check_refused(self, instrument: Instrument, mode: Mode) -> None:
        """Look at every slot: there is none in which the instrument fits in the mode."""
        home = self.placement.slot(instrument)
        assert not self.rule.room([0, 0, 0, 0], mode) or len(self.placement.loads) == self.rule.sockets
        for name in self.placement.loads:
            loads = [(self._demand(name), self.wanted.get(instrument))]
            if self.rule.by_mode:
                carried = self.placement.mode(name, instrument) if name == home else None
                loads.append((self.placement.homes_by_mode(name), carried))
            for counts, present in loads:
                if name == home and present is not None:
                    counts[present] -= 1
                counts[mode] += 1
                assert not self.rule.fits(counts), f"{instrument} fits in {name}"

    @invariant()
    def no_slot_ever_carries_more_than_the_rule_allows(self) -> None:
        if hasattr(self, "placement"):
            assert len(self.placement.loads) <= self.rule.sockets
            for name in self.placement.loads:
                assert self.rule.fits(self.placement.carried_by_mode(name))
                assert not self.placement.overfull(name)

    @invariant()
    def what_is_wanted_is_carried_and_in_no_higher_mode_where_all_of_it_fits(self) -> None:
        if not hasattr(self, "placement") or not self.rule.by_mode:
            return
        assert len(self.placement) == len(self.wanted)
        for instrument, mode in self.wanted.items():
            home = self.placement.slot(instrument)
            assert home is not None
            assert self.placement.wanted(instrument) == mode
            assert self.placement.mode(home, instrument) >= mode
        for name in self.placement.loads:
            carried = [0, 0, 0, 0]
            for instrument in (*self.placement.homes(name), *self.placement.hosted(name)):
                carried[self.placement.mode(name, instrument)] += 1
            assert carried == self.placement.carried_by_mode(name), "the counts are right"
            if self.rule.fits(self._demand(name)) and not self.placement.hosted(name):
                self.placement.settle(name)
                assert self.placement.carried_by_mode(name) == self._demand(name), "freed room is free"


TestModes = ModesMachine.TestCase
TestModes.settings = settings(stateful_step_count=40)


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
