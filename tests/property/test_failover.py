"""Who is carried where while connections are out, against a placement that keeps count at every step."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from brokerpool.brokers.capacity import Capacity
from brokerpool.feed.failover import AT_HOME, Failover
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


class Leaving:
    """The slots that are out or evacuated, as they are at each moment."""

    def __init__(self, where: dict[str, str]) -> None:
        self._where = where

    def __contains__(self, name: object) -> bool:
        return self._where.get(str(name)) in (Where.OUT, Where.EVACUATED)


class FailoverMachine(RuleBasedStateMachine):
    """Does what a replica does, and looks at every intermediate step."""

    def __init__(self) -> None:
        super().__init__()
        self.where: dict[str, str] = {}
        self.priorities: dict[Instrument, int] = {}

    @initialize(policy=st.sampled_from([fill_first, least_loaded]), extra=st.booleans())
    def open(self, policy, extra: bool) -> None:
        self.placement = Placement("ws", Capacity(SIZE, SLOTS), policy)
        self.failover = Failover(self.placement, Leaving(self.where), self._urgency)
        self.opens = extra

    # -- what a replica does ---------------------------------------------------------------------------------

    @property
    def leaving(self) -> list[str]:
        return [name for name in self.where if name in Leaving(self.where)]

    def _priority(self, instrument: Instrument) -> int:
        return self.priorities.get(instrument, 0)

    def _urgency(self, instrument: Instrument) -> float:
        home = self.placement.slot(instrument)
        return self._priority(instrument) if home in Leaving(self.where) else AT_HOME

    def _settle(self) -> None:
        before = {name: set(self.placement.hosted(name)) for name in self.where}
        displaced = {i for name in self.leaving for i in self.placement.homes(name)}
        opened: list[str] = []
        moved: list[Instrument] = []
        for _ in range(1000):
            working = [name for name, where in self.where.items() if where == Where.LIVE]
            evacuating = self.opens and Where.EVACUATED in self.where.values()
            new = self.placement.new_slots() if evacuating else []
            move = self.failover.step([*working, *opened], new[0][0] if new else None)
            if move is None:
                break
            instrument, name = move
            if name is None:
                assert self.placement.host(instrument) is not None, "only hosted symbols are sent away"
                self.failover.leave(instrument)
                self.failover.note(instrument)
                continue
            moved.append(instrument)
            assert self.where.get(name, Where.LIVE) == Where.LIVE or name in opened, (
                "hosted symbols go to what works"
            )
            assert instrument in displaced, "who is at home in what works is never moved"
            assert self.placement.slot(instrument) != name
            self.failover.take_in(instrument, name)
            self._check_sizes("with one more guest taken in")
            if name not in self.where:
                self.where[name] = Where.DIALLING
                opened.append(name)
        else:
            raise AssertionError("the moves have no end")
        assert len(moved) == len(set(moved)), "nothing moves twice"
        self._check_carried(displaced, before, opened)

    def _check_carried(
        self, displaced: set[Instrument], before: dict[str, set[Instrument]], opened: list[str]
    ) -> None:
        carried = {i for i in displaced if self.placement.host(i) is not None}
        unplaced = displaced - carried
        assert {i for i in universe if self.failover.waits(i)} == unplaced
        working = [name for name, where in self.where.items() if where == Where.LIVE]
        if unplaced:
            assert not any(self.placement.room(name) for name in [*working, *opened]), "there is room"
            best = max(map(self._priority, unplaced))
            for name in working:
                for instrument in self.placement.hosted(name):
                    if instrument in displaced:
                        assert self._priority(instrument) >= best, "a more important one is left out"
        for name in before:
            if self.where[name] == Where.DIALLING:
                assert set(self.placement.hosted(name)) <= before[name], (
                    "no new hosted symbols while it dials"
                )
            if name in self.leaving:
                assert not displaced & set(self.placement.hosted(name)), "hosted by what is out"

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
            assert all(len(plan.assignments.get(n, ())) == free[n] for n in out), (
                "places of hosted symbols come last"
            )
        self.placement.commit(plan)
        for name in plan.assignments:
            self.where.setdefault(name, Where.DIALLING)
            hosted = set(self.placement.hosted(name))
            gone = self.failover.surplus(name)
            for instrument in gone:
                self.failover.leave(instrument)
                self.failover.note(instrument)
            if gone:
                stay = min(map(self._urgency, hosted - set(gone)), default=AT_HOME)
                assert max(map(self._urgency, gone)) <= stay, "the least important one makes room"
        self._check_sizes("at once")
        for instrument in fresh[:places]:
            self.priorities[instrument] = priority
            self.failover.note(instrument)
        self._settle()

    @rule(data=st.data())
    def unsubscribe(self, data: st.DataObject) -> None:
        held = [i for i in universe if self.placement.slot(i) is not None]
        if held:
            self.failover.remove(data.draw(st.sampled_from(held)))
            self._settle()

    @rule(data=st.data(), where=st.sampled_from([Where.LIVE, Where.DIALLING, Where.OUT, Where.EVACUATED]))
    def a_connection_changes(self, data: st.DataObject, where: str) -> None:
        if self.where:
            name = data.draw(st.sampled_from(list(self.where)))
            self.where[name] = where
            for instrument in [*self.placement.hosted(name), *self.placement.homes(name)]:
                self.failover.note(instrument)
            self._settle()

    @rule(instrument=st.sampled_from(universe), priority=st.integers(-1, 3))
    def a_priority_changes(self, instrument: Instrument, priority: int) -> None:
        self.priorities[instrument] = priority
        if self.placement.slot(instrument) is not None:
            self.failover.note(instrument)
        self._settle()

    @rule(data=st.data())
    def a_hosted_symbol_goes_home(self, data: st.DataObject) -> None:
        hosted = [i for i in universe if (home := self.placement.slot(i)) and self.where[home] == Where.LIVE]
        hosted = [i for i in hosted if self.placement.host(i) is not None]
        if hosted:
            instrument = data.draw(st.sampled_from(hosted))
            self.failover.leave(instrument)
            self.failover.note(instrument)
            self._settle()

    @rule(data=st.data())
    def a_hosted_symbol_gets_its_home_there(self, data: st.DataObject) -> None:
        hosted = [i for i in universe if self.placement.host(i) is not None]
        if hosted:
            instrument = data.draw(st.sampled_from(hosted))
            home, host = self.placement.slot(instrument), self.placement.host(instrument)
            assert self.failover.make_home(instrument) == home
            self.failover.note(instrument)
            assert self.placement.slot(instrument) == host
            assert self.placement.host(instrument) is None
            self._settle()

    @rule(data=st.data())
    def an_empty_slot_is_closed(self, data: st.DataObject) -> None:
        empty = [name for name in self.where if not self.placement.carried(name)]
        if empty:
            name = data.draw(st.sampled_from(empty))
            self.failover.close(name)
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
        hosted = [i for name in placement.loads for i in placement.hosted(name)]
        assert len(homes) == len(set(homes)) == len(placement)
        assert len(hosted) == len(set(hosted))
        assert set(hosted) <= set(homes), "a hosted symbol has a home"
        assert placement.has_hosted is bool(hosted)
        for name in placement.loads:
            assert all(placement.slot(i) == name for i in placement.homes(name))
            assert all(placement.host(i) == name for i in placement.hosted(name))
            assert not set(placement.homes(name)) & set(placement.hosted(name))
            away = [placement.host(i) for i in placement.homes(name)]
            assert placement.away(name) == len(away) - away.count(None)
            assert all(placement.away(name, other) == away.count(other) for other in placement.loads)


TestFailover = FailoverMachine.TestCase
TestFailover.settings = settings(stateful_step_count=40)


def numbered(prefix: str, count: int) -> list[Instrument]:
    return [Instrument("NSE", f"{prefix}{n}") for n in range(count)]


class Story:
    """Slots of three places that are the homes of some symbols; `out` are those that are out."""

    def __init__(self, out: str, priorities: dict[Instrument, int], **homes: list[Instrument]) -> None:
        self.placement = placement = Placement("ws", Capacity(3, 4), least_loaded)
        for name, instruments in homes.items():
            placement.open(name)
            placement._homes[name].update(dict.fromkeys(instruments))
            placement._home.update(dict.fromkeys(instruments, name))
        self.out = set(out)

        def urgency(instrument: Instrument) -> float:
            return priorities.get(instrument, 0) if placement.slot(instrument) in self.out else AT_HOME

        self.failover = Failover(placement, self.out, urgency)

    def told(self, hosts: list[str], spare: str | None = None) -> list[tuple[Instrument, str | None]]:
        """Look at every symbol anew, and make all moves."""
        for name in self.placement.loads:
            for instrument in [*self.placement.hosted(name), *self.placement.homes(name)]:
                self.failover.note(instrument)
        moves: list[tuple[Instrument, str | None]] = []
        while (move := self.failover.step(hosts, spare)) is not None:
            moves.append(move)
            if move.to is None:
                self.failover.leave(move.instrument)
                self.failover.note(move.instrument)
            else:
                self.failover.take_in(move.instrument, move.to)
                hosts = [*dict.fromkeys([*hosts, move.to])]
        return moves


def test_among_equals_those_stay_that_have_a_place_already() -> None:
    a = numbered("A", 3)
    s = Story("a", {}, a=a, b=numbered("B", 2))
    s.failover.take_in(a[2], "b")
    assert s.told(["b"]) == []
    assert [i for i in a if s.failover.waits(i)] == a[:2]


def test_a_more_important_symbol_takes_the_place_of_a_hosted_symbol_but_never_of_one_at_home() -> None:
    a, b = numbered("A", 3), numbered("B", 2)
    s = Story("a", {a[1]: 9}, a=a, b=b)
    s.failover.take_in(a[2], "b")
    assert s.told(["b"]) == [(a[2], None), (a[1], "b")]


def test_a_connection_that_dials_keeps_its_hosted_symbols_and_gives_their_places_to_nobody_else() -> None:
    a, b = numbered("A", 2), numbered("B", 2)
    s = Story("a", {a[0]: 9}, a=a, b=b)
    s.failover.take_in(a[1], "b")
    assert s.told([]) == []
    assert s.failover.waits(a[0])


def test_a_connection_that_has_become_too_full_keeps_the_more_important_hosted_symbol() -> None:
    a, b, fresh = numbered("A", 2), numbered("B", 1), numbered("N", 1)
    s = Story("a", {a[1]: 9}, a=a, b=b)
    for instrument in a:
        s.failover.take_in(instrument, "b")
    s.placement._homes["b"].update(dict.fromkeys(fresh))
    s.placement._home.update(dict.fromkeys(fresh, "b"))
    assert s.failover.surplus("b") == [a[0]]


def test_a_slot_that_is_out_itself_carries_no_more_than_it_may_when_it_comes_back() -> None:
    a, b, fresh = numbered("A", 2), numbered("B", 1), numbered("N", 2)
    s = Story("b", {}, a=a, b=b)
    for instrument in a:
        s.failover.take_in(instrument, "b")  # a was out; it is back, and has not proven itself yet
    s.placement._homes["b"].update(dict.fromkeys(fresh))
    s.placement._home.update(dict.fromkeys(fresh, "b"))
    assert set(s.failover.surplus("b")) == set(a)


def test_symbols_go_to_slots_that_work_before_another_one_is_opened() -> None:
    a = numbered("A", 3)
    s = Story("a", {}, a=a, b=numbered("B", 2))
    assert s.told(["b"], "ws-9") == [(a[0], "b"), (a[1], "ws-9"), (a[2], "ws-9")]


def test_who_has_been_away_for_longer_comes_first_when_its_host_is_lost_too() -> None:
    a, b, c = numbered("A", 1), numbered("B", 2), numbered("C", 2)
    s = Story("a", {}, a=a, b=b, c=c)
    s.failover.take_in(a[0], "b")
    s.out.add("b")
    assert s.told(["c"]) == [(a[0], None), (a[0], "c")]
