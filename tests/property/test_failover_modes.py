"""Failover at a broker that tells modes apart: rises, falls and outages, with a look at every step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.failover import AT_HOME, Failover
from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.feed.planning import Policy
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from tests.capacity_rules import small_rules
from tests.property.test_failover import Leaving, Where

universe = [Instrument("NSE", f"S{n}") for n in range(14)]
modes = st.sampled_from(Mode)
batches = st.lists(st.sampled_from(universe), min_size=1, max_size=6)


class ModesMachine(RuleBasedStateMachine):
    """Does what a replica does."""

    @initialize(small=small_rules, policy=st.sampled_from([fill_first, least_loaded]))
    def begin(self, small: Capacity, policy: Policy) -> None:
        self.capacity = small
        self.where: dict[str, str] = {}
        self.priorities: dict[Instrument, int] = {}
        self.wanted: dict[Instrument, Mode] = {}
        self.placement = Placement("ws", small, policy)
        self.failover = Failover(self.placement, Leaving(self.where), self._urgency)

    # -- what happens -------------------------------------------------------------------------------------

    @rule(data=st.data(), mode=st.sampled_from([Mode.QUOTE, Mode.DEPTH]))
    def an_owner_wants_more(self, data: st.DataObject, mode: Mode) -> None:
        if self.wanted:
            self._subscribe(data.draw(st.permutations(sorted(self.wanted)))[:4], mode, 0)

    @rule(batch=batches, mode=modes, priority=st.integers(0, 3))
    def subscribe(self, batch: list[Instrument], mode: Mode, priority: int) -> None:
        self._subscribe(batch, mode, priority)

    def _subscribe(self, batch: list[Instrument], mode: Mode, priority: int) -> None:
        plan = self.placement.plan(batch, Leaving(self.where), mode=mode)
        self.placement.commit(plan)
        for instrument, name in plan.moved.items():
            places = (self.placement.host(instrument), self.placement.slot(instrument))
            serving = [n for n in places if n is not None and self.where[n] in (Where.LIVE, Where.EVACUATED)]
            keeps = serving[0] if serving and serving[0] != name else None
            self.failover.rehome(instrument, name, mode, keeps)
        raised = filter(None, map(self.placement.slot, plan.raised))
        for changed in dict.fromkeys([*plan.assignments, *plan.moved.values(), *raised]):
            self.where.setdefault(changed, Where.LIVE)
            self.placement.settle(changed)
            for instrument in self.failover.surplus(changed):
                self.failover.leave(instrument)
                self.failover.note(instrument)
        for instrument in dict.fromkeys(batch):
            if instrument not in plan.unplaced:
                self.priorities[instrument] = priority
                self._want(instrument, max(mode, self.wanted.get(instrument, mode)))
        self._settle()

    @rule(batch=batches, mode=modes)
    def an_owner_leaves(self, batch: list[Instrument], mode: Mode) -> None:
        for instrument in batch:
            if mode < self.wanted.get(instrument, Mode.LTP):
                self._want(instrument, mode)
        self._settle()

    @rule(instrument=st.sampled_from(universe))
    def unsubscribe(self, instrument: Instrument) -> None:
        if self.wanted.pop(instrument, None) is not None:
            places = (self.placement.slot(instrument), self.placement.host(instrument))
            self.failover.remove(instrument)
            for name in filter(None, places):
                self.placement.settle(name)
            self._settle()

    @rule(data=st.data(), where=st.sampled_from([Where.LIVE, Where.DIALLING, Where.OUT, Where.EVACUATED]))
    def a_connection_changes(self, data: st.DataObject, where: str) -> None:
        if self.where:
            name = data.draw(st.sampled_from(sorted(self.where)))
            self.where[name] = where
            for instrument in [*self.placement.hosted(name), *self.placement.homes(name)]:
                self.failover.note(instrument)
            self._settle()

    @rule(instrument=st.sampled_from(universe))
    def the_home_serves(self, instrument: Instrument) -> None:
        home = self.placement.slot(instrument)
        if home and self.where[home] == Where.LIVE and self.placement.host(instrument):
            self.failover.leave(instrument)
            self.failover.note(instrument)
            self._settle()

    @rule(instrument=st.sampled_from(universe))
    def an_evacuated_symbol_stays_where_it_is(self, instrument: Instrument) -> None:
        home, host = self.placement.slot(instrument), self.placement.host(instrument)
        if home and host and self.where[home] == Where.EVACUATED and not self.placement.low(instrument):
            self.failover.make_home(instrument)
            self.failover.note(instrument)
            self._settle()

    # -- what a replica does ------------------------------------------------------------------------------

    def _urgency(self, instrument: Instrument) -> float:
        home = self.placement.slot(instrument)
        return self.priorities.get(instrument, 0) if home in Leaving(self.where) else AT_HOME

    def _want(self, instrument: Instrument, mode: Mode) -> None:
        self.wanted[instrument] = mode
        places = [n for n in (self.placement.slot(instrument), self.placement.host(instrument)) if n]
        for name in places:
            self.placement.adapt(instrument, name, mode)
        for name in places:
            self.placement.settle(name)
        self.failover.note(instrument)

    @property
    def _working(self) -> list[str]:
        return [name for name, where in self.where.items() if where == Where.LIVE]

    def _settle(self) -> None:
        taken_in: list[Instrument] = []
        for _ in range(500):
            move = self.failover.step(self._working)
            if move is None:
                break
            instrument, name = move
            if name is None:
                self.failover.leave(instrument)
                self.failover.note(instrument)
                continue
            assert name in self._working
            self.failover.take_in(instrument, name)
            taken_in.append(instrument)
            self._check_sizes()
        else:
            raise AssertionError("the moves have no end")
        assert len(taken_in) == len(set(taken_in)), "nothing moves twice"
        self._check_unplaced()

    # -- what holds ---------------------------------------------------------------------------------------

    def _check_sizes(self) -> None:
        for name in self.placement.loads:
            assert self.capacity.fits(self.placement.carried_by_mode(name)), f"{name} carries too much"

    def _check_unplaced(self) -> None:
        """Look whether one that waits would fit, if need be instead of all that are less important."""
        for instrument in filter(self.failover.waits, universe):
            host = self.placement.host(instrument)
            assert host is None or host in Leaving(self.where)
            for name in self._working:
                counts = self.placement.carried_by_mode(name)
                for hosted in self.placement.hosted(name):
                    if self._urgency(hosted) < self._urgency(instrument):
                        counts[self.placement.mode(name, hosted)] -= 1
                mode = self.placement.wanted(instrument)
                assert not self.capacity.room(counts, mode), f"{instrument} fits on {name}"

    @invariant()
    def every_symbol_has_its_mode_at_home_and_no_slot_too_much(self) -> None:
        if not hasattr(self, "placement"):
            return
        self._check_sizes()
        assert len(self.placement) == len(self.wanted)
        for instrument, mode in self.wanted.items():
            home, host = self.placement.slot(instrument), self.placement.host(instrument)
            assert home is not None
            assert home != host
            if self.capacity.by_mode:
                assert self.placement.wanted(instrument) == mode
                assert self.placement.mode(home, instrument) >= mode
            displaced = home in Leaving(self.where)
            settled = host is not None and host not in Leaving(self.where)
            assert self.failover.waits(instrument) is (displaced and not settled)


TestModes = ModesMachine.TestCase
TestModes.settings = settings(stateful_step_count=40)
