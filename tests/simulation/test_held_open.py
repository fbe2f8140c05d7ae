"""A connection that is held open for news of orders, in virtual time: there though nobody wants a symbol."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from brokerpool import PoolListener
from brokerpool.brokers.login import Credentials
from brokerpool.errors import BrokerpoolError, ErrorCode, PoolClosedError
from brokerpool.event_journal import Event
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import Stage, stage

LINGER = 5.0


def play(scenario: Callable[[Stage], Awaitable[None]], **figures: Any) -> None:
    async def main() -> None:
        async with stage(**{"linger": LINGER, **figures}) as scene:
            await scenario(scene)

    run(main)


def names(scene: Stage) -> list[str]:
    """Return the connections that the pool has."""
    return [each["name"] for each in scene.pool.get_pool_stats()["websocket"]["per_connection"]]


async def held(scene: Stage) -> None:
    scene.pool.hold_open(True)
    await scene.until(lambda: scene.pool.connected, 2, "live")


class Holes(PoolListener):
    """Notes when the last live connection was lost or closed."""

    def __init__(self, scene: Stage) -> None:
        self._scene = scene
        self.live: set[str] = set()
        self.log: list[float] = []
        scene.pool.listen(self)

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        if state == "live":
            self.live.add(name)
        elif name in self.live:
            self.live.discard(name)
            if not self.live:
                self.log.append(self._scene.loop.time())


@pytest.mark.parametrize("greets", [False, True])
@pytest.mark.parametrize("linger", [0.0, LINGER])
def test_one_connection_is_open_for_as_long_as_it_is_held_and_lingers_when_it_is_not(
    linger: float, greets: bool
) -> None:
    async def scenario(scene: Stage) -> None:
        assert not scene.broker.ledger.dials
        await held(scene)
        await asyncio.sleep(600)
        assert (len(scene.broker.sockets), len(scene.broker.ledger.dials)) == (1, 1)
        scene.pool.hold_open(True)  # once more changes nothing
        scene.pool.hold_open(False)
        if linger:
            await asyncio.sleep(linger * 0.9)
            assert names(scene) == ["scripted-1"]
        await scene.until(lambda: not scene.broker.sockets, LINGER + 2, "closed")
        await asyncio.sleep(60)
        assert len(scene.broker.ledger.dials) == 1

    play(scenario, greets=greets, linger=linger)


def test_one_that_lingers_is_kept_when_it_is_held_again() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        scene.pool.hold_open(False)
        await asyncio.sleep(LINGER * 0.9)
        scene.pool.hold_open(True)
        await asyncio.sleep(LINGER * 10)
        assert (len(scene.broker.sockets), len(scene.broker.ledger.dials)) == (1, 1)

    play(scenario)


@pytest.mark.parametrize("how", ["kill", "black_hole"])
def test_one_that_is_lost_is_noticed_and_dialled_again_though_it_is_empty(how: str) -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        await asyncio.sleep(20)
        getattr(scene.broker.sockets[0], how)()
        await scene.until(lambda: not scene.pool.connected, 15, "lost")
        await scene.until(lambda: scene.pool.connected, 15, "back")
        assert names(scene) == ["scripted-1"]

    play(scenario)


def test_a_refused_login_parks_it_and_new_credentials_open_it_again() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        scene.broker.expire("day-2", politely=True)
        await scene.until(lambda: scene.feed.login.refused, 30, "parked")
        dials = len(scene.broker.ledger.dials)
        await asyncio.sleep(300)
        assert len(scene.broker.ledger.dials) == dials
        scene.feed.login.renew(Credentials("day-2"))
        await scene.until(lambda: scene.pool.connected, 15, "back")

    play(scenario)


@pytest.mark.parametrize("placement", ["fill-first", "least-loaded"])
def test_symbols_go_onto_it_and_it_stays_when_they_have_left(placement: str) -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        scene.pool.subscribe(scene.feed.instruments[:1])
        await scene.until(scene.all_live, 10)
        assert (names(scene), len(scene.broker.ledger.dials)) == (["scripted-1"], 1)
        scene.pool.subscribe(scene.feed.instruments)  # takes all connections
        await scene.until(scene.all_live, 10)
        assert len(scene.broker.sockets) == 3
        scene.pool.release("default")
        await asyncio.sleep(LINGER * 10)
        assert len(scene.broker.sockets) == 1
        assert len(scene.broker.ledger.dials) == 3

    play(scenario, placement=placement)


def test_an_empty_one_is_kept_while_the_one_with_the_symbols_is_out() -> None:
    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments[:12])
        await held(scene)
        await scene.until(scene.all_live, 10)
        scene.pool.unsubscribe(scene.feed.instruments[:10])
        await scene.until(lambda: any(not socket.tokens for socket in scene.broker.sockets), 2, "empty")
        scene.broker.down = "refused"
        next(socket for socket in scene.broker.sockets if socket.tokens).kill()
        await asyncio.sleep(LINGER * 5)
        assert scene.pool.connected
        assert names(scene) == ["scripted-1", "scripted-2"]
        scene.broker.down = ""
        await scene.until(scene.all_live, 90)
        await scene.until(lambda: names(scene) == ["scripted-2"], LINGER + 2, "the empty one is closed")

    play(scenario, grace=600.0)


def test_with_two_copies_of_each_symbol_one_connection_is_held() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        await asyncio.sleep(30)
        assert names(scene) == ["scripted-1"]
        scene.pool.subscribe(scene.feed.instruments[:3])
        await scene.until(scene.all_live, 10)
        await asyncio.sleep(30)
        assert sorted(names(scene)) == ["scripted-1", "scripted-b-1"]
        scene.pool.release("default")
        await asyncio.sleep(LINGER * 3)
        assert names(scene) == ["scripted-1"]
        scene.pool.hold_open(False)
        await scene.until(lambda: not scene.broker.sockets, LINGER + 2)

    play(scenario, redundancy=2, connections=2)


@pytest.mark.parametrize("linger", [0.0, LINGER])
def test_new_credentials_and_old_age_replace_it_without_a_moment_in_which_none_is_open(linger: float) -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        holes = Holes(scene)
        holes.live = {"scripted-1"}
        scene.broker.valid.add("day-2")
        scene.feed.login.renew(Credentials("day-2"))
        await scene.until(lambda: names(scene) == ["scripted-2"], 10, "replaced")
        await asyncio.sleep(200)  # three lives
        assert len(scene.broker.ledger.dials) >= 4
        assert len(scene.broker.sockets) == 1
        assert holes.log == []

    play(scenario, limits={"socket_life_seconds": 60.0}, linger=linger)


def test_where_one_connection_is_all_that_the_account_allows_it_is_kept_until_the_broker_ends_it() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        scene.broker.valid.add("day-2")
        scene.feed.login.renew(Credentials("day-2"))
        await asyncio.sleep(10)
        assert names(scene) == ["scripted-1"]
        (entry,) = [e for e in scene.pool.journal.entries() if e.event is Event.ROTATED]
        assert "held open" in entry.reason
        scene.broker.sockets[0].kill()
        await scene.until(lambda: len(scene.broker.ledger.dials) == 2 and scene.pool.connected, 15, "back")
        assert scene.broker.ledger.dials[1].token == "day-2"
        scene.pool.subscribe(scene.feed.instruments[:10])
        await scene.until(scene.all_live, 10)

    play(scenario, connections=1)


def test_an_operator_has_it_replaced_where_another_one_may_be_opened_and_is_refused_else() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        with pytest.raises(BrokerpoolError, match="held open") as refused:
            scene.pool.drain("scripted-1")
        assert refused.value.code is ErrorCode.CONNECTION_NOT_MOVABLE
        assert scene.pool.rotate("scripted-1") == 0
        await scene.until(lambda: names(scene) == ["scripted-2"], 10, "replaced")
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 10)
        scene.pool.unsubscribe(scene.feed.instruments[2:])
        assert scene.pool.drain("scripted-2") == 2
        await scene.until(lambda: "scripted-2" not in names(scene), 60, "drained")
        assert scene.pool.connected

    play(scenario)


def test_a_replacement_that_cannot_be_dialled_leaves_the_old_one_open() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        scene.broker.down = "refused"
        scene.pool.rotate("scripted-1")
        await asyncio.sleep(90)
        assert names(scene) == ["scripted-1"]
        assert scene.pool.connected

    play(scenario)


def test_an_account_that_tells_nothing_of_orders_holds_none() -> None:
    async def scenario(scene: Stage) -> None:
        scene.feed.tells_orders = False
        scene.pool.hold_open(True)
        await asyncio.sleep(60)
        assert not scene.broker.ledger.dials

    play(scenario)


def test_a_closed_pool_holds_none_and_may_be_told_so() -> None:
    async def scenario(scene: Stage) -> None:
        await held(scene)
        await scene.pool.close()
        scene.pool.hold_open(False)
        with pytest.raises(PoolClosedError):
            scene.pool.hold_open(True)

    play(scenario)
