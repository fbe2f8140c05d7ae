"""What a router tells of its accounts, what it refuses, and how it ends."""

from __future__ import annotations

import asyncio
from random import Random

import pytest

from brokerpool import (
    Mode,
    NotLiveError,
    Route,
    Router,
    UnknownInstrumentError,
    WebSocketPool,
)
from brokerpool.errors import BrokerpoolError, ErrorCode, PoolClosedError
from brokerpool.feed.listeners import PoolListener
from brokerpool.testing.scripted_feed import number_of
from brokerpool.ticks import Tick
from tests.simulation.accounts_stage import account
from tests.simulation.router_stage import Heard, played, two


@played
async def test_operators_name_a_connection_of_any_account() -> None:
    async with two() as scene:
        router = scene.router
        router.subscribe(scene.instruments, Mode.LTP)
        await scene.until(scene.live, 5)
        names = {c["name"]: c["account"] for c in router.get_pool_stats()["websocket"]["per_connection"]}
        assert names == {"first-1": "first", "second-1": "second"}
        with pytest.raises(BrokerpoolError, match="Open are: first-1, second-1") as error:
            router.rotate("third-1")
        assert error.value.code is ErrorCode.CONNECTION_UNKNOWN
        with pytest.raises(BrokerpoolError) as error:
            router.drain("second-1")
        assert error.value.code is ErrorCode.CONNECTION_NOT_MOVABLE


@played
async def test_statistics_add_up_and_have_an_entry_for_each_account() -> None:
    async with two() as scene:
        router = scene.router
        router.subscribe(scene.instruments, Mode.LTP)
        await scene.until(scene.live, 5)
        told, alone = router.get_pool_stats()["websocket"], scene[0].pool.get_pool_stats()["websocket"]
        assert list(told) == list(alone), "the members of a pool"
        assert (told["total_symbols"], told["connections"], told["capacity_used"]) == (12, 2, 0.75)
        assert [(a["name"], a["symbols"]) for a in told["accounts"]] == [("first", 8), ("second", 4)]
        assert [a["name"] for a in alone["accounts"]] == ["first"]


@played
async def test_a_router_that_is_closed_has_closed_its_pools_and_takes_nothing_new() -> None:
    async with two() as scene:
        router = scene.router
        router.subscribe(scene.instruments, Mode.LTP)
        await scene.until(scene.live, 5)
        await router.close()
        assert not scene[0].broker.sockets
        assert not scene[1].broker.sockets
        with pytest.raises(PoolClosedError):
            router.want("a", scene.instruments, Mode.LTP)


@played
async def test_a_listener_that_raises_changes_nothing_for_the_others() -> None:
    class Broken(PoolListener):
        def ticked(self, ticks: list[Tick]) -> None:
            raise ValueError("broken")

    async with two() as scene:
        scene.router.listen(Broken())
        heard = Heard(scene.router)
        scene.router.subscribe(scene.instruments[:1], Mode.LTP)
        await scene.until(lambda: heard.ticks, 5)
        assert number_of(heard.ticks[0])
        faults = scene.router.get_pool_stats()["websocket"]["faults"]
        assert any("Broken.ticked" in name for name in faults)


@played
async def test_routes_need_names_and_pools_of_their_own() -> None:
    random = Random(1)
    one, same, other = (account(name, random, 3) for name in ("one", "one", "other"))
    try:
        for routes, told in (
            ([], "one route at least"),
            ([Route("a", one.pool), Route("a", other.pool)], "a name of its own"),
            ([Route("a", one.pool), Route("b", same.pool)], r"WebSocketPool\(name="),
        ):
            with pytest.raises(ValueError, match=told):
                Router(routes)
        with pytest.raises(TypeError):
            Router([one.pool])  # type: ignore[list-item]
    finally:
        for each in (one, same, other):
            await each.pool.close()
            await each.broker.close()


@played
async def test_who_waits_for_symbols_is_told_when_all_tick_and_else_how_far_each_has_come() -> None:
    async with two(20) as scene:
        router, every = scene.router, scene.instruments
        router.subscribe(every[:12])
        await router.wait_live(every[:12])
        assert scene.live()
        with pytest.raises(UnknownInstrumentError, match="first, second does not list NSE:NO-SUCH"):
            await router.wait_live([every[0], "NSE:NO-SUCH"])
        scene[1].broker.muted.update(scene[1].feed.book.token(i) or 0 for i in every)
        scene[1].broker.snapshots = False
        router.subscribe(every[12:13])
        begun = scene.loop.time()
        with pytest.raises(NotLiveError, match=r"2 symbols had no tick within 4 s. first: 8 of 8") as late:
            await router.wait_live(every[10:14], timeout=4)
        assert scene.loop.time() - begun == pytest.approx(4)
        assert late.value.states == {every[12]: "sent", every[13]: "not wanted"}


@played
async def test_each_account_that_tells_of_orders_holds_a_connection_open_while_somebody_asks() -> None:
    async with two() as scene:
        scene[1].feed.tells_orders = False
        scene.router.hold_open(True)
        await scene.until(lambda: scene[0].pool.connected, 2)
        await asyncio.sleep(120)
        assert [len(each.broker.ledger.dials) for each in scene.accounts] == [1, 0]
        scene[1].feed.tells_orders = True
        scene.router.hold_open(True)
        await scene.until(lambda: scene[1].pool.connected, 2)
        scene.router.subscribe(scene.instruments)
        await scene.until(scene.live, 10)
        assert [len(each.broker.ledger.dials) for each in scene.accounts] == [1, 1]
        scene.router.release("default")
        scene.router.hold_open(False)
        await scene.until(lambda: not any(each.broker.sockets for each in scene.accounts), 40)
        await scene.router.close()
        scene.router.hold_open(False)
        with pytest.raises(PoolClosedError):
            scene.router.hold_open(True)


@played
async def test_one_pool_answers_as_an_upstream_of_one_account() -> None:
    one = account("only", Random(1), 3)
    try:
        pool: WebSocketPool = one.pool
        symbol = one.feed.instruments[0]
        assert (pool.name, pool.broker(symbol), pool.account(symbol)) == ("broker-only", "broker-only", "")
        pool.subscribe([symbol])
        await pool.wait_live([symbol])
        assert pool.account(symbol) == "only"
        (status,) = pool.accounts()
        assert (status.name, status.broker, status.connected, status.symbols) == (
            "only",
            "broker-only",
            True,
            1,
        )
    finally:
        await one.pool.close()
        await one.broker.close()
