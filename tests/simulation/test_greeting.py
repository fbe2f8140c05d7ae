"""A broker that wants to hear a login on the open socket first, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from brokerpool import Credentials, Mode, SymbolState
from brokerpool.event_journal import Event
from brokerpool.feed.dial import DIAL_SECONDS
from brokerpool.testing.scripted_broker import Greeting
from brokerpool.testing.scripted_feed import ScriptedWire
from brokerpool.testing.virtual_loop import run
from tests.simulation.stage import Stage, stage
from tests.simulation.test_fencing import Counting, faults


def play(scenario: Callable[[Stage], Awaitable[None]], **figures: Any) -> None:
    """Play it with ten symbols on one socket, unless the figures say otherwise."""

    async def main() -> None:
        async with stage(**{"symbols": 10, "greets": True, **figures}) as scene:
            await scenario(scene)

    run(main)


def events(scene: Stage) -> list[str]:
    return [entry.event.value for entry in scene.pool.journal.entries() if entry.connection]


def connection(scene: Stage, number: int = 0) -> dict[str, Any]:
    shown: dict[str, Any] = scene.pool.get_pool_stats()["websocket"]["per_connection"][number]
    return shown


def test_a_socket_is_live_when_its_login_is_answered_and_is_asked_for_nothing_before() -> None:
    async def scenario(scene: Stage) -> None:
        heard = Counting()
        scene.pool.listen(heard)
        scene.broker.greeting_seconds = 5.0
        scene.pool.subscribe(scene.feed.instruments)
        await asyncio.sleep(4)
        assert connection(scene)["state"] == "greeting"
        assert connection(scene)["sent"] == 0
        assert scene.pool.state(scene.feed.instruments[0]) is SymbolState.ACCEPTED
        assert await scene.until(scene.all_live, 7) > 1
        assert heard.states == ["dialling", "greeting", "live"]

    play(scenario)


def test_a_login_that_is_refused_parks_the_account_until_there_is_another() -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.expire("day-2", politely=True)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: scene.feed.login.refused, 5)
        await asyncio.sleep(300)
        assert len(scene.broker.ledger.dials) == 1
        assert scene.taken() == 0
        assert connection(scene)["state"] == "parked"
        assert "refused the login: denied" in connection(scene)["last_fault"]
        scene.feed.login.renew(Credentials("day-2"))
        await scene.until(scene.all_live, 5)

    play(scenario)


def test_a_broker_that_never_answers_costs_the_time_of_a_dial_and_nothing_else() -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.greeting = None
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: connection(scene)["state"] == "greeting", 1)
        took = await scene.until(lambda: connection(scene)["state"] == "waiting", 11)
        assert took == pytest.approx(DIAL_SECONDS, abs=0.2)
        assert (scene.taken(), scene.broker.sockets) == (0, [])
        assert "no answer to the login within 10 s" in connection(scene)["last_fault"]
        assert events(scene) == ["dialled", "refused"]
        assert not scene.feed.login.refused
        scene.broker.greeting = Greeting.JUDGE
        await scene.until(scene.all_live, 65)

    play(scenario)


def test_a_socket_that_ends_in_the_middle_of_its_login_is_a_dial_that_was_refused() -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.greeting, scene.broker.greeting_seconds = Greeting.HANG_UP, 2.0
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: connection(scene)["refusals"] == 1, 5)
        assert scene.taken() == 0
        assert connection(scene)["last_fault"].startswith("closed at the login: ")
        assert events(scene)[:2] == ["dialled", "refused"]
        await asyncio.sleep(60)
        assert len(scene.broker.ledger.dials) <= 12, "the dials of a broker that hangs up are spaced"
        scene.broker.greeting = Greeting.JUDGE
        await scene.until(scene.all_live, 65)

    play(scenario)


def test_evictions_in_the_middle_of_the_login_make_dials_ever_more_seldom() -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.greeting = None
        scene.pool.subscribe(scene.feed.instruments)
        for _ in range(600):
            await asyncio.sleep(0.5)
            if scene.broker.sockets:
                scene.broker.evict()
        assert len(scene.broker.ledger.dials) <= 20
        scene.broker.greeting = Greeting.JUDGE
        await scene.until(scene.all_live, 130)

    play(scenario)


def test_a_socket_that_is_lost_after_its_login_is_told_as_lost() -> None:
    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 5)
        scene.broker.kill_all()
        await asyncio.sleep(0.1)
        assert events(scene) == ["dialled", "live", "lost"]
        assert scene.pool.gap(scene.feed.instruments[0]) is not None
        await scene.until(scene.all_live, 60)

    play(scenario)


@pytest.mark.parametrize("hundredths", range(2, 40, 2))
def test_a_pool_that_is_closed_in_the_middle_of_a_login_leaves_nothing(hundredths: int) -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.greeting_seconds = 0.1
        scene.pool.subscribe(scene.feed.instruments)
        await asyncio.sleep(hundredths / 100)
        began = scene.loop.time()
        await scene.pool.close()
        assert scene.loop.time() - began < 3
        assert scene.taken() == 0

    play(scenario)


def test_the_longest_wait_for_an_answer_ends_with_the_pool() -> None:
    async def scenario(scene: Stage) -> None:
        scene.broker.greeting, scene.broker.deaf = None, True
        scene.pool.subscribe(scene.feed.instruments)
        await asyncio.sleep(5)
        await scene.pool.close()
        assert scene.taken() == 0
        scene.broker.deaf = False

    play(scenario)


def test_an_answer_that_comes_too_late_brings_no_socket_to_life() -> None:
    async def scenario(scene: Stage) -> None:
        heard = Counting()
        scene.pool.listen(heard)
        scene.broker.greeting_seconds, scene.broker.deaf = DIAL_SECONDS, True
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: connection(scene)["refusals"] == 1, 30)
        await asyncio.sleep(1)
        assert "live" not in heard.states
        scene.broker.greeting_seconds, scene.broker.deaf = 0.0, False
        await scene.until(scene.all_live, 65)

    play(scenario)


def test_ticks_before_the_answer_are_nobodys() -> None:
    async def scenario(scene: Stage) -> None:
        heard = Counting()
        scene.pool.listen(heard)
        scene.broker.greeting_seconds = 2.0
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: scene.broker.sockets, 2)
        scene.broker.sockets[0].tokens[1], scene.broker.sockets[0].last[1] = Mode.LTP, scene.broker.number(1)
        scene.broker.sockets[0].tell_ticks([(1, 99)])
        await asyncio.sleep(0.5)
        assert heard.ticks == 0
        del scene.broker.sockets[0].tokens[1]
        await scene.until(scene.all_live, 5)

    play(scenario)


def test_each_of_two_sockets_says_its_own_login_and_one_that_waits_disturbs_no_other() -> None:
    async def scenario(scene: Stage) -> None:
        heard = Counting()
        scene.pool.subscribe(scene.feed.instruments[:10])
        await scene.until(scene.all_live, 5)
        scene.pool.listen(heard)
        scene.broker.greeting = None
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: connection(scene, 1)["state"] == "greeting", 5)
        ticks = heard.ticks
        await asyncio.sleep(5)
        assert heard.ticks > ticks
        assert connection(scene)["state"] == "live"
        scene.broker.greeting = Greeting.JUDGE
        await scene.until(scene.all_live, 75)
        logins = [line for line in scene.broker.ledger.lines if "told login day-1" in line]
        assert len(logins) == 3

    play(scenario, symbols=20)


class Broken(ScriptedWire):
    """Cannot say its login, the first three times."""

    said: Any = None
    times = 0

    def hello(self) -> Any:
        if Broken.times < 3:
            Broken.times += 1
            if isinstance(self.said, Exception):
                raise self.said
            return self.said
        return super().hello()


@pytest.mark.parametrize("said", [RuntimeError("?"), 5, [5], ["\ud800"], [None]], ids=repr)
def test_a_login_that_the_adapter_cannot_say_costs_dials_and_no_permit(
    said: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Broken, "said", said)
    monkeypatch.setattr(Broken, "times", 0)

    async def scenario(scene: Stage) -> None:
        scene.feed.wire = lambda: Broken("day-1")  # type: ignore[method-assign]
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 120)
        assert sum(faults(scene).values()) == 3
        assert scene.taken() == 1
        assert events(scene).count(Event.LIVE.value) == 1

    play(scenario)
