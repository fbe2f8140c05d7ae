"""Demand as state: what a feed node has merged is what the gateway wants, in whatever order slices come."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.cluster.demand_state import SLICES, ReadDemand, Wanted, WrittenDemand, hashed
from brokerpool.cluster.messages import Decoder, DemandSlice, encode
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

_INSTRUMENTS = [Instrument("NSE", f"S{n:03}") for n in range(40)]
_wanted = st.one_of(st.none(), st.builds(Wanted, st.sampled_from(Mode), st.integers(-2, 2)))
_steps = st.lists(st.tuples(st.sampled_from(_INSTRUMENTS), _wanted), max_size=60)
_decode = Decoder(DemandSlice)


@given(_steps, st.integers(0, 2**32))
def test_slices_that_come_twice_and_out_of_order_leave_exactly_what_is_wanted(
    steps: list[tuple[Instrument, Wanted | None]], seed: int
) -> None:
    random, written, read = Random(seed), WrittenDemand("g"), ReadDemand()
    wanted: dict[Instrument, Wanted] = {}
    sent: list[DemandSlice] = []
    held: dict[Instrument, Wanted] = {}

    def arrive(slice_: DemandSlice) -> None:
        if read.saw(slice_):
            change = read.change(slice_)
            for instrument in change.given_up:
                del held[instrument]
            held.update((i, how) for how, some in change.wanted.items() for i in some)

    for instrument, how in steps:
        written.want(instrument, how)
        if how is None:
            wanted.pop(instrument, None)
        else:
            wanted[instrument] = how
        if random.random() < 0.5:
            slices = list(written.changed())
            assert len(slices) <= SLICES
            sent += slices
        if sent and random.random() < 0.5:
            arrive(random.choice(sent))
    sent += written.changed()
    last = {slice_.number: slice_ for slice_ in sent}
    some = [*sent, *sent]
    random.shuffle(some)
    for slice_ in (*some, *last.values()):
        decoded = _decode(encode(slice_))
        assert decoded == slice_
        arrive(decoded)
    assert held == wanted


@given(_steps)
def test_a_slice_is_given_again_until_its_last_version_is_answered(
    steps: list[tuple[Instrument, Wanted | None]],
) -> None:
    written = WrittenDemand("g")
    for instrument, how in steps:
        written.want(instrument, how)
    slices = {slice_.number: slice_ for slice_ in written.changed()}
    for slice_ in slices.values():
        written.answered(slice_.number, slice_.version - 1)
    assert {slice_.number for slice_ in written.unanswered()} == set(slices)
    for slice_ in slices.values():
        written.answered(slice_.number, slice_.version)
    assert not list(written.unanswered())
    written.everything()
    assert {slice_.number for slice_ in written.unanswered()} == set(slices)


def test_one_change_sends_the_symbols_of_one_slice_again_and_no_others() -> None:
    written = WrittenDemand("g")
    for instrument in _INSTRUMENTS:
        written.want(instrument, Wanted(Mode.LTP))
    list(written.changed())
    written.want(_INSTRUMENTS[0], Wanted(Mode.DEPTH))
    (slice_,) = written.changed()
    assert slice_.number == hashed(_INSTRUMENTS[0], SLICES)
    assert len(slice_.wanted) < len(_INSTRUMENTS) / 2
    written.want(_INSTRUMENTS[0], Wanted(Mode.DEPTH))
    assert not list(written.changed()), "what is wanted already is no change"


def test_what_a_gateway_wants_first_by_priority_is_asked_for_first() -> None:
    written, read = WrittenDemand("g"), ReadDemand()
    same = [i for i in (Instrument("NSE", f"T{n}") for n in range(400)) if hashed(i, SLICES) == 3][:3]
    for priority, instrument in enumerate(same):
        written.want(instrument, Wanted(Mode.LTP, priority))
    (slice_,) = written.changed()
    assert read.saw(slice_)
    assert [how.priority for how in read.change(slice_).wanted] == [2, 1, 0]
