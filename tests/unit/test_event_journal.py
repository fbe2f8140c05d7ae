"""The journal: bounded, numbered, and readable from where a reader left off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.event_journal import Entry, Event, Journal


def written(count: int, size: int) -> Journal:
    journal = Journal(size=size, wall_clock=lambda: 0.0)
    for _ in range(count):
        journal.note(Event.DIALLED)
    return journal


@given(st.integers(0, 60), st.integers(1, 20), st.integers(-5, 70))
def test_it_holds_the_newest_entries_and_numbers_tell_what_is_missing(
    count: int, size: int, after: int
) -> None:
    journal = written(count, size)
    assert len(journal) == min(count, size)
    numbers = [entry.number for entry in journal.entries()]
    assert numbers == list(range(max(1, count - size + 1), count + 1))
    assert [entry.number for entry in journal.entries(after)] == [n for n in numbers if n > after]


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(5, 10))
def test_a_reader_that_asks_for_what_is_new_misses_nothing_and_reads_nothing_twice(
    bursts: list[int], size: int
) -> None:
    journal = Journal(size=size)
    read: list[int] = []
    for burst in bursts:
        for _ in range(burst):
            journal.note(Event.LIVE)
        read += [entry.number for entry in journal.entries(after=read[-1] if read else 0)]
    assert read == list(range(1, sum(bursts) + 1))


def test_an_entry_says_what_happened_when_where_to_how_many_and_why() -> None:
    journal = Journal(wall_clock=lambda: 1_700_000_000.9876)
    journal.note(Event.MOVED, connection="zerodha-2", symbols=40, reason="home again")
    assert journal.entries() == [Entry(1, 1_700_000_000_987, Event.MOVED, "zerodha-2", 40, "home again")]


def test_what_concerns_the_whole_pool_names_no_connection() -> None:
    journal = Journal(wall_clock=lambda: 0.0)
    journal.note(Event.RENEWED)
    assert journal.entries() == [Entry(1, 0, Event.RENEWED, "", 0, "")]


def test_what_was_read_does_not_change_when_more_is_written() -> None:
    journal = written(3, 3)
    read = journal.entries()
    journal.note(Event.LOST)
    assert [entry.number for entry in read] == [1, 2, 3]


def test_entries_cannot_be_changed_by_their_readers() -> None:
    journal = written(1, 1)
    with pytest.raises(AttributeError):
        journal.entries()[0].reason = "another"  # type: ignore[misc]


def test_a_day_s_entries_take_no_more_than_the_ring() -> None:
    assert len(written(10_000, 2000)) == 2000
    assert repr(written(3, 2)) == "<Journal 2 entries>"


@given(st.lists(st.sampled_from((Event.LIVE, Event.LOST, Event.REFUSED)), max_size=60), st.integers(3, 12))
def test_whatever_happens_often_pushes_out_nothing_but_itself(events: list[Event], size: int) -> None:
    journal = Journal(size=size)
    for event in events:
        journal.note(event)
    kept = [entry.event for entry in journal.entries()]
    assert len(kept) == min(len(events), size)
    for event in (Event.LIVE, Event.LOST, Event.REFUSED):
        assert kept.count(event) >= min(events.count(event), size // 3)
    assert journal.entries() == sorted(journal.entries())


def test_a_flood_of_refusals_leaves_what_happened_before_it() -> None:
    journal = Journal(size=50)
    journal.note(Event.LIVE, connection="zerodha-1")
    for n in range(10_000):
        journal.note(Event.REFUSED, reason=str(n))
    oldest, *others = journal.entries()
    assert (oldest.event, oldest.connection) == (Event.LIVE, "zerodha-1")
    assert [entry.reason for entry in others] == [str(n) for n in range(9_951, 10_000)]
    assert journal.counts()["refused"] == 10_000


def test_each_journal_that_it_passes_on_to_notes_everything_under_the_name_that_it_was_given() -> None:
    journal, node, gateways = Journal(), Journal(), Journal()
    journal.pass_on(node, "zerodha")
    journal.pass_on(gateways, "first")
    journal.note(Event.LIVE, connection="zerodha-1")
    journal.note(Event.DATABASE_AWAY)
    assert [entry.connection for entry in node.entries()] == ["zerodha-1", "zerodha"]
    assert [entry.connection for entry in gateways.entries()] == ["zerodha-1", "first"]
