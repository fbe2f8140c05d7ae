"""The account's dial budget against a caller that obeys it, in invented time."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.feed.backoff import PROVEN_SECONDS
from brokerpool.feed.dial_permits import (
    EVICTED_SECONDS,
    FOLLOW_SECONDS,
    MOST_EVICTED_SECONDS,
    OUTAGE_CAP_SECONDS,
    DialBudget,
    DialPermit,
)

MOST_SOCKETS = 4
WINDOWS = (RateWindow(3, 1.0), RateWindow(8, 30.0))


class Latest(Random):
    """Draws the highest number, so that every delay shows how far its range has grown."""

    def uniform(self, a: float, b: float) -> float:
        return b


@dataclass(slots=True, eq=False)
class Socket:
    """A permit as its owner sees it; `opened_at` is None while it dials."""

    permit: DialPermit
    opened_at: float | None = None
    trusted: bool = False
    evicted: bool = False


class DialMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.budget = DialBudget(WINDOWS, MOST_SOCKETS, Latest())
        self.now = 1000.0
        self.sockets: list[Socket] = []
        self.left: list[float] = []
        self.held_until = 0.0
        self.scouts: list[Socket] = []  # of the doubt that there is now
        self.grows_at = 0.0
        self.rest = EVICTED_SECONDS
        self.cap = MOST_SOCKETS

    def _pick(self, data: st.DataObject, *, opened: bool | None = None) -> Socket | None:
        known = [s for s in self.sockets if opened is None or (s.opened_at is not None) is opened]
        return data.draw(st.sampled_from(known)) if known else None

    def _note_growth(self) -> None:
        while self.cap < self.budget.cap:
            assert self.now >= self.grows_at, "the cap grows only after a rest"
            self.cap += 1
            self.grows_at = self.now + self.rest

    def _gone(self, socket: Socket) -> None:
        self.sockets.remove(socket)
        if socket in self.scouts:
            self.scouts.remove(socket)

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.5, 1.0, 5.0, 20.0, 61.0, 1000.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for socket in self.sockets:
            if socket.opened_at is None or socket.trusted:
                continue
            if self.now - socket.opened_at >= FOLLOW_SECONDS:
                self.budget.trust(socket.permit)
                socket.trusted = True
                self.scouts.clear()
                assert not self.budget.doubt, "doubt ends with a socket that stands"

    @rule()
    def dial_if_it_may_leave(self) -> None:
        wait = self.budget.wait(self.now)
        self._note_growth()
        if wait != 0:
            return
        doubt = self.budget.doubt
        assert self.now >= self.held_until, "Retry-After holds every dial"
        socket = Socket(self.budget.take(self.now))
        assert socket.permit.scout is doubt
        self.sockets.append(socket)
        self.left.append(self.now)
        assert len(self.sockets) <= self.budget.cap, "never a socket above the cap"
        if doubt:
            self.scouts.append(socket)
            assert len(self.scouts) == 1, "in doubt one dial at a time"
        for most, seconds in WINDOWS:
            assert sum(self.now - at < seconds - 1e-6 for at in self.left) <= most, "more dials than allowed"

    @rule()
    def dial_when_it_may_leave(self) -> None:
        for _ in range(5):  # the cap may grow by one and one
            wait = self.budget.wait(self.now)
            self._note_growth()
            if wait is None:
                return
            self.time_passes(wait)
            if wait == 0:
                break
        self.dial_if_it_may_leave()

    @rule(data=st.data(), retry_after=st.sampled_from([0.0, 0.0, 3.0, 90.0]), busy=st.booleans())
    def a_dial_fails(self, data: st.DataObject, retry_after: float, busy: bool) -> None:
        socket = self._pick(data, opened=False)
        if socket is None:
            return
        trusted = any(s.trusted for s in self.sockets)
        doubt = self.budget.doubt
        self.budget.failed(socket.permit, self.now, retry_after=retry_after, busy=busy)
        self._gone(socket)
        self.held_until = max(self.held_until, self.now + retry_after)
        assert self.budget.doubt is (doubt if trusted else True)

    @rule(data=st.data())
    def a_dial_succeeds(self, data: st.DataObject) -> None:
        socket = self._pick(data, opened=False)
        if socket is not None:
            socket.opened_at = self.now

    @rule(data=st.data())
    def a_socket_ends(self, data: st.DataObject) -> None:
        socket = self._pick(data, opened=True)
        if socket is None or socket.opened_at is None:
            return
        lived = self.now - socket.opened_at
        doubt = self.budget.doubt
        self._gone(socket)
        self.budget.ended(socket.permit, self.now, lived=lived)
        if lived < PROVEN_SECONDS and not any(s.trusted for s in self.sockets):
            assert self.budget.doubt
        else:
            assert self.budget.doubt is doubt

    @rule(data=st.data())
    def a_permit_is_given_back(self, data: st.DataObject) -> None:
        socket = self._pick(data)
        if socket is not None:
            self._gone(socket)
            self.budget.withdraw(socket.permit)

    @rule(data=st.data())
    def a_socket_is_evicted(self, data: st.DataObject) -> None:
        socket = self._pick(data, opened=True)
        if socket is None or socket.evicted:
            return
        socket.evicted = True
        self.budget.evict(socket.permit, self.now)
        left = sum(not s.evicted for s in self.sockets)
        assert self.budget.cap <= left, "what the other one took is not dialled for again"
        assert self.budget.cap <= max(0, self.cap - 1)
        self.cap = self.budget.cap
        self.grows_at = self.now + self.rest
        self.rest = min(MOST_EVICTED_SECONDS, self.rest * 2)

    @precondition(lambda self: not self.scouts)
    @rule()
    def all_is_forgiven(self) -> None:
        self.budget.forgive()
        self.held_until = 0.0
        self.cap = MOST_SOCKETS
        self.rest = EVICTED_SECONDS
        assert not self.budget.doubt

    @rule()
    def everything_ends(self) -> None:
        for socket in list(self.sockets):
            self._gone(socket)
            self.budget.withdraw(socket.permit)
        assert self.budget.sockets == 0, "the count returns to nothing"
        assert self.budget.wait(self.now) is not None, "no permit is taken and nobody could ever dial again"
        self._note_growth()

    @invariant()
    def seats_are_counted(self) -> None:
        assert self.budget.sockets == len(self.sockets)
        assert 0 <= self.budget.cap <= MOST_SOCKETS

    @invariant()
    def a_dial_is_possible_at_some_time_unless_a_permit_is_taken(self) -> None:
        wait = self.budget.wait(self.now)
        self._note_growth()
        if not self.sockets:
            assert wait is not None
        if wait is not None:
            assert 0 <= wait < 1000


TestDialling = DialMachine.TestCase


def test_while_nothing_stands_the_back_off_grows_to_its_cap_whether_dials_fail_or_sockets_die_young() -> None:
    budget = DialBudget((), 3, Latest())
    now, waits = 0.0, []
    for n in range(8):
        permit = budget.take(now)
        if n % 2:
            budget.trust(permit)
            budget.ended(permit, now, lived=PROVEN_SECONDS - 0.1)
        else:
            budget.failed(permit, now, busy=True)
        wait = budget.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_broker_that_cannot_be_reached_is_tried_every_few_seconds() -> None:
    budget = DialBudget((), 3, Latest())
    for _ in range(20):
        budget.failed(budget.take(0.0), 0.0)
    assert budget.wait(0.0) == OUTAGE_CAP_SECONDS


def test_only_ten_seconds_of_life_narrow_the_back_off_again() -> None:
    budget = DialBudget((), 3, Latest())
    for _ in range(5):
        budget.failed(budget.take(0.0), 0.0, busy=True)
    permit = budget.take(0.0)
    budget.trust(permit)
    budget.ended(permit, 0.0, lived=PROVEN_SECONDS)
    assert not budget.doubt
    budget.failed(budget.take(0.0), 0.0, busy=True)
    assert budget.wait(0.0) == 1.0


def test_a_failure_while_another_socket_stands_is_no_doubt() -> None:
    budget = DialBudget((), 3, Latest())
    budget.trust(budget.take(0.0))
    budget.failed(budget.take(0.0), 0.0)
    assert not budget.doubt
    assert budget.wait(0.0) == 0


def test_in_doubt_the_others_follow_as_soon_as_the_scout_stands() -> None:
    budget = DialBudget((), 3, Latest())
    budget.failed(budget.take(0.0), 0.0)
    scout = budget.take(5.0)
    assert budget.wait(5.0) is None
    budget.trust(scout)
    assert budget.wait(6.0) == 0


def test_two_evictions_at_once_take_two_permits() -> None:
    budget = DialBudget((), 3, Latest())
    permits = [budget.take(0.0) for _ in range(3)]
    for permit in permits:
        budget.trust(permit)
    for permit in permits[:2]:
        budget.evict(permit, 100.0)  # before either has given its permit back
    assert budget.cap == 1
    for permit in permits[:2]:
        budget.ended(permit, 101.0, lived=101.0)
    wait = budget.wait(101.0)
    assert wait is not None
    assert wait > EVICTED_SECONDS / 2


def test_the_rest_after_an_eviction_doubles_with_each_and_the_cap_comes_back_one_by_one() -> None:
    budget = DialBudget((), 2, Latest())
    now, rests = 0.0, []
    for _ in range(7):
        permit, other = budget.take(now), budget.take(now)
        budget.evict(permit, now)
        budget.ended(permit, now, lived=100.0)
        assert budget.cap == 1
        wait = budget.wait(now)
        assert wait is not None
        rests.append(wait)
        budget.wait(now + wait - 1.0)
        assert budget.cap == 1
        now += wait
        budget.wait(now)
        assert budget.cap == 2
        budget.withdraw(other)
    assert rests == [60.0, 120.0, 240.0, 480.0, 900.0, 900.0, 900.0]


def test_two_permits_that_were_taken_come_back_one_after_the_other() -> None:
    budget = DialBudget((), 2, Latest())
    for permit in [budget.take(0.0), budget.take(0.0)]:
        budget.evict(permit, 0.0)
        budget.withdraw(permit)
    caps = []
    for now in (119.0, 120.0, 359.0, 360.0):
        budget.wait(now)
        caps.append(budget.cap)
    assert caps == [0, 1, 1, 2]


@given(st.sampled_from([1.0, 30.0, 600.0]), st.booleans())
def test_retry_after_holds_every_dial_also_while_others_stand(retry_after: float, standing: bool) -> None:
    budget = DialBudget((), 3, Latest())
    if standing:
        budget.trust(budget.take(0.0))
    budget.failed(budget.take(0.0), 0.0, retry_after=retry_after)
    budget.withdraw(budget.take(0.0))
    wait = budget.wait(0.0)
    assert wait is not None
    assert wait >= retry_after


def test_a_budget_shows_its_sockets_and_its_doubt() -> None:
    budget = DialBudget((), 3, Latest())
    permit = budget.take(0.0)
    assert repr(budget) == "<DialBudget 1 of 3 sockets>"
    budget.failed(permit, 0.0)
    assert repr(budget) == "<DialBudget 0 of 3 sockets in doubt>"


def test_a_window_that_lets_nothing_pass_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        DialBudget([RateWindow(0, 1.0)], 3, Latest())
