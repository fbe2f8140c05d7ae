"""The queue in invented time: counts are exact, nobody is unplaced, lanes and order are kept."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.http.call_queue import Lane, Queue, Ticket
from brokerpool.http.ratelimit import RateLimiter, RateLimits

HOSTS = ("a", "b", "c")
GROUPS = ("quote", "order", "free")
LIMITS = RateLimits(
    {"quote": (RateWindow(2, 1.0),), "order": (RateWindow(5, 1.0), RateWindow(20, 10.0))}, margin=0
)


def ticket(host: str = "a", lane: Lane = Lane.QUERY, group: str = "free", *, now: float = 0.0) -> Ticket:
    return Ticket(host, group, lane, 1, "GET /x", "Task-1", now)


def queue(size: int = 2, *, max_hosts: int = 2, limits: RateLimits = LIMITS, order_slots: int = 0) -> Queue:
    limiter = RateLimiter(limits)
    return Queue(limiter, size=size, max_waiting=50, max_hosts=max_hosts, order_slots=order_slots)


class Traffic(RuleBasedStateMachine):
    """Callers enter, leave, send, end and time out in any order."""

    order_slots = 0

    def __init__(self) -> None:
        super().__init__()
        self.queue = queue(order_slots=self.order_slots)
        self.warm: list[Ticket] = []
        self.now = 0.0
        self.waiting: list[Ticket] = []
        self.held: list[Ticket] = []

    def _grant(self) -> None:
        for t in self.queue.grant(self.now):
            self.waiting.remove(t)
            self.held.append(t)

    @rule(host=st.sampled_from(HOSTS), lane=st.sampled_from(Lane), group=st.sampled_from(GROUPS))
    def enter(self, host: str, lane: Lane, group: str) -> None:
        if self.queue.open_host(host) is not None:
            t = ticket(host, lane, group, now=self.now)
            self.queue.enter(t)
            self.waiting.append(t)
        self._grant()

    @rule(data=st.data())
    def withdraw(self, data: Any) -> None:
        if self.waiting:
            t = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
            self.queue.withdraw(t)
        self._grant()

    @rule(data=st.data(), sends=st.booleans())
    def end(self, data: Any, sends: bool) -> None:
        if self.held:
            t = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
            if sends:
                self.queue.sent(t, self.now)
            self.queue.release(t, self.now)
        self._grant()

    @rule(host=st.sampled_from(HOSTS))
    def keep_warm(self, host: str) -> None:
        t = ticket(host, now=self.now)
        if self.queue.take_stalest(t, self.now, idle_for=0.0):
            self.held.append(t)
            self.warm.append(t)

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        """The timer of the edge goes off each time that the queue says it should."""
        end = self.now + seconds
        while (delay := self.queue.next_grant(self.now)) <= end - self.now:
            self.now += delay
            before = len(self.waiting)
            self._grant()
            assert len(self.waiting) < before, "woken up for nothing"
        self.now = end
        self._grant()

    @invariant()
    def counts_are_exact(self) -> None:
        assert self.queue.queued() == len(self.waiting)
        assert self.queue.active() == len(self.held)
        for lane in Lane:
            assert self.queue.queued(lane) == sum(t.lane is lane for t in self.waiting)
        assert len(self.queue.hosts) <= 2
        for host in self.queue.hosts:
            assert self.queue.active(host) + self.queue.idle(host) == self.queue.size
        slots = [(t.host, t.slot) for t in self.held]
        assert len(set(slots)) == len(slots), "a slot has one holder"
        assert self.queue.oldest_wait(self.now) >= 0

    @invariant()
    def nobody_is_unplaced(self) -> None:
        """Whoever waits has no slot to go to, or waits for a permission that has a time or a holder."""
        for t in self.waiting:
            kept = self.order_slots if t.lane is Lane.QUERY else 0
            if self.queue.idle(t.host) > kept and self.queue.next_grant(self.now) == math.inf:
                assert any(h.reserved and h.group == t.group for h in self.held)

    def teardown(self) -> None:
        for _ in range(400):
            while self.held:
                t = self.held.pop()
                self.queue.sent(t, self.now)
                self.queue.release(t, self.now)
            self._grant()
            if not self.waiting and not self.held:
                break
            if not self.held:
                self.now += self.queue.next_grant(self.now)
        assert not self.waiting, "everybody gets a turn in the end"
        assert self.queue.active() == self.queue.queued() == 0


class TrafficWithOrders(Traffic):
    """The same with a slot of each host that is for orders."""

    order_slots = 1

    @invariant()
    def queries_leave_a_slot_to_orders(self) -> None:
        for host in self.queue.hosts:
            queries = [t for t in self.held if t.host == host and t.lane is Lane.QUERY]
            assert len([t for t in queries if t not in self.warm]) <= self.queue.size - self.order_slots


TestTraffic = Traffic.TestCase
TestTraffic.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
TestTrafficWithOrders = TrafficWithOrders.TestCase
TestTrafficWithOrders.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)


def test_an_order_leaves_at_once_while_queries_hold_all_other_slots_and_wait() -> None:
    two = queue(2, order_slots=1)
    two.open_host("a")
    first, second, urgent = ticket(), ticket(), ticket(lane=Lane.CANCEL)
    assert two.take(first, 0.0)
    assert not two.take(second, 0.0), "the other slot is none of a query's"
    two.enter(second)
    two.enter(urgent)
    assert two.grant(0.0) == [urgent]
    assert two.next_grant(0.0) == math.inf, "no timer for a query that waits for a slot"
    two.release(urgent, 0.0)
    assert two.grant(0.0) == []
    two.release(first, 0.0)
    assert two.grant(0.0) == [second]


@given(st.lists(st.sampled_from(Lane), min_size=1, max_size=40))
def test_slots_go_by_lane_and_in_each_lane_to_the_first_who_came(lanes: list[Lane]) -> None:
    one = queue(1)
    one.open_host("a")
    one.enter(ticket())
    (held,) = one.grant(0.0)
    tickets = [ticket(lane=lane) for lane in lanes]
    for t in tickets:
        one.enter(t)
    order = []
    while True:
        one.release(held, 0.0)
        granted = one.grant(0.0)
        if not granted:
            break
        (held,) = granted
        order.append(held)
    assert order == sorted(tickets, key=lambda t: (t.lane, tickets.index(t)))


def test_a_newcomer_does_not_overtake_who_waits_for_the_slot_that_was_just_released() -> None:
    one = queue(1)
    one.open_host("a")
    first, second, newcomer = ticket(), ticket(), ticket()
    one.enter(first)
    one.enter(second)
    assert one.grant(0.0) == [first]
    one.release(first, 0.0)
    one.enter(newcomer)
    assert one.grant(0.0) == [second]


def test_a_group_without_permission_lets_others_pass_but_nobody_of_its_own() -> None:
    limited = queue(5, limits=RateLimits({"quote": (RateWindow(3, 1.0),)}, margin=0))
    limited.open_host("a")
    heavy = Ticket("a", "quote", Lane.QUERY, 3, "GET /x", "t", 0.0)
    light, other = ticket(group="quote"), ticket(group="free")
    limited.enter(ticket(group="quote"))
    (running,) = limited.grant(0.0)
    limited.sent(running, 0.0)
    for t in (heavy, light, other):
        limited.enter(t)
    assert limited.grant(0.5) == [other], "the light one fits, but the heavy one was there first"
    assert limited.next_grant(0.5) == 0.5
    urgent = Ticket("a", "quote", Lane.CANCEL, 3, "GET /x", "t", 0.5)
    limited.enter(urgent)
    limited.enter(ticket(group="quote", lane=Lane.PLACE))
    assert limited.grant(0.5) == [], "nor does a light one of a lane behind"
    assert limited.grant(1.0) == [urgent]


def test_the_newest_connection_is_used_again_and_the_stalest_is_kept_warm() -> None:
    three = queue(3)
    three.open_host("a")
    held = [ticket() for _ in range(3)]
    for t in held:
        three.enter(t)
    three.grant(0.0)
    slots = [t.slot for t in held]
    for at, t in enumerate(held):
        three.release(t, float(at))
    again, stale = ticket(), ticket()
    three.enter(again)
    three.grant(3.0)
    assert again.slot == slots[2]
    assert not three.take_stalest(stale, 3.0, idle_for=3.1)
    assert three.take_stalest(stale, 3.0, idle_for=2.0)
    assert stale.slot == slots[0]


def test_the_least_recently_used_host_without_calls_makes_room_for_a_new_one() -> None:
    two = queue(1)
    assert two.open_host("a") == []
    assert two.open_host("b") == []
    assert two.open_host("a") == [], "used again"
    assert two.open_host("c") == ["b"]
    for host in ("a", "c"):
        two.enter(ticket(host))
    assert len(two.grant(0.0)) == 2
    assert two.open_host("d") is None, "both are in use"
