"""The queue in front of the database connections keeps its order and its counts, whatever happens."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.db.borrower import Borrower
from brokerpool.db.queue import Queue, Ticket

HERE = sys._getframe().f_code
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("enter"), st.booleans()),
        st.tuples(st.sampled_from(["withdraw", "release"]), st.integers(0, 20)),
        st.tuples(st.just("resize"), st.integers(1, 6)),
    ),
    max_size=60,
)


@given(events=EVENTS, capacity=st.integers(1, 6))
def test_permits_go_out_in_order_to_one_writer_and_never_more_than_there_are(
    events: list[tuple[str, int]], capacity: int
) -> None:
    queue = Queue(capacity=capacity, max_waiting=100)
    held: list[Ticket] = []
    waiting: list[Ticket] = []
    for now, (event, what) in enumerate(events):
        if event == "enter":
            ticket = Ticket(Borrower(HERE, 1, None, "test"), bool(what), float(now))
            queue.enter(ticket)
            waiting.append(ticket)
        elif event == "withdraw" and waiting:
            queue.withdraw(waiting.pop(what % len(waiting)))
        elif event == "release" and held:
            queue.release(held.pop(what % len(held)), float(now))
        elif event == "resize":
            queue.capacity = capacity = what
        before = len(held)
        for ticket in queue.grant(float(now)):
            writing = any(other.alone for other in held)
            may = [other for other in waiting if not (other.alone and writing)]
            assert ticket is may[0], "nobody before it could have gone"
            waiting.remove(ticket)
            held.append(ticket)
        assert queue.held == len(held) <= max(capacity, before)
        assert sum(ticket.alone for ticket in held) <= 1
        assert queue.waiting() == waiting
        assert queue.queued == len(waiting)
        assert queue.oldest_wait(float(now)) == max((now - t.entered for t in waiting), default=0.0)
        writing = any(other.alone for other in held)
        idle = capacity - len(held)
        assert idle <= 0 or all(ticket.alone and writing for ticket in waiting), "no permit lies idle"
