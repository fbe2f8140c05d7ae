"""Listeners and adapters that raise, hang or give nonsense, in virtual time: nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from brokerpool import Credentials, PoolListener, SymbolState
from brokerpool.brokers.account import Endpoint
from brokerpool.brokers.wire import ControlBatch, Farewell
from brokerpool.event_journal import Event
from brokerpool.feed.dial import DIAL_SECONDS
from brokerpool.feed.gaps import Gap
from brokerpool.testing.scripted_feed import ScriptedWire
from brokerpool.testing.virtual_loop import run
from brokerpool.ticks import Tick
from tests.simulation.stage import Stage, stage


class Raising(PoolListener):
    """Raises whatever it is told."""

    error: type[BaseException] = RuntimeError

    def _fail(self, *_: Any) -> None:
        raise self.error

    ticked = symbols_changed = connection_changed = gaps_opened = gaps_closed = filled = _fail  # type: ignore[assignment]


class Cancelling(Raising):
    """Raises what asyncio raises for somebody who asks a cancelled task for its result."""

    error = asyncio.CancelledError


class Counting(PoolListener):
    def __init__(self) -> None:
        self.ticks = 0
        self.states: list[str] = []
        self.opened: list[Gap] = []
        self.closed: list[Gap] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += len(ticks)

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self.states.append(state)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.opened += gaps

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.closed += gaps


def faults(scene: Stage) -> dict[str, int]:
    found: dict[str, int] = scene.pool.get_pool_stats()["websocket"]["faults"]
    return found


def play(scenario: Callable[[Stage], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with stage(**options) as scene:
            await scenario(scene)

    run(main)


@pytest.mark.parametrize("kind", [Raising, Cancelling])
def test_a_listener_that_raises_at_everything_changes_nothing_for_the_pool_and_the_others(
    kind: type[Raising], caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario(scene: Stage) -> None:
        before, after = Counting(), Counting()
        for listener in (before, kind(), after):
            scene.pool.listen(listener)
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 60)
        scene.broker.kill_all()
        await scene.until(lambda: not scene.all_live(), 60)
        await scene.until(scene.all_live, 60)
        assert before.ticks == after.ticks > 0
        assert before.states == after.states
        assert before.opened == after.opened != []
        assert before.closed == after.closed != []
        told = faults(scene)
        assert set(told) == {f"{kind.__name__}._fail"}
        assert scene.pool.journal.counts()[Event.FAULT.value] == len(str(told[f"{kind.__name__}._fail"]))

    play(scenario)
    assert len(caplog.text.split("nothing else is affected")) - 1 < 6, "told once, then by powers of ten"


def test_listeners_may_come_and_go_while_they_are_told() -> None:
    async def scenario(scene: Stage) -> None:
        heard: list[str] = []

        class Named(PoolListener):
            def __init__(self, name: str, then: Callable[[], None] = lambda: None) -> None:
                self.name, self.then = name, then

            def ticked(self, ticks: list[Tick]) -> None:
                heard.append(self.name)
                self.then()

        pool = scene.pool
        victim, late = Named("victim"), Named("late")

        def once() -> None:
            pool.unlisten(first)
            pool.unlisten(victim)
            pool.listen(late)

        first = Named("first", once)
        for listener in (first, victim, Named("last")):
            pool.listen(listener)
        pool.subscribe(scene.feed.instruments[0])
        await scene.until(lambda: heard.count("last") > 2, 60)
        assert heard[:4] == ["first", "last", "last", "late"]
        assert "victim" not in heard

    play(scenario)


def test_a_listener_that_cannot_be_told_is_refused_and_nothing_changes() -> None:
    async def scenario(scene: Stage) -> None:
        class Late(PoolListener):
            async def ticked(self, ticks: list[Tick]) -> None:  # type: ignore[override]
                """Nobody would await it."""

        for listener in (Late(), object()):
            with pytest.raises(TypeError):
                scene.pool.listen(listener)  # type: ignore[arg-type]
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 60)
        assert faults(scene) == {}

    play(scenario)


# -- endpoint() -------------------------------------------------------------------------------------------


async def hangs() -> Endpoint:
    await asyncio.sleep(1e6)
    raise AssertionError


async def ignores_its_cancellation() -> Endpoint:
    try:
        await asyncio.sleep(1e6)
    except asyncio.CancelledError:
        await asyncio.sleep(100)
    raise AssertionError


async def is_cancelled() -> Endpoint:
    raise asyncio.CancelledError


async def is_nonsense() -> Any:
    return None


async def is_half_nonsense() -> Any:
    return 1, {}


@pytest.mark.parametrize(
    "endpoint", [hangs, ignores_its_cancellation, is_cancelled, is_nonsense, is_half_nonsense]
)
def test_a_bad_call_of_endpoint_costs_one_dial_its_limit_and_no_other_connection_its_permit(
    endpoint: Callable[[], Awaitable[Endpoint]],
) -> None:
    async def scenario(scene: Stage) -> None:
        good, asked = scene.feed.endpoint, 0

        async def flaky() -> Endpoint:
            nonlocal asked
            asked += 1
            return await (endpoint() if asked <= 2 else good())

        scene.feed.endpoint = flaky  # type: ignore[method-assign]
        scene.pool.subscribe(scene.feed.instruments)
        took = await scene.until(scene.all_live, 60)
        assert took < 2 * DIAL_SECONDS + 20
        assert sum(faults(scene).values()) == 2
        assert scene.taken() == 3
        await asyncio.sleep(200)  # until what ignored its cancellation has ended

    play(scenario)


def test_a_pool_closes_at_once_though_endpoint_ignores_its_cancellation() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        released = asyncio.Event()
        async with stage() as scene:

            async def stubborn() -> Endpoint:
                while not released.is_set():
                    try:
                        await released.wait()
                    except asyncio.CancelledError:
                        continue
                raise LookupError

            scene.feed.endpoint = stubborn  # type: ignore[method-assign]
            scene.pool.subscribe(scene.feed.instruments)
            await asyncio.sleep(1)
            begun = loop.time()
        assert loop.time() - begun < 5
        released.set()

    run(main)


def test_a_dial_that_breaks_its_time_out_is_given_up_with_its_permit() -> None:
    async def scenario(scene: Stage) -> None:
        good, dials = scene.broker.dial, 0

        async def flaky(*args: Any, **options: Any) -> Any:
            nonlocal dials
            dials += 1
            return await (asyncio.sleep(1e6) if dials == 1 else good(*args, **options))

        for replica in scene.pool._replicas:
            replica._sockets._dial = flaky
        scene.pool.subscribe(scene.feed.instruments)
        assert await scene.until(scene.all_live, 60) < 2 * DIAL_SECONDS + 10
        assert faults(scene) == {"dial": 1}

    play(scenario)


# -- an adapter's wire ------------------------------------------------------------------------------------


class Broken(ScriptedWire):
    """Raises in the methods that are named, as often as `times` says."""

    methods: tuple[str, ...] = ()
    times = 0

    def _may_fail(self, method: str) -> None:
        if method in Broken.methods and Broken.times > 0:
            Broken.times -= 1
            raise RuntimeError(method)

    def binary(self, *args: Any) -> list[Tick]:
        self._may_fail("binary")
        return super().binary(*args)

    def text(self, *args: Any) -> list[Tick]:
        self._may_fail("text")
        return super().text(*args)

    def farewell(self, code: int, reason: str) -> Farewell:
        self._may_fail("farewell")
        return super().farewell(code, reason)

    def requests(self, batch: ControlBatch) -> list[str]:
        self._may_fail("requests")
        return super().requests(batch)


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def breaks(method: str, times: int) -> None:
        monkeypatch.setattr(Broken, "methods", (method,))
        monkeypatch.setattr(Broken, "times", times)

    return breaks


def test_a_message_that_the_wire_raises_at_costs_that_message_and_not_the_socket(
    broken: Callable[..., None],
) -> None:
    broken("binary", 5)

    async def scenario(scene: Stage) -> None:
        scene.feed.wire = Broken  # type: ignore[method-assign]
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 60)
        assert faults(scene) == {"Broken.binary": 5}
        assert [c["dials"] for c in scene.pool.get_pool_stats()["websocket"]["per_connection"]] == [1, 1, 1]

    play(scenario)


@pytest.mark.parametrize("method", ["requests", "farewell"])
def test_a_wire_that_raises_costs_no_connection_its_task_and_no_account_its_permit(
    method: str, broken: Callable[..., None]
) -> None:
    broken(method, 3)

    async def scenario(scene: Stage) -> None:
        scene.feed.wire = Broken  # type: ignore[method-assign]
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(scene.all_live, 120)
        scene.broker.kill_all()
        await scene.until(lambda: not scene.all_live(), 60)
        await scene.until(scene.all_live, 120)
        assert Broken.times == 0
        assert sum(faults(scene).values()) == 3
        assert scene.taken() == 3

    play(scenario)


def test_a_connection_whose_task_dies_is_told_and_begins_again_with_growing_rests() -> None:
    async def scenario(scene: Stage) -> None:
        good, made = scene.feed.wire, 0

        def wire() -> ScriptedWire:
            nonlocal made
            made += 1
            if made <= 4:
                raise ZeroDivisionError
            return good()

        scene.feed.wire = wire  # type: ignore[method-assign]
        scene.pool.subscribe(scene.feed.instruments[0])
        await scene.until(lambda: faults(scene).get("connection") == 1, 10)
        (shown,) = scene.pool.get_pool_stats()["websocket"]["per_connection"]
        assert (shown["state"], shown["last_fault"]) == ("waiting", "unexpected error, see the log")
        assert scene.taken() == 0
        await scene.until(scene.all_live, 60)
        assert faults(scene) == {"connection": 4}
        reasons = [e.reason for e in scene.pool.journal.entries() if e.event is Event.FAULT]
        assert reasons == ["connection raised ZeroDivisionError (1 so far); see the log"]

    play(scenario)


# -- the login and the regular look -----------------------------------------------------------------------


def test_a_watcher_of_the_login_that_raises_keeps_nobody_from_the_new_credentials() -> None:
    async def scenario(scene: Stage) -> None:
        def raises() -> None:
            raise RuntimeError

        login = scene.feed.login
        login._watchers.insert(0, raises)  # told before the pool is
        scene.pool.subscribe(scene.feed.instruments[:10])
        await scene.until(scene.all_live, 60)
        scene.broker.issue("day-2")
        assert login.renew(Credentials("day-2"))
        await scene.until(lambda: len({r.token for r in scene.broker.ledger.dials}) == 2, 120)
        assert faults(scene)["raises"] >= 1

    play(scenario)


def test_a_look_that_raises_is_told_and_the_next_one_comes() -> None:
    class Closed:
        looks = 0

        def is_open(self, exchange: str, at: float) -> bool:
            self.looks += 1
            if self.looks < 5:
                raise RuntimeError
            return True

    hours: Any = Closed()

    async def scenario(scene: Stage) -> None:
        scene.pool.subscribe(scene.feed.instruments)
        await scene.until(lambda: hours.looks > 20, 60)
        assert faults(scene) == {"Supervision.look": 4}
        assert scene.pool.state(scene.feed.instruments[0]) is SymbolState.LIVE

    play(scenario, hours=hours)
