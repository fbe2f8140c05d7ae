"""Where symbols are carried while connections fail and return: nobody is left without a word."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from brokerpool import Mode, SymbolState
from brokerpool.event_journal import Event
from brokerpool.feed.backoff import PROVEN_SECONDS
from brokerpool.testing.virtual_loop import run, until
from tests.unit.replica_stage import EVICTED, GRACE, SIZE, SYMBOLS, Stage, now, on_stage, stage


@on_stage()
async def test_after_the_grace_the_most_important_symbols_move_to_what_room_there_is_and_the_others_are_told(
    s: Stage,
) -> None:
    for n in range(4):
        s.subscribe([SYMBOLS[n]], priority=n)
    s.subscribe(SYMBOLS[4:6])
    await s.live()
    s.broker.kill("ws-1")
    await asyncio.sleep(GRACE - 0.5)
    assert s.hosted("ws-2") == [], "not before the grace is over"
    took = await until(lambda: s.placement.has_hosted)
    assert took <= 0.5 + 1.1, "and within a look after it"
    assert s.hosted("ws-2") == SYMBOLS[2:4]
    await until(lambda: s.pool.state(SYMBOLS[3]) is SymbolState.LIVE, 1.0)
    assert s.pool.state(SYMBOLS[0]) is SymbolState.DEGRADED
    assert sorted(s.told.degraded) == SYMBOLS[:2]
    assert s.told.open == set(SYMBOLS[:2])
    assert s.pool.get_pool_stats()["websocket"]["symbols_degraded"] == 2


@on_stage(connections=2)
async def test_what_its_home_serves_again_is_not_told_to_be_degraded_when_its_place_as_a_guest_is_needed(
    s: Stage,
) -> None:
    s.subscribe(SYMBOLS[:6])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: len(s.hosted("ws-2")) == 2)
    guests = s.hosted("ws-2")
    s.broker.refuses.clear()
    await until(lambda: all(s.told.last[i] is SymbolState.LIVE for i in SYMBOLS[:4]), 60.0)
    assert s.hosted("ws-2") == guests, "that the home is back is noticed at the next look"
    s.subscribe(SYMBOLS[12:14])
    await asyncio.sleep(0.1)
    assert s.hosted("ws-2") == []
    assert {s.told.last[i] for i in guests} == {SymbolState.LIVE}
    await asyncio.sleep(15.0)
    assert {s.told.last[i] for i in SYMBOLS[:4]} == {SymbolState.LIVE}


@on_stage()
async def test_what_found_no_room_is_first_in_line_for_the_next_free_place(s: Stage) -> None:
    for n in range(4):
        s.subscribe([SYMBOLS[n]], priority=n)
    s.subscribe(SYMBOLS[4:8])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: len(s.told.degraded) == 4)
    s.pool.unsubscribe(SYMBOLS[5])
    await asyncio.sleep(0)
    assert s.hosted("ws-2") == [SYMBOLS[3]]
    s.pool.unsubscribe(SYMBOLS[4])
    s.subscribe([SYMBOLS[12]])
    await asyncio.sleep(0)
    assert s.hosted("ws-2") == SYMBOLS[2:4]
    assert s.placement.slot(SYMBOLS[12]) == "ws-3", "newcomers open another connection"
    await until(lambda: s.placement.host(SYMBOLS[0]) is not None)
    await until(lambda: all(s.pool.state(i) is SymbolState.LIVE for i in SYMBOLS[:4]), 5.0)


@on_stage()
async def test_hosted_symbols_go_home_without_a_hole_once_their_home_has_stood_for_ten_seconds_and_ticks(
    s: Stage,
) -> None:
    s.subscribe(SYMBOLS[:6])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: len(s.hosted("ws-2")) == 2)
    await until(lambda: not s.told.open & set(s.hosted("ws-2")))
    hosted, holes = s.hosted("ws-2"), {i: len(g) for i, g in s.told.gaps.items()}
    s.broker.refuses.clear()
    await until(lambda: s.broker.socket("ws-1") is not None)
    await until(lambda: not s.placement.has_hosted)
    home = s.broker.socket("ws-1")
    assert home is not None
    assert PROVEN_SECONDS <= now() - home.opened_at <= PROVEN_SECONDS + 1.2
    await s.live()
    await asyncio.sleep(30.0)
    assert s.settled()
    assert {i: len(s.told.gaps[i]) for i in hosted} == {i: holes[i] for i in hosted}
    assert not s.told.open


@on_stage()
async def test_a_home_that_comes_back_mute_does_not_take_its_symbols_from_the_one_that_works(
    s: Stage,
) -> None:
    s.subscribe(SYMBOLS[:6])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: len(s.hosted("ws-2")) == 2)
    await asyncio.sleep(1.0)
    hosted = s.hosted("ws-2")
    s.broker.mutes.add("ws-1")
    s.broker.refuses.clear()
    for _ in range(600):
        await asyncio.sleep(0.1)
        assert not s.told.open & set(hosted), "they were served, and are not any more"
    s.broker.mutes.clear()
    await s.live()


@on_stage(connections=1)
async def test_when_the_only_connection_is_back_no_symbol_is_called_degraded_any_more(s: Stage) -> None:
    s.subscribe(SYMBOLS[:3])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: len(s.told.degraded) == 3)
    s.broker.refuses.clear()
    await until(lambda: s.broker.socket("ws-1") is not None)
    await asyncio.sleep(0.1)
    await s.pool.wait_live(SYMBOLS[:3], timeout=5.0)
    assert [s.pool.state(i) for i in SYMBOLS[:3]] == [SymbolState.LIVE] * 3
    await until(lambda: s.pool.get_pool_stats()["websocket"]["symbols_degraded"] == 0, 1.2)
    await s.live()


@on_stage(connections=2)
async def test_hosted_symbols_make_room_for_symbols_at_home_the_least_important_first(s: Stage) -> None:
    for n in range(4):
        s.subscribe([SYMBOLS[n]], priority=n)
    s.subscribe(SYMBOLS[4:6])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: s.hosted("ws-2") == SYMBOLS[2:4])
    await asyncio.sleep(1.0)
    s.subscribe([SYMBOLS[6]])
    assert s.hosted("ws-2") == [SYMBOLS[3]]
    await asyncio.sleep(0)
    assert s.pool.state(SYMBOLS[2]) is SymbolState.DEGRADED
    await until(lambda: s.pool.state(SYMBOLS[6]) is SymbolState.LIVE, 2.0)
    assert SYMBOLS[2] in s.told.open
    assert SYMBOLS[3] not in s.told.open
    s.broker.refuses.clear()
    await s.live()


@on_stage()
async def test_a_host_that_is_lost_too_gives_its_hosted_symbols_to_the_next_one(s: Stage) -> None:
    s.subscribe(SYMBOLS[:10])
    await s.live()
    s.pool.unsubscribe(SYMBOLS[1:4])
    s.pool.unsubscribe(SYMBOLS[4])
    s.broker.kill("ws-1")
    await until(lambda: s.placement.host(SYMBOLS[0]) == "ws-2")
    s.broker.kill("ws-2")
    await until(lambda: s.placement.host(SYMBOLS[0]) == "ws-3")
    await until(lambda: s.pool.state(SYMBOLS[0]) is SymbolState.LIVE, 2.0)
    s.broker.refuses.clear()
    await s.live()


@on_stage(connections=2)
async def test_a_connection_that_was_host_and_is_lost_asks_for_no_more_than_it_may_when_it_returns(
    s: Stage,
) -> None:
    s.subscribe(SYMBOLS[:6])
    await s.live()
    s.broker.kill("ws-1")
    await until(lambda: len(s.hosted("ws-2")) == 2)
    s.broker.refuses.clear()
    await until(lambda: s.broker.socket("ws-1") is not None)
    s.broker.kill("ws-2")
    await asyncio.sleep(GRACE + 1.5)
    assert s.placement.has_hosted, "ws-1 has not been back for long enough"
    s.subscribe(SYMBOLS[6:8])
    s.broker.refuses.clear()
    await s.live()


@on_stage()
async def test_an_eviction_is_not_answered_by_a_dial_and_the_symbols_move(s: Stage) -> None:
    s.subscribe(SYMBOLS[:6])
    await s.live()
    await asyncio.sleep(20.0)
    evicted = s.broker.socket("ws-1")
    assert evicted is not None
    dials = len(s.broker.dialled)
    evicted.close(EVICTED)
    await until(lambda: len(s.hosted("ws-2")) == 2)
    await asyncio.sleep(40.0)
    assert len(s.broker.dialled) == dials
    assert s.pool.get_pool_stats()["websocket"]["allowed_connections"] == 1
    await s.live()
    assert s.events(Event.EVICTED) == ["ws-1"]


@on_stage()
async def test_while_the_broker_is_away_one_connection_dials_on_behalf_of_all(s: Stage) -> None:
    s.subscribe(SYMBOLS[:9])
    await s.live()
    dials = len(s.broker.dialled)
    s.broker.refuses.add("*")
    for socket in list(s.broker.sockets):
        socket.abort()
    await asyncio.sleep(0.005)
    s.broker.refuses.clear()
    s.broker.refuses.add("*")
    await asyncio.sleep(1.0)
    assert len(s.broker.dialled) > dials
    s.broker.refuses.clear()
    await s.live()
    assert set(s.told.gaps) == set(SYMBOLS[:9]), "each hole is told"
    assert not s.told.open


@pytest.mark.parametrize("seed", range(20))
def test_after_any_losses_every_symbol_is_served_by_its_home_alone(seed: int) -> None:
    async def main() -> None:
        chance = Random(seed)
        async with stage(linger=3.0, socket_life_seconds=chance.choice([0.0, 60.0])) as s:
            for _ in range(40):
                match chance.randrange(7):
                    case 0 | 1:
                        batch = chance.sample(SYMBOLS, chance.randint(1, 6))
                        priority = chance.randint(0, 2)
                        s.pool.subscribe(batch, Mode.LTP, priority=priority, partial=True)
                    case 2:
                        s.pool.unsubscribe(chance.sample(SYMBOLS, 4))
                    case 3 if s.broker.sockets:
                        chance.choice(s.broker.sockets).abort()
                    case 4:
                        s.broker.refuses = {f"ws-{chance.randint(1, 9)}" for _ in range(2)}
                    case 5:
                        s.broker.refuses.clear()
                    case 6:
                        s.broker.mutes = {f"ws-{chance.randint(1, 9)}"} if chance.random() < 0.5 else set()
                await asyncio.sleep(chance.choice([0.0, 0.3, 2.0, 7.0, 20.0]))
                for name in s.placement.loads:
                    assert s.placement.carried(name) <= SIZE
            s.broker.refuses.clear()
            s.broker.mutes.clear()
            for socket in s.broker.sockets:
                socket.mute = False
            await until(s.settled, 2000.0)
            await until(lambda: not s.told.open, 10.0)

    run(main)
