"""Promises of the backlog: bounded, in order, nothing lost in an outage, and what is dropped is counted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from brokerpool.store.write_backlog import Backlog


async def change(_: AsyncConnection) -> None:
    """Stand for any change."""


def test_the_first_entry_is_due_at_once_and_later_ones_after_the_interval() -> None:
    backlog = Backlog(interval=1.0)
    assert backlog.due_in(0.0) is None
    backlog.add("journal", {"n": 1})
    assert backlog.due_in(10.0) == 0
    backlog.take(10.0)
    backlog.confirm()
    backlog.add("journal", {"n": 2})
    assert backlog.due_in(10.25) == 0.75
    assert backlog.due_in(11.0) == 0


def test_a_full_batch_does_not_wait_for_the_interval() -> None:
    backlog = Backlog(batch=2, interval=60.0)
    for n in range(4):
        backlog.add("journal", {"n": n})
    assert len(backlog.take(0.0)) == 2
    backlog.confirm()
    assert backlog.due_in(0.0) == 0


def test_after_failures_it_waits_longer_and_longer_but_never_more_than_five_seconds() -> None:
    backlog = Backlog(batch=1)
    backlog.add("journal", {"n": 1})
    pauses = []
    for _ in range(6):
        backlog.take(100.0)
        backlog.give_back()
        pauses.append(backlog.due_in(100.0))
    assert pauses == [0.5, 1, 2, 4, 5, 5]
    backlog.take(105.0)
    backlog.confirm()
    backlog.add("journal", {"n": 2})
    assert backlog.due_in(105.0) == 0


def test_when_it_is_full_the_newcomer_is_dropped_and_counted_by_kind() -> None:
    backlog = Backlog(bound=3)
    assert [backlog.add("journal", {"n": n}) for n in range(5)] == [True, True, True, False, False]
    assert backlog.put("a", "demand", change), "a flood of rows does not cost the demand"
    assert backlog.dropped == {"journal": 2}
    assert [row.values["n"] for row in backlog.take(0.0).rows] == [0, 1, 2]
    assert not backlog.add("journal", {"n": 9}), "what was taken still counts until it is written"


def test_changes_are_bounded_too() -> None:
    backlog = Backlog()
    assert [backlog.put(n, "last_used", change) for n in range(2_001)].count(False) == 1
    assert backlog.put(0, "last_used", change), "a replacement takes no room"
    assert backlog.dropped == {"last_used": 1}


def test_of_the_changes_of_one_thing_only_the_newest_waits() -> None:
    async def newer(_: AsyncConnection) -> None:
        """Another change."""

    backlog = Backlog()
    backlog.put("a", "demand", change)
    backlog.put("a", "demand", newer)
    assert backlog.take(0.0).changes == {"a": newer}
    backlog.give_back()
    backlog.put("a", "demand", change)
    assert backlog.take(0.0).changes == {"a": change}


def test_a_change_given_back_does_not_replace_one_that_came_meanwhile() -> None:
    async def newer(_: AsyncConnection) -> None:
        """Another change."""

    backlog = Backlog()
    backlog.put("a", "demand", change)
    backlog.take(0.0)
    backlog.put("a", "demand", newer)
    backlog.give_back()
    assert backlog.take(0.0).changes == {"a": newer}


def test_changes_are_written_also_while_rows_never_end() -> None:
    backlog = Backlog(batch=2)
    for n in range(10):
        backlog.add("journal", {"n": n})
    backlog.put("a", "demand", change)
    assert backlog.take(0.0).changes


@given(st.lists(st.sampled_from(["add", "written", "failed"]), max_size=60))
def test_each_entry_is_written_once_in_order_or_counted_as_dropped(steps: list[str]) -> None:
    backlog = Backlog(bound=10, batch=3)
    offered, written = 0, []
    for step in steps:
        if step == "add":
            backlog.add("journal", {"n": offered})
            offered += 1
        elif len(backlog):
            batch = backlog.take(0.0)
            if step == "written":
                written += [row.values["n"] for row in batch.rows]
                backlog.confirm()
            else:
                backlog.give_back()
    assert written == sorted(set(written))
    assert backlog.written == len(written)
    assert len(backlog) <= 10
    assert offered == len(written) + len(backlog) + backlog.dropped.total()
