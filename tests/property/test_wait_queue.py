"""Waiting in virtual time: bounded in number and seconds, in order, and whatever comes, no place is lost."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.db import queue as database
from brokerpool.db.borrower import Borrower
from brokerpool.http import call_queue as http
from brokerpool.http.ratelimit import RAMP_SECONDS, RateLimiter, RateLimits
from brokerpool.testing.virtual_loop import VirtualLoop, clear_away
from brokerpool.wait_queue import Waiting, WaitTally

MOST = 3
HERE = sys._getframe().f_code
#: Quarters of a second, which floats add up exactly: so much falls into the same turn of the loop.
QUARTERS = st.integers(0, 8).map(lambda n: n / 4)
SOON = st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0])
PATIENCE = st.sampled_from([0.0, 0.25, 0.5, 1.0, 2.0, 3.0])
WHO = st.integers(0, 20)


class ClosedError(Exception):
    """What those who wait are told at the end."""


class Callers(RuleBasedStateMachine):
    """Callers come, are cancelled, run out of time and give back in any order, also in the same turn."""

    #: The real decision of a pool, and how its tickets are told apart: by bound, and by order.
    queue: Any
    bound: Callable[[Any], object]
    order: Callable[[Any], object]

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualLoop()
        self.tally = WaitTally()
        self.waiting: Waiting[Any] = Waiting(self.queue, self.tally)
        self.tasks: list[asyncio.Task[None]] = []
        self.cancelled: set[asyncio.Task[None]] = set()
        self.held: list[Any] = []
        self.told: list[ClosedError] = []
        self.through = 0

    def _soon(self, after: float, act: Callable[[], object]) -> None:
        """Have something done inside the loop: in the next turn, or among the timers of a later one."""
        if after:
            self.loop.call_later(after, act)
        else:
            self.loop.call_soon(act)

    def _enter(self, crowd: int, make: Callable[[float], Any], seconds: float, after: float) -> None:
        def enter() -> None:
            for _ in range(crowd):
                self.tasks.append(self.loop.create_task(self._call(make(self.loop.time()), seconds)))

        self._soon(after, enter)

    def goes_on(self, ticket: Any) -> None:
        """Do what the caller does with what it waited for."""

    async def _call(self, ticket: Any, seconds: float) -> None:
        began = self.loop.time()
        ahead = sum(self.bound(other) == self.bound(ticket) for other in self.queue.waiting())
        try:
            await self.waiting.wait(ticket, seconds)
        except asyncio.QueueFull:
            assert ahead == MOST, "nobody is refused while there is room"
            assert self.loop.time() == began, "who is refused is told at once"
        except TimeoutError:
            assert self.loop.time() == began + seconds
        except ClosedError as error:
            self.told.append(error)
        else:
            assert ticket.held
            assert ticket.granted == self.loop.time() <= began + seconds, "who is granted goes on at once"
            for other in self.queue.waiting():
                assert self.order(other) != self.order(ticket) or other.number > ticket.number
            self.held.append(ticket)
            self.through += 1
            self.tally.admitted(ticket)
            self.goes_on(ticket)
            return
        assert not ticket.held, "whoever is told an error holds nothing"

    # -- what happens -------------------------------------------------------------------------------------

    @rule(who=WHO, after=SOON)
    def cancel(self, who: int, after: float) -> None:
        def cancel() -> None:
            if self.tasks:
                task = self.tasks[who % len(self.tasks)]
                if task.cancel():
                    self.cancelled.add(task)

        self._soon(after, cancel)

    @rule(who=WHO, after=SOON)
    def release(self, who: int, after: float) -> None:
        def release() -> None:
            if self.held:
                self.waiting.release(self.held.pop(who % len(self.held)), self.loop.time())

        self._soon(after, release)

    @rule(after=SOON)
    def fail_all(self, after: float) -> None:
        def fail_all() -> None:
            self.waiting.fail_all(ClosedError)
            assert not self.queue.waiting()

        self._soon(after, fail_all)

    # -- time ---------------------------------------------------------------------------------------------

    @rule()
    def one_turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    @rule(seconds=QUARTERS)
    def time_passes(self, seconds: float) -> None:
        self.loop.call_later(seconds, self.loop.stop)
        self.loop.run_forever()

    @rule()
    def calm(self) -> None:
        self.loop.settle()
        assert set(self.queue.holders()) == set(self.held), "what is held is held by those who were told so"
        pending = [task for task in self.tasks if not task.done()]
        assert len(pending) == len(self.queue.waiting()), "and who still waits stands in the queue"

    #: Until then the queue may tell a longer time than it will take.
    exact_from = 0.0

    # -- what is true at any moment -----------------------------------------------------------------------

    @invariant()
    def no_more_wait_than_may(self) -> None:
        assert all(n <= MOST for n in Counter(map(self.bound, self.queue.waiting())).values())

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        if self.loop.time() >= self.exact_from:
            assert self.queue.grant(self.loop.time()) == []

    @invariant()
    def everybody_ends_as_promised(self) -> None:
        for task in [task for task in self.tasks if task.done()]:
            self.tasks.remove(task)
            assert task.cancelled() is (task in self.cancelled), "a cancellation is neither lost nor made up"
            if not task.cancelled():
                task.result()
        assert len(set(map(id, self.told))) == len(self.told), "everybody has an error of its own"
        assert not self.loop.raised

    def teardown(self) -> None:
        try:
            self.time_passes(5)  # longer than anybody may wait, and after anything that was to happen
            self.calm()
            self.everybody_ends_as_promised()
            assert not self.tasks, "every wait ends"
            assert not self.loop.timers(), "and leaves no timer"
            assert not self.queue.waiting()
            assert self.tally.stats()["wait_seconds"]["count"] == self.through >= self.tally.waited
        finally:
            clear_away(self.loop)


class Calls(Callers):
    """At the queue of an HTTP client: by lanes, with a rate limit that grants by time alone."""

    def __init__(self) -> None:
        self.limiter = RateLimiter(RateLimits({"quote": (RateWindow(3, 1.0),)}, margin=0))
        self.queue = http.Queue(self.limiter, size=2, max_waiting=MOST, max_hosts=1)
        self.queue.open_host("a")
        self.bound = lambda ticket: ticket.lane
        self.order = lambda ticket: (ticket.lane, ticket.group)
        self.sends = True
        super().__init__()

    def goes_on(self, ticket: http.Ticket) -> None:
        if self.sends:
            self.queue.sent(ticket, self.loop.time())
            self.waiting.stir()

    @rule(sends=st.booleans())
    def calls_leave_at_once(self, sends: bool) -> None:
        """Or are given back unsent, and with them their permission."""
        self.sends = sends

    @rule(
        crowd=st.integers(1, 5),
        lane=st.sampled_from(http.Lane),
        group=st.sampled_from(["quote", "quote", "free"]),
        weight=st.integers(1, 3),
        seconds=PATIENCE,
        after=SOON,
    )
    def enter(
        self, crowd: int, lane: http.Lane, group: str, weight: int, seconds: float, after: float
    ) -> None:
        def make(now: float) -> http.Ticket:
            return http.Ticket("a", group, lane, weight, "GET /x", "me", now)

        self._enter(crowd, make, seconds, after)

    @rule(seconds=QUARTERS, after=SOON)
    def too_fast(self, seconds: float, after: float) -> None:
        def hold() -> None:
            now = self.loop.time()
            held = self.limiter.hold("quote", now, sent_at=now, retry_after=seconds)
            # While the pace rises again, the next call may leave earlier than was reckoned before.
            self.exact_from = now + held + RAMP_SECONDS
            self.waiting.stir()

        self._soon(after, hold)


class Borrowers(Callers):
    """At the queue of a database pool: one writer at a time, and a capacity that changes."""

    def __init__(self) -> None:
        self.queue = database.Queue(capacity=2, max_waiting=MOST)
        self.bound = lambda ticket: None
        self.order = lambda ticket: ticket.alone
        super().__init__()

    @rule(crowd=st.integers(1, 5), alone=st.booleans(), seconds=PATIENCE, after=SOON)
    def enter(self, crowd: int, alone: bool, seconds: float, after: float) -> None:
        def make(now: float) -> database.Ticket:
            return database.Ticket(Borrower(HERE, 1, None, "me"), alone, now)

        self._enter(crowd, make, seconds, after)

    @rule(capacity=st.integers(1, 4), after=SOON)
    def resize(self, capacity: int, after: float) -> None:
        def resize() -> None:
            self.queue.capacity = capacity
            self.waiting.stir()

        self._soon(after, resize)


TestCalls = Calls.TestCase
TestBorrowers = Borrowers.TestCase
TestCalls.settings = TestBorrowers.settings = settings(
    max_examples=200, stateful_step_count=50, deadline=None
)
