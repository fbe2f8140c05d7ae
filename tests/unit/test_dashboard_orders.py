"""An operator's orders to the pool, in invented time: symbols move before their connection is closed."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Event
from brokerpool.testing.virtual_loop import run, until
from tests.unit.replica_stage import SYMBOLS, Stage, stage


def names(s: Stage) -> list[str]:
    return list(s.replica.connections)


def refused(s: Stage, order: str, name: str) -> BrokerpoolError:
    before = (s.placement.loads, len(s.pool.journal))
    with pytest.raises(BrokerpoolError) as caught:
        getattr(s.pool, order)(name)
    assert (s.placement.loads, len(s.pool.journal)) == before, "nothing has changed"
    return caught.value


def test_a_rotated_connection_is_closed_after_a_new_one_serves_its_symbols_and_no_gap_opens() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:4])
            await s.live()
            assert s.pool.rotate("ws-1") == 4
            assert s.pool.inspection.evacuating() == ["ws-1"]
            old = s.broker.socket("ws-1")
            assert old is not None
            while not old.closed:
                assert sorted(old.tokens) or sorted(s.broker.served()["ws-2"]) == [0, 1, 2, 3]
                await asyncio.sleep(0.05)
            await s.live()
            assert names(s) == ["ws-2"]
            assert not s.told.gaps
            assert not s.told.open
            assert s.events(Event.ORDERED) == s.events(Event.ROTATED) == ["ws-1"]

    run(main)


def test_a_drained_connection_gives_its_symbols_to_the_open_ones_and_no_other_is_opened() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            s.pool.unsubscribe(SYMBOLS[:2])
            await s.live()
            assert s.pool.drain("ws-1") == 2
            await until(lambda: names(s) == ["ws-2"])
            await s.live()
            assert s.broker.peak == 2
            assert not s.told.gaps

    run(main)


def test_an_order_for_which_there_is_no_room_is_refused_with_the_numbers_and_changes_nothing() -> None:
    async def main() -> None:
        async with stage(connections=2) as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            for order in ("drain", "rotate"):
                error = refused(s, order, "ws-1")
                assert error.code is ErrorCode.CONNECTION_NOT_MOVABLE
                assert "carries 4 symbols, and other connections have room for 2 (2 of 2 are open" in str(
                    error
                )
            assert refused(s, "rotate", "ws-9").code is ErrorCode.CONNECTION_UNKNOWN

    run(main)


def test_a_drain_never_opens_a_connection_where_a_rotation_would() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            assert "none is opened for this" in str(refused(s, "drain", "ws-1"))
            assert s.pool.rotate("ws-1") == 4
            await until(lambda: names(s) == ["ws-2", "ws-3"])
            await s.live()

    run(main)


def test_one_order_at_a_time_and_only_for_a_connection_that_is_live() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:8])
            await s.live()
            s.pool.rotate("ws-1")
            assert "moved already (ws-1)" in str(refused(s, "rotate", "ws-2"))
            await until(lambda: "ws-1" not in names(s))
            await s.live()
            s.broker.kill("ws-2")
            await until(lambda: not s.replica.connections["ws-2"].live)
            assert "ws-2 is " in str(refused(s, "rotate", "ws-2"))

    run(main)


def test_a_connection_whose_replacement_never_ticks_keeps_its_symbols() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:4])
            await s.live()
            s.broker.mutes.add("ws-2")
            s.pool.rotate("ws-1")
            await until(lambda: s.events(Event.ROTATED))
            assert "ws-1" in names(s), "what could not be moved stays where it is served"
            assert s.broker.served()["ws-1"] == [0, 1, 2, 3]
            assert not s.told.gaps

    run(main)
