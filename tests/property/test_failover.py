"""Who is carried where while connections are out, against a placement that keeps count at every step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerpool.feed.failover import Lodging, lodging
from brokerpool.feed.placement import Placement, fill_first, least_loaded
from brokerpool.instruments import Instrument

SIZE, SLOTS = 3, 4
universe = [Instrument("NSE", f"S{n}") for n in range(SIZE * SLOTS + 3)]
batches = st.lists(st.sampled_from(universe), min_size=1, max_size=6)


class Where:
    """The states in which a slot's connection can be."""

    LIVE = "live"
    DIALLING = "dialling"  # out for less than the grace
    OUT = "out"
    EVACUATED = "evacuated"  # live, and to be emptied


class FailoverMachine(RuleBasedStateMachine):
    """Does what a lane does, and looks at every intermediate step."""

    def __init__(self) -> None:
        super().__init__()
        self.where: dict[str, str] = {}
        self.priorities: dict[Instrument, int] = {}

    @initialize(policy=st.sampled_from([fill_first, least_loaded]), extra=st.booleans())
    def open(self, policy, extra: bool) -> None:
        self.placement = Placement("ws", SIZE, SLOTS, policy)
        self.opens = extra

    # -- what a lane does ---------------------------------------------------------------------------------

    @property
    def leaving(self) -> list[str]:
        return [name for name, where in self.where.items() if where in (Where.OUT, Where.EVACUATED)]

    def _priority(self, instrument: Instrument) -> int:
        return self.priorities.get(instrument, 0)

    def _plan(self) -> Lodging:
        evacuating = Where.EVACUATED in self.where.values()
        return lodging(
            self.placement,
            leaving=self.leaving,
            hosts=[name for name, where in self.where.items() if where == Where.LIVE],
            dialling=[name for name, where in self.where.items() if where == Where.DIALLING],
            extra=self.placement.new_slots() if evacuating and self.opens else (),
            priority=self._priority,
        )

    def _settle(self) -> None:
        before = {name: set(self.placement.guests(name)) for name in self.where}
        displaced = {i for name in self.leaving for i in self.placement.homes(name)}
        plan = self._plan()
        for instrument in plan.evicted:
            assert self.placement.guest(instrument) is not None, "only guests are sent away"
            self.placement.leave(instrument)
        self._check_sizes("with those gone that are sent away")
        for name, instruments in plan.lodged.items():
            assert instruments, "no slot is opened for nothing"
            assert self.where.get(name, Where.LIVE) == Where.LIVE, "guests go to what works"
            for instrument in instruments:
                assert instrument in displaced, "who is at home in what works is never moved"
                assert self.placement.slot(instrument) != name
                self.placement.lodge(instrument, name)
                self._check_sizes("with one more guest taken in")
            self.where.setdefault(name, Where.DIALLING)
        self._check_carried(plan, displaced, before)
        again = self._plan()
        assert not again.evicted, "nothing moves twice"
        assert not again.lodged, "nothing moves twice"
        assert set(again.stranded) == set(plan.stranded)

    def _check_carried(
        self, plan: Lodging, displaced: set[Instrument], before: dict[str, set[Instrument]]
    ) -> None:
        carried = {i for i in displaced if self.placement.guest(i) is not None}
        assert set(plan.stranded) == displaced - carried
        assert len(set(plan.stranded)) == len(plan.stranded)
        order = [-self._priority(i) for i in plan.stranded]
        assert order == sorted(order), "the most important first"
        working = [name for name, where in self.where.items() if where == Where.LIVE]
        if plan.stranded:
            assert not any(self.placement.room(name) for name in working), "there is room for one more"
            best = self._priority(plan.stranded[0])
            for name in working:
                for guest in self.placement.guests(name):
                    if guest in displaced:
                        assert self._priority(guest) >= best, "a more important one is left out"
        for name in before:
            if self.where[name] == Where.DIALLING:
                assert set(self.placement.guests(name)) <= before[name], "no new guests while it dials"

    def _check_sizes(self, when: str) -> None:
        for name in self.placement.loads:
            assert self.placement.carried(name) <= SIZE, f"{name} is too full {when}"

    # -- what happens -------------------------------------------------------------------------------------

    @rule(batch=batches, priority=st.integers(-1, 3))
    def subscribe(self, batch: list[Instrument], priority: int) -> None:
        fresh = [i for i in dict.fromkeys(batch) if self.placement.slot(i) is None]
        places = self.placement.capacity - len(self.placement)
        out = self.leaving
        free = {name: SIZE - load for name, load in self.placement.loads.items()}
        up = sum(self.placement.room(n) for n in free if n not in out)
        up += SIZE * len(self.placement.new_slots())
        plan = self.placement.plan(batch, out)
        assert plan.unplaced == fresh[places:]
        later = [i for name in out for i in plan.assignments.get(name, ())]
        assert len(later) <= max(0, len(fresh[:places]) - up), "slots that are up are filled first"
        pushed = {n: len(plan.assignments.get(n, ())) - self.placement.room(n) for n in free if n not in out}
        if any(over > 0 for over in pushed.values()):
            assert all(len(plan.assignments.get(n, ())) == free[n] for n in out), "guests' places come last"
        self.placement.commit(plan)
        for name in plan.assignments:
            self.where.setdefault(name, Where.DIALLING)
        for instrument in fresh[:places]:
            self.priorities[instrument] = priority
        self._settle()

    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        held = [i for i in universe if self.placement.slot(i) is not None]
        if held:
            self.placement.remove(data.draw(st.sampled_from(held)))
            self._settle()

    @rule(data=st.data(), where=st.sampled_from([Where.LIVE, Where.DIALLING, Where.OUT, Where.EVACUATED]))
    def a_connection_changes(self, data: st.DataObject, where: str) -> None:
        if self.where:
            self.where[data.draw(st.sampled_from(list(self.where)))] = where
            self._settle()

    @rule(instrument=st.sampled_from(universe), priority=st.integers(-1, 3))
    def a_priority_changes(self, instrument: Instrument, priority: int) -> None:
        self.priorities[instrument] = priority
        self._settle()

    @rule(data=st.data())
    def a_guest_goes_home(self, data: st.DataObject) -> None:
        guests = [i for i in universe if (home := self.placement.slot(i)) and self.where[home] == Where.LIVE]
        guests = [i for i in guests if self.placement.guest(i) is not None]
        if guests:
            self.placement.leave(data.draw(st.sampled_from(guests)))
            self._settle()

    @rule(data=st.data())
    def a_guest_is_adopted(self, data: st.DataObject) -> None:
        guests = [i for i in universe if self.placement.guest(i) is not None]
        if guests:
            guest = data.draw(st.sampled_from(guests))
            home, host = self.placement.slot(guest), self.placement.guest(guest)
            assert self.placement.adopt(guest) == home
            assert self.placement.slot(guest) == host
            assert self.placement.guest(guest) is None
            self._settle()

    @rule(data=st.data())
    def an_empty_slot_is_closed(self, data: st.DataObject) -> None:
        empty = [name for name in self.where if not self.placement.carried(name)]
        if empty:
            name = data.draw(st.sampled_from(empty))
            self.placement.close(name)
            del self.where[name]
            self._settle()

    # -- what holds ---------------------------------------------------------------------------------------

    @invariant()
    def no_slot_carries_more_than_it_may(self) -> None:
        if hasattr(self, "placement"):
            self._check_sizes("after all is settled")
            assert len(self.placement.loads) <= SLOTS

    @invariant()
    def every_symbol_has_at_most_one_home_and_one_other_place(self) -> None:
        if not hasattr(self, "placement"):
            return
        placement = self.placement
        homes = [i for name in placement.loads for i in placement.homes(name)]
        guests = [i for name in placement.loads for i in placement.guests(name)]
        assert len(homes) == len(set(homes)) == len(placement)
        assert len(guests) == len(set(guests))
        assert set(guests) <= set(homes), "a guest has a home"
        assert placement.has_guests is bool(guests)
        for name in placement.loads:
            assert all(placement.slot(i) == name for i in placement.homes(name))
            assert all(placement.guest(i) == name for i in placement.guests(name))
            assert not set(placement.homes(name)) & set(placement.guests(name))


TestFailover = FailoverMachine.TestCase
TestFailover.settings = settings(stateful_step_count=40)


def numbered(prefix: str, count: int) -> list[Instrument]:
    return [Instrument("NSE", f"{prefix}{n}") for n in range(count)]


def placed(**homes: list[Instrument]) -> Placement:
    """Return a placement with slots of three places that are the homes of these, in this order."""
    placement = Placement("ws", 3, 4, least_loaded)
    for name, instruments in homes.items():
        placement.open(name)
        placement._homes[name].update(dict.fromkeys(instruments))
        placement._home.update(dict.fromkeys(instruments, name))
    return placement


def test_among_equals_those_stay_that_have_a_place_already() -> None:
    a = numbered("A", 3)
    placement = placed(a=a, b=numbered("B", 2))
    placement.lodge(a[2], "b")
    plan = lodging(placement, leaving=["a"], hosts=["b"], priority=lambda i: 0)
    assert plan == Lodging([], {}, a[:2])


def test_a_more_important_symbol_takes_the_place_of_a_guest_but_never_of_one_at_home() -> None:
    a, b = numbered("A", 3), numbered("B", 2)
    placement = placed(a=a, b=b)
    placement.lodge(a[2], "b")
    plan = lodging(placement, leaving=["a"], hosts=["b"], priority=lambda i: 9 if i == a[1] else 0)
    assert plan == Lodging([a[2]], {"b": [a[1]]}, [a[2], a[0]])


def test_a_connection_that_dials_keeps_its_guests_and_gives_their_places_to_nobody_else() -> None:
    a, b = numbered("A", 2), numbered("B", 2)
    placement = placed(a=a, b=b)
    placement.lodge(a[1], "b")
    important = lodging(
        placement, leaving=["a"], hosts=[], dialling=["b"], priority=lambda i: 9 if i == a[0] else 0
    )
    assert important == Lodging([], {}, [a[0]])


def test_a_connection_that_dials_and_has_become_too_full_keeps_the_more_important_guest() -> None:
    a, b = numbered("A", 2), numbered("B", 2)
    placement = placed(a=a, b=b)
    for instrument in a:
        placement.lodge(instrument, "b")
    plan = lodging(
        placement, leaving=["a"], hosts=[], dialling=["b"], priority=lambda i: 9 if i == a[1] else 0
    )
    assert plan == Lodging([a[0]], {}, [a[0]])


def test_a_slot_that_is_out_itself_carries_no_more_than_it_may_when_it_comes_back() -> None:
    a, b, fresh = numbered("A", 2), numbered("B", 1), numbered("N", 2)
    placement = placed(a=a, b=b)
    for instrument in a:
        placement.lodge(instrument, "b")  # a was out; it is back, and has not proven itself yet
    placement._homes["b"].update(dict.fromkeys(fresh))
    placement._home.update(dict.fromkeys(fresh, "b"))
    plan = lodging(placement, leaving=["b"], hosts=["a"], priority=lambda i: 0)
    assert set(plan.evicted) == set(a)


def test_symbols_go_to_slots_that_work_before_another_one_is_opened() -> None:
    a = numbered("A", 3)
    placement = placed(a=a, b=numbered("B", 2))
    plan = lodging(placement, leaving=["a"], hosts=["b"], extra=[("ws-9", 3)], priority=lambda i: 0)
    assert plan.lodged == {"b": a[:1], "ws-9": a[1:]}
