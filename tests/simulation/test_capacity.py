"""A broker that tells modes apart: what rises stays, moves or is refused, and what falls makes room."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from brokerpool import ErrorCode, Mode, PoolExhaustedError, WebSocketPool
from brokerpool.brokers.capacity import Limit, ModeRule
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.instruments import Token
from brokerpool.testing.scripted_broker import Refusal
from brokerpool.testing.virtual_loop import run
from tests.capacity_rules import RULES, scaled
from tests.simulation.stage import Stage, stage
from tests.simulation.witness import Witness

#: Four places a socket; an order book takes two.
BOOKS = {"modes": ModeRule((Limit(4, (0, 1, 1, 2)),))}
#: Four prices, or four order books; where they mix three prices and two books.
MIXED = {
    "modes": ModeRule((Limit(3, (0, 1, 0, 0), mixed=True), Limit(2, (0, 0, 1, 1), mixed=True)), (0, 0, 1, 1))
}
OFTEN = {"beats": (1, 2)}


def books(**pool: Any) -> Any:
    return stage(symbols=12, per_connection=4, connections=2, limits=BOOKS, broker=OFTEN, **pool)


def mixed(**pool: Any) -> Any:
    return stage(symbols=12, per_connection=4, connections=2, limits=MIXED, broker=OFTEN, **pool)


def watched(scene: Stage) -> Witness:
    witness = Witness(scene.broker, scene.pool)
    scene.pool.listen(witness)
    return witness


def served(scene: Stage) -> list[list[tuple[Token, Mode]]]:
    return [sorted(socket.tokens.items(), key=str) for socket in scene.broker.sockets]


def test_a_mode_that_fits_rises_where_it_is() -> None:
    async def main() -> None:
        async with books() as scene:
            scene.pool.subscribe(scene.feed.instruments[:3], Mode.LTP)
            scene.pool.subscribe(scene.feed.instruments[:1], Mode.DEPTH, owner="book")
            await scene.until(scene.all_live, 20)
            await asyncio.sleep(2)
            assert served(scene) == [[(1, Mode.DEPTH), (2, Mode.LTP), (3, Mode.LTP)]]

    run(main)


@pytest.mark.parametrize("redundancy", [1, 2])
def test_a_mode_that_rises_on_a_full_socket_moves_without_a_hole(redundancy: int) -> None:
    async def main() -> None:
        two: dict[str, Any] = {"connections": 2 * redundancy, "redundancy": redundancy}
        async with stage(symbols=12, per_connection=4, limits=BOOKS, broker=OFTEN, **two) as scene:
            witness, four = watched(scene), scene.feed.instruments[:4]
            scene.pool.subscribe(four, Mode.QUOTE)
            witness.look(four)
            await scene.until(scene.all_live, 20)
            await asyncio.sleep(3)
            scene.pool.subscribe(four[:1], Mode.DEPTH, owner="book")
            await asyncio.sleep(25)
            moved = [[(1, Mode.DEPTH)], [(2, Mode.QUOTE), (3, Mode.QUOTE), (4, Mode.QUOTE)]]
            assert sorted(served(scene)) == sorted(moved * redundancy)
            assert witness.missed == 0
            assert witness.gaps == 0
            assert witness.problems == []

    run(main)


def test_a_mode_for_which_no_socket_has_room_is_refused_and_the_old_one_stays() -> None:
    async def main() -> None:
        async with books() as scene:
            eight = scene.feed.instruments[:8]
            scene.pool.subscribe(eight, Mode.LTP)
            await scene.until(scene.all_live, 20)
            with pytest.raises(PoolExhaustedError, match=r"LTP \+ Quote \+ 2 x Depth") as raised:
                scene.pool.subscribe(eight[0], Mode.DEPTH, owner="book")
            assert [r.instrument for r in raised.value.refused] == eight[:1]
            assert "scripted-1 4 LTP" in str(raised.value)
            done = scene.pool.subscribe(eight[:2], Mode.DEPTH, owner="book", partial=True)
            assert [(r.instrument, r.code) for r in done.refused] == [
                (i, ErrorCode.MAX_CAPACITY_REACHED) for i in eight[:2]
            ]
            assert scene.pool.demand.mode(eight[0]) is Mode.LTP
            assert not scene.pool.demand.holds("book", eight[0])
            scene.pool.unsubscribe(eight[1])
            scene.pool.subscribe(eight[0], Mode.DEPTH, owner="book")
            await asyncio.sleep(3)
            assert scene.all_live()
            assert scene.broker.served() == scene.demanded()

    run(main)


def test_the_room_of_a_mode_that_falls_is_free_at_once() -> None:
    async def main() -> None:
        async with books() as scene:
            six = scene.feed.instruments[:6]
            scene.pool.subscribe(six[:4], Mode.DEPTH, owner="book")
            scene.pool.subscribe(six[:4], Mode.LTP)
            with pytest.raises(PoolExhaustedError):
                scene.pool.subscribe(six[4:], Mode.DEPTH)
            scene.pool.release("book")
            scene.pool.subscribe(six[4:], Mode.DEPTH)
            await scene.until(scene.all_live, 20)
            assert scene.broker.served() == scene.demanded()

    run(main)


def test_a_lower_mode_that_does_not_fit_waits_in_the_higher_one() -> None:
    async def main() -> None:
        async with mixed() as scene:
            four = scene.feed.instruments[:4]
            scene.pool.subscribe(four, Mode.LTP)
            scene.pool.subscribe(four, Mode.DEPTH, owner="book")
            await scene.until(scene.all_live, 20)
            scene.pool.unsubscribe(four[0], owner="book")
            await asyncio.sleep(3)
            assert served(scene) == [[(token, Mode.DEPTH) for token in (1, 2, 3, 4)]]
            scene.pool.unsubscribe(four[1], owner="book")
            await asyncio.sleep(3)
            assert served(scene) == [[(1, Mode.LTP), (2, Mode.LTP), (3, Mode.DEPTH), (4, Mode.DEPTH)]]

    run(main)


def test_what_must_be_dropped_for_a_moment_has_a_gap_that_is_told() -> None:
    async def main() -> None:
        async with mixed(placement="fill-first") as scene:
            witness, four = watched(scene), scene.feed.instruments[:4]
            scene.pool.subscribe(four, Mode.LTP)
            witness.look(four)
            await scene.until(scene.all_live, 20)
            await asyncio.sleep(3)
            scene.pool.subscribe(four, Mode.DEPTH)
            await asyncio.sleep(5)
            assert served(scene) == [[(token, Mode.DEPTH) for token in (1, 2, 3, 4)]]
            witness.finish()
            assert witness.problems == []
            assert witness.gaps == 2, "two books fit beside prices, so the other two prices go first"

    run(main)


def test_a_place_for_a_mode_that_rises_outlives_an_outage_of_its_socket() -> None:
    async def main() -> None:
        async with books(grace=1.0) as scene:
            four = scene.feed.instruments[:4]
            scene.pool.subscribe(four, Mode.QUOTE)
            await scene.until(scene.all_live, 20)
            scene.broker.refusal = Refusal(503)
            scene.pool.subscribe(four[0], Mode.DEPTH, owner="book")
            await asyncio.sleep(10)
            assert scene.pool.state(four[0]) is SymbolState.LIVE, "the old socket serves it"
            scene.pool.subscribe(scene.feed.instruments[4:6], Mode.QUOTE)
            with pytest.raises(PoolExhaustedError):
                scene.pool.subscribe(scene.feed.instruments[6:9], Mode.QUOTE)
            scene.broker.refusal = None
            await asyncio.sleep(90)
            assert scene.all_live()
            assert scene.broker.served() == scene.demanded()

    run(main)


def test_a_mode_that_rises_twice_is_never_on_more_than_two_sockets() -> None:
    async def main() -> None:
        weighed = {"modes": ModeRule((Limit(4, (0, 1, 2, 3)),))}
        async with stage(symbols=12, per_connection=4, connections=3, limits=weighed, broker=OFTEN) as scene:
            one, *others = scene.feed.instruments
            scene.pool.subscribe([one, *others[:3]], Mode.LTP)
            await scene.until(scene.all_live, 20)
            scene.pool.subscribe(one, Mode.QUOTE, owner="quote")
            scene.pool.subscribe(others[3:5], Mode.LTP)
            for _ in range(40):
                await asyncio.sleep(0.1)
                assert len(scene.broker.served()[1]) <= 2
            scene.pool.subscribe(one, Mode.DEPTH, owner="book")
            for _ in range(300):
                await asyncio.sleep(0.1)
                assert len(scene.broker.served()[1]) <= 2
            assert scene.broker.served() == scene.demanded()

    run(main)


def test_what_a_broker_publishes_bounds_the_pool_and_the_settings_only_lower_it() -> None:
    async def main() -> None:
        async with stage(per_connection=10, connections=3) as scene:
            feed = scene.feed
            for symbols, connections, capacity in ((1000, 9, 30), (4, 3, 12), (10, 2, 20)):
                pool = WebSocketPool(feed, max_symbols=symbols, max_connections=connections)
                assert pool._numbers()["capacity"] == capacity
                await pool.close()
            feed.limits = replace(feed.limits, max_connections=1)
            with pytest.raises(ValueError, match="1 connections cannot carry 2 copies"):
                WebSocketPool(feed, max_connections=3, redundancy=2)

    run(main)


@pytest.mark.parametrize("broker", RULES)
def test_each_brokers_rule_is_filled_to_the_last_place(broker: str) -> None:
    """In the mode that takes most, and in the one that takes least."""

    async def main(mode: Mode) -> None:
        rule = scaled(RULES[broker], 10)
        limits = {"modes": rule.modes}
        fits = rule.room([0, 0, 0, 0], mode) * rule.sockets
        async with stage(
            symbols=fits + 1, per_connection=10, connections=rule.sockets, limits=limits
        ) as scene:
            scene.pool.subscribe(scene.feed.instruments[:fits], mode)
            with pytest.raises(PoolExhaustedError):
                scene.pool.subscribe(scene.feed.instruments[fits], mode)
            await scene.until(scene.all_live, 60)
            assert scene.broker.served() == scene.demanded()
            assert scene.pool.get_pool_stats()["websocket"]["capacity_used"] == pytest.approx(1.0)

    for mode in (Mode.LTP, Mode.DEPTH):
        run(lambda mode=mode: main(mode))  # type: ignore[misc]  # mypy: a default is no type
