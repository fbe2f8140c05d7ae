"""Whether a newer instrument list may replace the one in use: what it lost is told, what expires is not."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brokerpool.gateway.instrument_counts import Counts, by_exchange, counted, lost
from brokerpool.instruments import Details, Instrument, TokenBook

#: About what Kite listed in 2026.
WHOLE: Counts = {
    ("NSE", "EQ"): 9_800,
    ("BSE", "EQ"): 12_700,
    ("NFO", "FUT"): 640,
    ("NFO", "CE"): 24_000,
    ("NFO", "PE"): 24_000,
    ("BFO", "FUT"): 12,
    ("BFO", "CE"): 2_100,
    ("MCX", "FUT"): 120,
    ("MCX", "CE"): 9_000,
    ("NSE_INDEX", "INDEX"): 140,
    ("GLOBAL_INDEX", "INDEX"): 13,
    ("BCD", "FUT"): 3,
}


def without(*keys: tuple[str, str], **rows: int) -> Counts:
    return {k: n for k, n in WHOLE.items() if k not in keys} | {("NFO", k): n for k, n in rows.items()}


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ({("NSE", "EQ"): 1}, "it has 1 rows instead of"),
        ({}, "it has 0 rows instead of"),
        (without(("MCX", "FUT"), ("MCX", "CE")), "it lacks all 9120 rows of MCX"),
        (without(("BCD", "FUT")), "it lacks all 3 rows of BCD"),
        (without(("GLOBAL_INDEX", "INDEX")), "it lacks all 13 rows of GLOBAL_INDEX"),
        (without(FUT=0), "it lacks all 640 rows of NFO that are FUT"),
        (without(("NFO", "PE")), "it lacks all 24000 rows of NFO that are PE"),
        (without(CE=10_000, PE=10_000), "it lacks 28000 of 48640 rows of NFO"),
    ],
)
def test_a_list_that_lost_most_of_its_rows_or_a_whole_kind_of_them_is_found_out(
    new: Counts, told: str
) -> None:
    assert told in lost(WHOLE, new)


@pytest.mark.parametrize(
    "new",
    [
        WHOLE,
        without(CE=14_000, PE=14_000),  # a month's contracts have expired
        without(CE=60_000, PE=60_000),
        {**WHOLE, ("CDS", "FUT"): 60},
        {**WHOLE, ("GLOBAL_INDEX", "INDEX"): 4},  # too few for a share to mean anything
    ],
)
def test_what_expires_and_what_is_new_changes_nothing(new: Counts) -> None:
    assert lost(WHOLE, new) == ""


def test_the_first_list_replaces_an_empty_one() -> None:
    assert lost({}, WHOLE) == ""


def test_rows_are_counted_by_exchange_and_kind() -> None:
    book = TokenBook()
    book.add(Instrument("NFO", "A"), 1, Details("A", "NFO", kind="FUT"))
    book.add(Instrument("NFO", "B"), 2, Details("B", "NFO", kind="CE"))
    book.add(Instrument("NSE", "C"), 3)
    counts = asyncio.run(counted(book))
    assert counts == {("NFO", "FUT"): 1, ("NFO", "CE"): 1, ("NSE", ""): 1}
    assert by_exchange(counts) == {"NFO": 2, "NSE": 1}


counts_of_any = st.dictionaries(
    st.tuples(st.sampled_from(["NSE", "NFO", "MCX"]), st.sampled_from(["", "EQ", "FUT", "CE"])),
    st.integers(0, 50_000),
)


@given(counts_of_any, counts_of_any)
def test_a_list_that_has_no_less_of_anything_is_always_taken(old: Counts, more: Counts) -> None:
    new = {key: old.get(key, 0) + more.get(key, 0) for key in {*old, *more}}
    assert lost(old, new) == ""


@given(counts_of_any, counts_of_any)
def test_no_exchange_is_ever_lost_unnoticed(old: Counts, new: Counts) -> None:
    before, after = by_exchange(old), by_exchange(new)
    if any(rows and not after.get(exchange) for exchange, rows in before.items()):
        assert lost(old, new)
