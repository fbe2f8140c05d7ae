"""Failover at a broker that tells modes apart: rises, falls and outages, with a look at every step."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.batch_plan import Policy
from brokerpool.feed.failover import AT_HOME, Failover
from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode
from tests.capacity_rules import small_rules, weighed
from tests.property.mode_walk import ModeWalk, universe
from tests.property.test_failover import Leaving, Where


class Walk(ModeWalk):
    """Does what a replica does, in an order of chance."""

    def __init__(self, rule: Capacity, policy: Policy, random: Random) -> None:
        super().__init__(Placement("ws", rule, policy), random)
        self.capacity = rule
        self.where: dict[str, str] = {}
        self.priorities: dict[Instrument, int] = {}
        self.failover = Failover(self.placement, Leaving(self.where), self._urgency)

    def go(self, steps: int) -> None:
        ways = [self.subscribe, self.want_more, self.want_less, self.change_a_connection] * 2
        ways += [self.unsubscribe, self.go_home, self.stay]
        for _ in range(steps):
            self.random.choice(ways)()
            self._settle()
            self.check_that_every_symbol_has_its_mode_at_home_and_no_slot_too_much()

    # -- what happens -------------------------------------------------------------------------------------

    def change_a_connection(self) -> None:
        for name in self.random.sample(sorted(self.where), min(1, len(self.where))):
            self.where[name] = self.random.choice(
                [Where.LIVE] * 2 + [Where.DIALLING, Where.OUT, Where.EVACUATED]
            )
            for instrument in [*self.placement.hosted(name), *self.placement.homes(name)]:
                self.failover.note(instrument)

    def go_home(self) -> None:
        for instrument in self._some(sorted(self.wanted)):
            home = self.placement.slot(instrument)
            if home and self.where[home] == Where.LIVE and self.placement.host(instrument):
                self.failover.leave(instrument)
                self.failover.note(instrument)

    def stay(self) -> None:
        """Make the places of evacuated symbols their homes."""
        for instrument in self._some(sorted(self.wanted)):
            home, host = self.placement.slot(instrument), self.placement.host(instrument)
            if home and host and self.where[home] == Where.EVACUATED and not self.placement.low(instrument):
                self.failover.make_home(instrument)
                self.failover.note(instrument)

    def _subscribe(self, batch: list[Instrument], mode: Mode) -> None:
        priority = self.random.randint(0, 2)
        plan = self.placement.plan(batch, Leaving(self.where), mode=mode)
        self.placement.commit(plan)
        for instrument, name in plan.moved.items():
            places = (self.placement.host(instrument), self.placement.slot(instrument))
            serving = [n for n in places if n is not None and self.where[n] in (Where.LIVE, Where.EVACUATED)]
            keeps = serving[0] if serving and serving[0] != name else None
            self.failover.rehome(instrument, name, mode, keeps)
        for changed in self._touched(plan):
            self.where.setdefault(changed, Where.LIVE)
            self.placement.settle(changed)
            for instrument in self.failover.surplus(changed):
                self.failover.leave(instrument)
                self.failover.note(instrument)
        for instrument in batch:
            if instrument not in plan.unplaced:
                self.priorities[instrument] = priority
                self._want(instrument, max(mode, self.wanted.get(instrument, mode)))

    # -- what a replica does ------------------------------------------------------------------------------

    def _urgency(self, instrument: Instrument) -> float:
        home = self.placement.slot(instrument)
        return self.priorities.get(instrument, 0) if home in Leaving(self.where) else AT_HOME

    def _remove(self, instrument: Instrument) -> None:
        self.failover.remove(instrument)

    def _want(self, instrument: Instrument, mode: Mode) -> None:
        super()._want(instrument, mode)
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
        low = [i for i in self.wanted if self.placement.low(i) and self._urgency(i) != AT_HOME]
        if len(low) == self.failover.waiting == 1:
            assert not any(self.placement.takes(n, low[0]) for n in self._working), "there is a better place"

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

    def check_that_every_symbol_has_its_mode_at_home_and_no_slot_too_much(self) -> None:
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


@given(small_rules, st.sampled_from([fill_first, least_loaded]), st.integers(0, 2**32))
def test_whatever_fails_the_rule_is_kept_and_who_waits_could_not_have_had_a_place(
    small: Capacity, policy: Policy, seed: int
) -> None:
    Walk(small, policy, Random(seed)).go(100)


def test_no_more_symbols_lose_their_places_than_a_more_important_one_needs() -> None:
    placement = Placement("ws", weighed(3, 1, 1, 3))  # an order book takes two of three places
    price, book, other = universe[:3]
    placement.commit(placement.plan([price], mode=Mode.LTP))
    placement.commit(placement.plan([book], mode=Mode.DEPTH))
    placement.commit(placement.plan([other], mode=Mode.DEPTH))
    placement.open("ws-3")
    failover = Failover(placement, ["ws-1", "ws-2"], {price: 0, book: 1, other: 2}.__getitem__)
    failover.take_in(price, "ws-3")
    failover.take_in(book, "ws-3")
    failover.note(other)
    assert failover.step(["ws-3"]) == (book, None), "the price matters less, and its place is too small"
