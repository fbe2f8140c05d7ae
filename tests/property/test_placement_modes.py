"""Placement by the rules of seven brokers in small: what is accepted fits, and what is refused could not."""

from __future__ import annotations

from random import Random
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.batch_plan import Plan, Policy
from brokerpool.feed.demand_replica import planned
from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from tests.capacity_rules import mixed, small_rules, weighed
from tests.property.mode_walk import ModeWalk, universe

batches = st.lists(st.sampled_from(universe), max_size=6)


class Walk(ModeWalk):
    """Owners that come and go, symbols that are hosted and move on, by chance; every step is checked."""

    def __init__(self, rule: Capacity, policy: Policy, random: Random) -> None:
        super().__init__(Placement("ws", rule, policy), random)
        self.rule = rule

    def go(self, steps: int) -> None:
        often = [self.subscribe, self.subscribe, self.want_more, self.want_more, self.want_less]
        ways = [
            *often,
            self.unsubscribe,
            self.be_hosted,
            self.move_on,
            self.move_on,
            self.close_an_empty_slot,
        ]
        for _ in range(steps):
            self.random.choice(ways)()
            self.check_that_no_slot_carries_more_than_the_rule_allows()
            self.check_that_what_is_wanted_is_carried_and_no_more_where_all_of_it_fits()

    # -- what happens -------------------------------------------------------------------------------------

    def be_hosted(self) -> None:
        for instrument in self._some(sorted(self.wanted)):
            others = [n for n in self.placement.loads if n != self.placement.slot(instrument)]
            others = [n for n in others if self.placement.takes(n, instrument)]
            if others:
                name = self.random.choice(others)
                self.placement.take_in(instrument, name)
                assert self.placement.mode(name, instrument) in (self.wanted[instrument], Mode.LTP)

    def move_on(self) -> None:
        for instrument in self._some([i for i in sorted(self.wanted) if self.placement.host(i) is not None]):
            if self.random.random() < 0.4 and not self.placement.low(instrument):
                self.placement.make_home(instrument)
            else:
                self.placement.leave(instrument)

    def close_an_empty_slot(self) -> None:
        for name in [n for n in self.placement.loads if not self.placement.carried(n)]:
            self.placement.close(name)

    def _subscribe(self, batch: list[Instrument], mode: Mode) -> None:
        known = sorted(self.placement.loads)
        out = set(self.random.sample(known, self.random.randint(0, len(known))))
        before = [self.placement.carried_by_mode(name) for name in known]
        plan = self.placement.plan(batch, out, mode=mode)
        assert before == [self.placement.carried_by_mode(name) for name in known], "a plan changes nothing"
        homes = {i: self.placement.slot(i) for i in batch}
        self.placement.commit(plan)
        for instrument, name in plan.moved.items():
            assert name != homes[instrument]
            hosts = [self.placement.host(instrument), homes[instrument], None]
            host = self.random.choice([h for h in hosts if h != name])
            self.placement.rehome(instrument, name, mode, host)
            assert self.placement.host(instrument) == host
        for changed in self._touched(plan):
            self._make_room(changed)
        for instrument in batch:
            if instrument not in plan.unplaced:
                self._want(instrument, max(mode, self.wanted.get(instrument, mode)))
        for instrument in plan.unplaced:
            assert self.placement.slot(instrument) == homes[instrument], "it stays where it is"
            self._check_refused(instrument, mode)

    # -- what a replica does ------------------------------------------------------------------------------

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

    def check_that_no_slot_carries_more_than_the_rule_allows(self) -> None:
        assert len(self.placement.loads) <= self.rule.sockets
        for name in self.placement.loads:
            assert self.rule.fits(self.placement.carried_by_mode(name))
            assert not self.placement.overfull(name)

    def check_that_what_is_wanted_is_carried_and_no_more_where_all_of_it_fits(self) -> None:
        assert len(self.placement) == len(self.wanted)
        if not self.rule.by_mode:
            return
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


@given(small_rules, st.sampled_from([fill_first, least_loaded]), st.integers(0, 2**32))
def test_whatever_owners_want_the_rule_is_kept_and_what_is_refused_could_not_have_fitted(
    small: Capacity, policy: Policy, seed: int
) -> None:
    Walk(small, policy, Random(seed)).go(100)


class Copy:
    """One of two copies of the demand, on connections of its own."""

    def __init__(self, rule: Capacity, policy: Policy) -> None:
        self.placement = Placement("ws", rule, policy)

    def plan(self, instruments: list[Instrument], mode: Mode) -> Plan:
        return self.placement.plan(instruments, mode=mode)

    def commit(self, plan: Plan) -> None:
        self.placement.commit(plan)
        for instrument, name in plan.moved.items():
            self.placement.rehome(instrument, name, plan.mode, None)
        for name in self.placement.loads:
            self.placement.settle(name)


@given(small_rules, st.lists(st.tuples(batches, st.sampled_from(Mode)), max_size=12))
def test_what_one_copy_refuses_both_refuse_and_the_rest_fits_on_both(
    small: Capacity, wants: list[tuple[list[Instrument], Mode]]
) -> None:
    copies = [Copy(small, fill_first), Copy(small, least_loaded)]
    carried: dict[Instrument, Mode] = {}
    for batch, mode in wants:
        plans, unplaced = planned(cast("Any", copies), list(dict.fromkeys(batch)), mode)
        for copy, plan in zip(copies, plans, strict=True):
            copy.commit(plan)
        for instrument in set(batch).difference(unplaced):
            carried[instrument] = max(mode, carried.get(instrument, mode))
        for copy in copies:
            placement = copy.placement
            assert all(small.fits(placement.carried_by_mode(name)) for name in placement.loads)
            for instrument, wanted in carried.items():
                home = placement.slot(instrument)
                assert home is not None, "a want is taken by both or by none"
                if small.by_mode:
                    assert placement.wanted(instrument) == wanted
            assert len(placement) == len(carried)


class Narrow(Copy):
    """A copy that has no room for one symbol."""

    def __init__(self, rule: Capacity, lacks: Instrument) -> None:
        super().__init__(rule, fill_first)
        self.lacks = lacks

    def plan(self, instruments: list[Instrument], mode: Mode) -> Plan:
        plan = super().plan([i for i in instruments if i != self.lacks], mode)
        plan.unplaced.extend({self.lacks}.intersection(instruments))
        return plan


#: Three prices or three books; where they mix one of each.
ALL_OR_NONE = mixed(3, 3, 1, 1, 1)


def test_symbols_that_can_only_rise_together_do_not_rise_when_one_of_them_is_refused_by_the_other_copy() -> (
    None
):
    three = universe[:3]
    wide, narrow = Copy(ALL_OR_NONE, fill_first), Narrow(ALL_OR_NONE, three[1])
    wide.commit(wide.plan(three, Mode.LTP))
    assert wide.plan(three, Mode.DEPTH).raised == three, "alone it would take them all"
    plans, unplaced = planned(cast("Any", [wide, narrow]), three, Mode.DEPTH)
    wide.commit(plans[0])
    assert unplaced == three
    assert wide.placement.carried_by_mode("ws-1") == [0, 3, 0, 0]


def test_a_symbol_that_is_hosted_gets_its_home_there_when_its_mode_has_room_nowhere_else() -> None:
    placement = Placement("ws", weighed(4, 1, 1, 2))  # an order book takes two of four places
    placement.commit(placement.plan(universe[:7], mode=Mode.LTP))
    placement.take_in(universe[0], "ws-2")
    plan = placement.plan(universe[:1], out=["ws-1"], mode=Mode.DEPTH)
    assert plan.moved == {}
    assert plan.unplaced == universe[:1], "three and a book are five"
    placement.remove(universe[6])
    assert placement.plan(universe[:1], out=["ws-1"], mode=Mode.DEPTH).moved == {universe[0]: "ws-2"}


def test_one_mode_may_rise_where_another_one_that_waits_may_fall_for_it() -> None:
    placement = Placement("ws", mixed(4, 4, 2, 2, 1))
    placement.commit(placement.plan(universe[:2], mode=Mode.LTP))
    placement.commit(placement.plan(universe[2:4], mode=Mode.DEPTH))
    assert placement.adapt(universe[2], "ws-1", Mode.LTP) is Mode.DEPTH, "two prices are all that fit"
    plan = placement.plan(universe[:1], mode=Mode.DEPTH)
    assert plan.raised == universe[:1]
    placement.commit(plan)
    assert placement.settle("ws-1") == {universe[2]: Mode.LTP}
    assert placement.carried_by_mode("ws-1") == [0, 2, 0, 2]
