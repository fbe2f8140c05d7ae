"""After any sequence of connections, requests and ends: who waits gives way, and nobody is forgotten."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from brokerpool.gateway.connection_slots import ConnectionSlots

MOST, SPARE = 2, 2

steps = st.lists(
    st.tuples(
        st.sampled_from(["enter", "enter", "answer", "wait", "leave"]),
        st.integers(0, 9),
        st.sampled_from("abc"),
    ),
    min_size=20,
    max_size=120,
)


@given(steps)
def test_the_longest_waiting_of_the_busiest_address_gives_way_and_the_numbers_hold(
    steps: list[tuple[str, int, str]],
) -> None:
    slots: ConnectionSlots[int] = ConnectionSlots(MOST, SPARE)
    address: dict[int, str] = {}
    waiting: list[int] = []  # longest first
    peak = 0  # the most that were answered at once: none of them can give way
    for what, which, where in steps:
        if what == "enter":
            if which in address:
                continue
            crowd = Counter(address[c] for c in waiting)
            full = len(address) >= MOST + SPARE and bool(waiting)
            left = slots.enter(which, where)
            assert (left is not None) == full
            if left is not None:
                assert crowd[address[left]] == max(crowd.values())
                assert left == next(c for c in waiting if address[c] == address[left])
                waiting.remove(left)
                del address[left]
            address[which] = where
            waiting.append(which)
        elif what == "leave":
            slots.leave(which)
            address.pop(which, None)
            waiting = [c for c in waiting if c != which]
        elif what == "answer":
            slots.answer(which)
            waiting = [c for c in waiting if c != which]
        else:
            slots.wait(which)
            if which in address and which not in waiting:
                waiting.append(which)
        assert sorted(slots) == sorted(address)
        answered = len(address) - len(waiting)
        assert slots.full == (answered > MOST)
        assert slots.taken == (len(address) >= MOST + SPARE and not waiting)
        peak = max(peak, answered)
        assert len(slots) <= max(MOST + SPARE, peak + 1)
