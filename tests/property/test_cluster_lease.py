"""Leases: whatever becomes of writes and answers, and however clocks run, no two hold one account at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brokerpool.cluster.durations import SKEW, Timing
from brokerpool.cluster.lease_rules import Lease, Write
from brokerpool.cluster.messages import FORMAT, LeaseValue

TIMING = Timing()


@dataclass
class _Store:
    """A key; writes come late, and their answers later, or never."""

    value: LeaseValue | None = None
    revision: int = 0
    created_at: float = 0.0

    def write(self, write: Write, now: float) -> int | None:
        if write.revision != self.revision:
            return None
        if not self.revision:
            self.created_at = now
        self.value, self.revision = write.value, self.revision + 1
        return self.revision


@dataclass
class _Node:
    name: str
    rate: float
    ahead: float
    lease: Lease = field(init=False)
    wait_until: float = 0.0

    def __post_init__(self) -> None:
        self.lease = Lease(self.name, TIMING)

    def clock(self, now: float) -> float:
        return now * self.rate + self.ahead


@given(st.integers(0, 2**32), st.floats(0, 0.5), st.booleans())
@example(7, 0.5, True)
def test_no_two_nodes_hold_an_account_at_one_moment(seed: int, lost: float, forgets: bool) -> None:
    random, store = Random(seed), _Store()
    nodes = [_Node(n, 1 + random.uniform(-SKEW / 2, SKEW / 2), random.uniform(0, 1e5)) for n in "abc"]
    late: list[tuple[float, Write]] = []
    epochs: dict[int, str] = {}
    now = 0.0
    for _ in range(400):
        now += random.uniform(0.0, 0.15)
        for _, arrived in [entry for entry in late if entry[0] <= now]:
            store.write(arrived, now)
        late = [entry for entry in late if entry[0] > now]
        # That it loses a key within moments of its first write no reader could tell from a key never written.
        if forgets and random.random() < 0.002 and now - store.created_at > 2:
            # What was under way to a store that lost everything is lost with it.
            store.value, store.revision, late = None, 0, []
        node = random.choice(nodes)
        clock = node.clock(now)
        if now < node.wait_until:
            pass  # it stands still, or waits for an answer
        elif random.random() < 0.02:
            node.wait_until = now + random.uniform(0, 9)
        elif random.random() < 0.4:
            node.lease.read(store.value, store.revision, clock)
        elif (write := node.lease.due(clock, wanted=True, epoch=int(now * 1000))) is not None:
            node.lease.sent(write, clock)
            if random.random() < lost:
                if random.random() < 0.5:  # it comes all the same, and nobody hears of it
                    late.append((now + random.uniform(0, 5), write))
            else:
                revision, took = store.write(write, now), random.uniform(0, 1.5)
                node.lease.written(write, revision, node.clock(now))
                node.wait_until = now + took * (random.random() < 0.1)
        holders = [n for n in nodes if n.lease.holds(n.clock(now))]
        assert len(holders) <= 1, f"{[n.name for n in holders]} at {now}"
        for holder in holders:
            assert epochs.setdefault(holder.lease.epoch, holder.name) == holder.name


def absent(lease: Lease) -> None:
    """Have the lease see for longer than a lease's time that nobody holds the account."""
    for tenths in range(20, 51, 5):
        lease.read(None, 0, tenths / 10)


def test_a_standby_takes_over_once_it_has_seen_one_renewal_for_the_whole_time_and_no_earlier() -> None:
    lease, held = Lease("b", TIMING), LeaseValue(FORMAT, "a", 4, 9, (2.0,))
    lease.read(held, 7, 100.0)
    lease.read(held, 7, 102.9)
    assert lease.due(102.9, wanted=True) is None
    assert lease.due_at(wanted=True) == 103.0
    assert lease.due(103.5, wanted=True) is None, "it looks again first"
    write = lease.due(103.0, wanted=True)
    assert write is not None
    assert (write.revision, write.value.node, write.value.epoch) == (7, "b", 5)
    lease.sent(write, 103.0)
    lease.written(write, 8, 103.2)
    assert lease.holds(104.9), "it counts from when the write left"
    assert not lease.holds(105.0), "and lets go a margin before anybody else may take it"
    assert lease.taken.dialled == (5.0 * (1 - SKEW),)
    assert (lease.taken.untold_seconds, lease.taken.quiet_seconds) == (TIMING.lease, TIMING.quiet)


def test_a_node_that_does_not_want_the_account_leaves_it_alone() -> None:
    lease = Lease("b", TIMING)
    lease.read(None, 0, 1.0)
    assert lease.due(100.0, wanted=False) is None
    assert lease.due_at(wanted=False) is None


def test_what_was_let_go_of_or_given_is_taken_at_once_and_nothing_untold_is_assumed() -> None:
    for node in ("", "b"):
        lease = Lease("b", TIMING)
        lease.read(LeaseValue(FORMAT, node, 4, 9, (0.5,), 2, "a"), 7, 1.0)
        write = lease.due(1.1, wanted=True)
        assert write is not None
        lease.sent(write, 1.1)
        lease.written(write, 8, 1.1)
        assert lease.holds(1.2)
        assert lease.taken.untold_seconds == 0.0
        assert lease.left_open == 2


def test_a_write_whose_answer_was_lost_is_known_again_by_the_next_read() -> None:
    lease = Lease("a", TIMING)
    absent(lease)
    write = lease.due(5.0, wanted=True)
    assert write is not None
    lease.sent(write, 5.0)
    assert lease.due(5.5, wanted=True) is None, "nothing more leaves while it is not known"
    lease.read(write.value, 1, 6.0)
    assert lease.holds(6.9)
    assert not lease.holds(7.0), "it counts from when the write left, not from the read"


def test_a_renewal_that_is_known_too_late_is_taken_at_once_and_in_an_epoch_of_its_own() -> None:
    lease = Lease("a", TIMING)
    absent(lease)
    taken = lease.due(5.0, wanted=True)
    assert taken is not None
    lease.sent(taken, 5.0)
    lease.written(taken, 1, 5.0)
    renewal = lease.due(6.9, wanted=True, dials=(0.7,))
    assert renewal is not None
    lease.sent(renewal, 6.9)
    assert not lease.holds(7.0)
    lease.let_go()
    lease.read(renewal.value, 2, 7.1)
    assert not lease.holds(7.1)
    again = lease.due(7.4, wanted=True, dials=(1.2,))
    assert again is not None, "only this node writes in that epoch, and it holds the account no more"
    assert again.value.epoch > taken.value.epoch
    lease.sent(again, 7.4)
    lease.written(again, 3, 7.4)
    assert len(lease.taken.dialled) == 1, "what it dialled itself it knows, and nobody else did"
    assert lease.taken.untold_seconds == 0.0
    assert lease.taken.quiet_seconds == pytest.approx(0.4 * (1 - SKEW)), "since it let go nothing was sent"


def test_what_a_node_has_dialled_and_sent_itself_is_as_old_as_the_slowest_clock_of_a_broker_tells() -> None:
    fast, lease = 1 + SKEW / 2, Lease("a", TIMING)
    lease.read(LeaseValue(FORMAT, "", 1, 1), 1, 1.0 * fast)
    for at, dials in ((1.0, ()), (10.0, (7.0 * fast,))):
        write = lease.due(at * fast, wanted=True, dials=dials)
        assert write is not None
        lease.sent(write, at * fast)
        lease.written(write, 2, at * fast)
        if at == 1.0:
            held_until = lease.held_until / fast
            lease.let_go()
            lease.read(write.value, 2, 9.9 * fast)
    assert lease.taken.dialled[0] <= 7.0
    assert lease.taken.quiet_seconds <= 10.0 - held_until


def test_a_node_knows_what_it_dialled_itself_also_when_the_store_has_lost_who_held_the_account() -> None:
    lease = Lease("a", TIMING)
    absent(lease)
    for at, dials in ((5.0, ()), (12.0, (6.0, 4.5))):
        write = lease.due(at, wanted=True, dials=dials)
        assert write is not None
        lease.sent(write, at)
        lease.written(write, 1, at)
        if at == 5.0:
            lease.let_go()
            for tenths in range(80, 121, 5):
                lease.read(None, 0, tenths / 10)
    assert lease.taken.dialled == (6.0 * (1 - SKEW), 4.5 * (1 - SKEW))
    assert lease.taken.untold_seconds == TIMING.lease, "others may have had it meanwhile"


def test_a_renewal_of_another_node_is_waited_for_however_old_ones_own_is() -> None:
    lease = Lease("a", TIMING)
    absent(lease)
    taken = lease.due(5.0, wanted=True)
    assert taken is not None
    lease.sent(taken, 5.0)
    lease.written(taken, 1, 5.0)
    lease.let_go()
    lease.read(LeaseValue(FORMAT, "b", taken.value.epoch + 1, 2), 2, 20.0)
    assert lease.due(20.1, wanted=True) is None
    lease.read(LeaseValue(FORMAT, "b", taken.value.epoch + 1, 2), 2, 22.9)
    assert lease.due(22.9, wanted=True) is None


def test_a_standby_that_waited_for_longer_knows_that_nothing_was_sent_for_longer() -> None:
    lease, held = Lease("b", TIMING), LeaseValue(FORMAT, "a", 4, 9)
    for at in (100.0, 130.0):
        lease.read(held, 7, at)
    write = lease.due(130.0, wanted=True)
    assert write is not None
    lease.sent(write, 130.0)
    lease.written(write, 8, 130.0)
    assert lease.taken.quiet_seconds == pytest.approx(TIMING.quiet + 27 * (1 - SKEW))


def test_who_hands_over_holds_it_no_more_and_names_its_successor() -> None:
    lease = Lease("a", TIMING)
    lease.read(LeaseValue(FORMAT, "", 1, 1), 1, 1.0)
    taken = lease.due(1.0, wanted=True)
    assert taken is not None
    lease.sent(taken, 1.0)
    lease.written(taken, 2, 1.0)
    write = lease.handed_over("b", 2, 1.5, (0.1,))
    assert write is not None
    assert (write.value.node, write.value.left_open, write.value.dials) == ("b", 2, (0.1,))
    lease.sent(write, 1.5)
    lease.written(write, 3, 1.5)
    assert not lease.holds(1.5)
    assert lease.given_up(1.6, ()) is None
