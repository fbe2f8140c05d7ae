"""A broker that refuses symbols by name, in virtual time: each stands refused, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from brokerpool import Instrument, Mode, PoolListener, SymbolState
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import Stage, stage


def play(scenario: Callable[[Stage], Awaitable[None]], **figures: Any) -> None:
    async def main() -> None:
        async with stage(**{"symbols": 10, **figures}) as scene:
            await scenario(scene)

    run(main)


class Heeding(PoolListener):
    def __init__(self) -> None:
        self.refused_: list[tuple[list[Instrument], str]] = []

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        self.refused_.append((instruments, reason))


def asked(scene: Stage, token: int) -> int:
    """How often the broker was asked for the token, in whatever mode."""
    lines = [line for line in scene.broker.ledger.lines if "is told add" in line or "is told mode" in line]
    return sum(f" {token}:" in line for line in lines)


async def refuse(scene: Stage, mode: Mode = Mode.LTP, wanted: Mode = Mode.QUOTE) -> Instrument:
    """Have the first symbol refused, and the others live."""
    scene.broker.refused[1] = mode
    symbol = scene.feed.instruments[0]
    scene.pool.subscribe(scene.feed.instruments, wanted)
    await scene.until(lambda: scene.pool.state(symbol) is SymbolState.REFUSED, 5)
    others = scene.feed.instruments[1:]
    await scene.until(lambda: all(scene.pool.state(i) is SymbolState.LIVE for i in others), 5)
    return symbol


def test_a_refused_symbol_says_why_and_is_not_asked_for_again_in_the_same_mode() -> None:
    async def scenario(scene: Stage) -> None:
        heard = Heeding()
        scene.pool.listen(heard)
        symbol = await refuse(scene)
        assert heard.refused_ == [([symbol], "not in your plan")]
        told = scene.pool.explain(symbol)
        assert told.state is SymbolState.REFUSED
        assert "not in your plan" in told.why
        scene.pool.subscribe(symbol, Mode.QUOTE, owner="another")
        scene.pool.subscribe(symbol, Mode.LTP, owner="a third")
        await asyncio.sleep(60)
        assert asked(scene, 1) == 1
        assert len(scene.broker.ledger.dials) == 1

    play(scenario)


def test_a_refused_symbol_is_asked_for_again_in_another_mode() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = await refuse(scene, Mode.QUOTE, Mode.DEPTH)
        scene.pool.subscribe(symbol, Mode.LTP, owner="another")
        await asyncio.sleep(1)
        assert scene.pool.state(symbol) is SymbolState.REFUSED, "depth is wanted still"
        scene.pool.unsubscribe(symbol, Mode.DEPTH)
        await scene.until(lambda: scene.pool.state(symbol) is SymbolState.LIVE, 5)
        assert scene.broker.served()[1] == [Mode.LTP]

    play(scenario)


def test_a_refused_symbol_is_asked_for_again_on_the_next_socket() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = await refuse(scene)
        scene.broker.kill_all()
        await scene.until(lambda: asked(scene, 1) == 2, 60)
        await scene.until(lambda: scene.pool.state(symbol) is SymbolState.REFUSED, 5)
        scene.broker.refused.clear()
        scene.broker.kill_all()
        await scene.until(scene.all_live, 60)

    play(scenario)


def test_a_refused_symbol_that_nobody_wants_any_more_is_forgotten_and_asked_for_anew() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = await refuse(scene)
        scene.pool.unsubscribe(symbol)
        await asyncio.sleep(2)
        scene.broker.refused.clear()
        scene.pool.subscribe(symbol, Mode.QUOTE)
        await scene.until(scene.all_live, 5)
        assert scene.broker.served() == scene.demanded()

    play(scenario)


def test_a_symbol_that_is_refused_in_a_richer_mode_goes_on_in_the_old_one_and_is_dropped_one_day() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = scene.feed.instruments[0]
        scene.pool.subscribe(scene.feed.instruments, Mode.LTP)
        await scene.until(scene.all_live, 5)
        scene.broker.refused[1] = Mode.QUOTE
        scene.pool.subscribe(symbol, Mode.DEPTH, owner="another")
        await scene.until(lambda: scene.pool.state(symbol) is SymbolState.REFUSED, 5)
        assert scene.pool.gap(symbol) is not None, "nobody knows yet whether it goes on"
        await scene.until(lambda: scene.pool.state(symbol) is SymbolState.LIVE, 10)
        assert scene.pool.gap(symbol) is None
        assert asked(scene, 1) == 2
        scene.pool.unsubscribe(scene.feed.instruments)
        scene.pool.release("another")
        await scene.until(lambda: not scene.broker.served(), 5)

    play(scenario)


def test_a_symbol_that_is_refused_after_it_ticked_is_in_a_gap_until_it_ticks_again() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = scene.feed.instruments[0]
        scene.pool.subscribe(scene.feed.instruments, Mode.LTP)
        await scene.until(scene.all_live, 5)
        (socket,) = scene.broker.sockets
        del socket.tokens[1]
        socket.link.take("refused 1: your plan has ended")
        assert scene.pool.state(symbol) is SymbolState.REFUSED
        assert scene.pool.gap(symbol) is not None
        await asyncio.sleep(120)
        assert scene.pool.state(symbol) is SymbolState.REFUSED
        scene.broker.kill_all()
        await scene.until(scene.all_live, 60)
        assert scene.pool.gap(symbol) is None

    play(scenario)


def test_a_symbol_that_ticks_though_it_was_refused_is_served_and_is_dropped_one_day() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = scene.feed.instruments[0]
        scene.pool.subscribe(symbol)
        await scene.until(lambda: scene.broker.served(), 5)
        (socket,) = scene.broker.sockets
        socket.link.take("refused 1: not today")
        assert scene.pool.state(symbol) is SymbolState.REFUSED
        await scene.until(scene.all_live, 10)
        scene.pool.unsubscribe(symbol)
        await scene.until(lambda: not scene.broker.served(), 5)

    play(scenario, broker={"snapshots": False, "beats": (8, 8)})


def test_a_refusal_that_crosses_a_change_of_mode_is_about_the_old_one() -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.refused[1] = Mode.DEPTH
        symbol = scene.feed.instruments[0]
        scene.pool.subscribe(symbol, Mode.DEPTH)
        await scene.until(lambda: asked(scene, 1) == 1, 5)
        scene.pool.subscribe(symbol, Mode.LTP, owner="another")
        scene.pool.unsubscribe(symbol, Mode.DEPTH)
        await scene.until(scene.all_live, 5)
        assert scene.broker.served()[1] == [Mode.LTP]

    play(scenario)


def test_refusals_of_what_is_not_wanted_change_nothing() -> None:
    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments[1:], Mode.LTP)
        await scene.until(scene.all_live, 5)
        scene.broker.sockets[0].link.take("refused 1 77: nobody asked")
        await asyncio.sleep(5)
        assert scene.all_live()
        assert scene.broker.served() == scene.demanded()

    play(scenario)


def test_an_evacuation_ends_though_a_symbol_of_it_is_refused() -> None:
    async def scenario(scene: Stage) -> None:
        await refuse(scene)
        (before,) = scene.pool.get_pool_stats()["websocket"]["per_connection"]
        scene.pool.rotate(before["name"])

        def moved() -> bool:
            names = [c["name"] for c in scene.pool.get_pool_stats()["websocket"]["per_connection"]]
            return before["name"] not in names and len(scene.broker.sockets) == 1

        await scene.until(moved, 90)
        assert scene.pool.state(scene.feed.instruments[0]) is SymbolState.REFUSED
        assert all(scene.pool.state(i) is SymbolState.LIVE for i in scene.feed.instruments[1:])

    play(scenario)


def test_a_failover_ends_though_a_symbol_of_it_is_refused_at_the_host_and_at_home() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = await refuse(scene)
        scene.broker.down = "refused"
        scene.broker.sockets[0].kill()
        await asyncio.sleep(30)
        scene.broker.down = ""
        others = scene.feed.instruments[1:]
        await scene.until(lambda: all(scene.pool.state(i) is SymbolState.LIVE for i in others), 90)
        await scene.until(lambda: scene.pool.state(symbol) is SymbolState.REFUSED, 5)
        await asyncio.sleep(60)
        hosted = [c["hosted"] for c in scene.pool.get_pool_stats()["websocket"]["per_connection"]]
        assert sum(hosted) == 0

    play(scenario, symbols=8, per_connection=6, connections=2, placement="least-loaded")


def test_a_symbol_that_its_new_connection_does_not_get_is_told_as_a_gap_once_the_old_one_lets_go() -> None:
    async def scenario(scene: Stage) -> None:
        symbol = scene.feed.instruments[0]
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 10)
        scene.broker.refused[1] = Mode.LTP
        scene.broker._every[1] = 10_000  # one that ticks stays where it ticks
        scene.pool.rotate("scripted-1")
        await scene.until(lambda: scene.pool.state(symbol) is SymbolState.REFUSED, 30)
        await scene.until(lambda: len(scene.broker.sockets) == 1, 10)
        gap = scene.pool.gap(symbol)
        assert gap is not None
        assert gap.reason == "scripted-2 does not get it"

    play(scenario, per_connection=10)
