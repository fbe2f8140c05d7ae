"""A connection that still works is emptied before it is closed: symbols move, and nobody notices."""

from __future__ import annotations

import asyncio

from brokerpool import Credentials
from brokerpool.event_journal import Event
from brokerpool.testing.virtual_loop import until
from tests.unit.replica_stage import SYMBOLS, Stage, on_stage


@on_stage(connections=2, socket_life_seconds=1000.0)
async def test_a_socket_near_its_end_is_replaced_by_another_one_before_it_is_closed_and_nobody_notices(
    s: Stage,
) -> None:
    s.subscribe(SYMBOLS[:4])
    await s.live()
    old = s.broker.socket("ws-1")
    assert old is not None
    took = await until(lambda: s.broker.socket("ws-2") is not None, 2000.0)
    assert 895 <= took <= 905, "a tenth of its life ahead"
    assert not old.closed
    await until(lambda: old.closed, 20.0)
    assert s.placement.loads == {"ws-2": 4}
    await asyncio.sleep(5.0)
    assert s.settled()
    assert not s.told.gaps
    assert not s.told.open
    assert s.events(Event.ROTATED) == ["ws-1"]


@on_stage(connections=1, socket_life_seconds=1000.0)
async def test_without_a_free_seat_a_socket_lives_on_to_its_end(s: Stage) -> None:
    s.subscribe(SYMBOLS[:4])
    await s.live()
    await asyncio.sleep(990.0)
    assert s.settled()
    assert s.events(Event.ROTATED) == ["ws-1"], "tried, and told, once"
    assert len(s.broker.dialled) == 1


@on_stage(connections=3)
async def test_new_credentials_replace_each_connection_one_after_the_other_without_a_hole(s: Stage) -> None:
    s.subscribe(SYMBOLS[:7])
    await s.live()
    old = list(s.broker.sockets)
    s.pool.feed.login.renew(Credentials("tuesday"))
    await until(lambda: all(socket.closed for socket in old))
    await s.live()
    assert not s.told.gaps
    assert not s.told.open


@on_stage(connections=2)
async def test_a_new_socket_that_is_mute_does_not_replace_one_that_works(s: Stage) -> None:
    s.subscribe(SYMBOLS[:4])
    await s.live()
    s.broker.mutes.add("ws-2")
    s.pool.feed.login.renew(Credentials("tuesday"))
    await until(lambda: s.broker.socket("ws-2") is not None)
    for _ in range(600):
        await asyncio.sleep(0.1)
        assert not s.told.open


@on_stage(linger=30.0)
async def test_the_smallest_connection_is_emptied_and_closed_when_the_others_have_had_room_for_long(
    s: Stage,
) -> None:
    s.subscribe(SYMBOLS[:9])
    await s.live()
    s.pool.unsubscribe(SYMBOLS[1:4])
    await asyncio.sleep(29.0)
    assert len(s.broker.sockets) == 3
    await until(lambda: len(s.broker.sockets) == 2, 10.0)
    await s.live()
    assert not s.told.gaps
    assert not s.told.open
    await asyncio.sleep(300.0)
    assert len(s.broker.sockets) == 2, "and the others are left alone"


@on_stage(placement="least-loaded")
async def test_evenly_loaded_connections_are_not_emptied(s: Stage) -> None:
    s.subscribe(SYMBOLS[:3])
    await s.live()
    await asyncio.sleep(300.0)
    assert len(s.broker.sockets) == 3


@on_stage(socket_life_seconds=1000.0)
async def test_a_rotation_waits_while_a_connection_is_out_whatever_the_priorities(s: Stage) -> None:
    s.subscribe(SYMBOLS[:4], priority=9)
    await s.live()
    await asyncio.sleep(100.0)
    s.subscribe(SYMBOLS[4:8], priority=0)
    s.subscribe(SYMBOLS[8:11], priority=0)
    await s.live()
    s.broker.kill("ws-2")
    await until(lambda: s.hosted("ws-3") == [SYMBOLS[4]])
    await until(lambda: SYMBOLS[4] not in s.told.open)
    await asyncio.sleep(1000.0)  # the first one is due, and its hosted symbol's place would be taken away
    assert not s.events(Event.ROTATED)
    assert s.hosted("ws-3") == [SYMBOLS[4]]
    assert len(s.told.gaps[SYMBOLS[4]]) == 1
    assert not s.told.gaps.keys() & set(SYMBOLS[:4])


@on_stage(connections=2, socket_life_seconds=1000.0)
async def test_a_connection_that_dies_while_it_is_emptied_loses_nobody(s: Stage) -> None:
    s.subscribe(SYMBOLS[:4])
    await s.live()
    s.broker.refuses.add("ws-2")
    await until(lambda: s.placement.has_hosted, 1000.0)
    s.broker.kill("ws-1", for_good=False)
    s.broker.refuses.clear()
    await s.live()


@on_stage(connections=2, linger=5.0, socket_life_seconds=1000.0)
async def test_what_is_given_up_while_its_connection_is_emptied_leaves_nothing_behind(s: Stage) -> None:
    s.subscribe(SYMBOLS[:4])
    await s.live()
    await until(lambda: s.placement.has_hosted, 1000.0)
    s.pool.release("default")
    assert not s.placement.has_hosted
    await until(lambda: not s.broker.sockets, 20.0)
    assert s.placement.loads == {}
