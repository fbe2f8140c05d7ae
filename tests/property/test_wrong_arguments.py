"""Whatever callers hand over: a call changes all that it was asked for, or nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from brokerpool import BrokerpoolError, Instrument, Mode
from brokerpool.testing.virtual_loop import run, until
from tests.unit.replica_stage import SYMBOLS, Stage, stage


class HalfwayError(Exception):
    """What a caller's iterator raises."""


def broken_off(entries: list[Any]) -> Iterator[Any]:
    yield from entries
    raise HalfwayError


good = st.sampled_from([*SYMBOLS[:14], *map(str, SYMBOLS[:14])])
bad = st.sampled_from(
    [
        *(None, 7, 1.5, True, b"NSE:S01", "SBIN", "", ":", "NSE:", object(), ["NSE:S01"], ("NSE", "S01")),
        Instrument("NSE", None),  # type: ignore[arg-type]
        Instrument("NSE", []),  # type: ignore[arg-type]
        Instrument("NSE", "UNHEARD"),
    ]
)
entries = st.lists(good, max_size=6) | st.lists(good | bad, max_size=6)
lists = (
    entries
    | entries.map(tuple)
    | entries.map(iter)
    | entries.map(broken_off)
    | good
    | st.sampled_from([None, 7, "SBIN", b"NSE:S01", float("nan"), object()])
)
modes = st.sampled_from([*Mode]) | st.sampled_from([1, 2, 7, "LTP", "ltp", "quote", 1.0, True, ()])
owners = st.sampled_from(["a", "b"]) | st.sampled_from([None, "", 7, ("a",)])
priorities = st.sampled_from([0, 3, -1]) | st.sampled_from([float("nan"), 1.0, "1", None, True])
calls = st.one_of(
    st.tuples(st.just("subscribe"), lists, modes, owners, priorities),
    st.tuples(st.just("unsubscribe"), lists, st.none() | modes, owners),
    st.tuples(st.just("release"), owners),
)


def state_of(s: Stage) -> Any:
    """Return all that a call could change: what is wanted, and where it is to be carried."""
    demand = s.pool.demand
    return (
        demand.changes,
        {i: (demand.owners(i), demand.priority(i)) for i in demand.instruments()},
        {name: list(s.placement.homes(name)) for name in s.placement.loads},
        {name: c.stats()["symbols"] for name, c in s.replica.connections.items()},
        dict(s.pool._tokens),
    )


@given(st.lists(calls, min_size=1, max_size=12))
@settings(max_examples=300)
def test_a_call_changes_everything_or_nothing_and_the_broker_serves_what_is_wanted(
    played: list[tuple[Any, ...]],
) -> None:
    async def main() -> None:
        async with stage() as s:
            s.pool.subscribe(SYMBOLS[:2], Mode.LTP, owner="a")
            for call in played:
                before = state_of(s)
                try:
                    match call:
                        case "subscribe", given, mode, owner, priority:
                            result = s.pool.subscribe(given, mode, owner=owner, priority=priority)
                            assert not result.refused
                            assert all(mode in s.pool.demand.held(owner, i) for i in result.accepted)
                        case "unsubscribe", given, mode, owner:
                            gone = s.pool.unsubscribe(given, mode, owner=owner)
                            assert not any(
                                m in s.pool.demand.held(owner, i)
                                for i in gone
                                for m in (Mode if mode is None else (mode,))
                            )
                        case _, owner:
                            s.pool.release(owner)
                            assert s.pool.demand.count(owner) == 0
                except (TypeError, ValueError, BrokerpoolError, HalfwayError):
                    assert state_of(s) == before, "a refused call has changed something"
            await until(s.settled)
            served = {token for tokens in s.broker.served().values() for token in tokens}
            assert served == {SYMBOLS.index(i) for i in s.pool.demand.instruments()}

    run(main)
