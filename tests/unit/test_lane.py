"""Where symbols are carried while connections fail and return, with a scripted broker in invented time."""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from random import Random
from typing import Any, cast

import pytest

from brokerpool import (
    Credentials,
    Instrument,
    Mode,
    PoolListener,
    SymbolState,
    TokenBook,
    WebSocketPool,
)
from brokerpool.brokers.base import (
    ControlBatch,
    Endpoint,
    Farewell,
    FeedLimits,
    Notice,
    NoticeKind,
    RateWindow,
)
from brokerpool.brokers.login import Login
from brokerpool.feed.backoff import PROVEN_SECONDS
from brokerpool.feed.gaps import Gap
from brokerpool.instruments import Token
from brokerpool.monitor.journal import Event
from brokerpool.ticks import Tick
from brokerpool.transport import DialError, Link, LinkHandler
from tests.rehearsal import Prompt, no_task_dies

SIZE = 4
GRACE = 5.0
MOST_SOCKETS = 4
SYMBOLS = [Instrument("NSE", f"S{n:02}") for n in range(20)]
EVICTED = 4001


class InventedTime(asyncio.SelectorEventLoop):
    """A loop that never sleeps: when nothing is due, it is later."""

    def __init__(self) -> None:
        super().__init__(_Hurry(self))
        self.now = 10_000.0

    def time(self) -> float:
        return self.now if hasattr(self, "now") else 0.0


class _Hurry(selectors.DefaultSelector):
    def __init__(self, loop: InventedTime) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout:
            self._loop.now += timeout
        return super().select(0)


def run(main: Coroutine[Any, Any, None]) -> None:
    with asyncio.Runner(loop_factory=InventedTime) as runner:
        runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(condition: Callable[[], object], seconds: float = 100.0) -> float:
    """Return when the condition first held, in seconds from now; fail when that is not within `seconds`."""
    began = now()
    while not condition():
        assert now() - began < seconds, f"not within {seconds:g} s"
        await asyncio.sleep(0.05)
    return now() - began


class Socket:
    """The broker's end and the pool's link in one; closing is told once, in a later turn, as a link does."""

    def __init__(self, broker: Broker, handler: LinkHandler) -> None:
        self.broker = broker
        self.handler = handler
        self.name: str = cast("Any", handler).name
        self.opened_at = now()
        self.tokens: dict[int, Mode] = {}
        self.mute = False
        self.closed = False
        self.peer = "127.0.0.1:1"

    def send_text(self, message: str) -> None:
        if self.closed:
            return
        batch = json.loads(message)
        for token in batch["drop"]:
            if self.tokens.pop(token, None) is None:
                self.broker.violations.append(f"{self.name}: {token} was never asked for")
        for token, mode in batch["add"]:
            if self.tokens.get(token) == mode:
                self.broker.violations.append(f"{self.name}: {token} was asked for twice")
            self.tokens[token] = Mode(mode)
        if len(self.tokens) > SIZE:
            self.broker.violations.append(f"{self.name} is asked for {len(self.tokens)} symbols")
        if not self.mute:
            self.say([token for token, _ in batch["add"]])

    def say(self, tokens: list[int]) -> None:
        """Send one message with ticks, in a turn of its own."""
        asyncio.get_running_loop().call_soon(self._deliver, json.dumps(tokens).encode())

    def ping(self) -> None:
        asyncio.get_running_loop().call_soon(self._pong)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not self.closed:
            self.closed = True
            self.broker.sockets.remove(self)
            asyncio.get_running_loop().call_soon(self.handler.closed, code, reason)

    def abort(self) -> None:
        self.close(1006, "connection lost")

    def _deliver(self, message: bytes) -> None:
        if not self.closed:
            self.handler.binary(message)

    def _pong(self) -> None:
        if not self.closed:
            self.handler.control_frame(answered=False)


class Broker:
    """Accepts or refuses, ticks every half second, and looks that no limit is exceeded."""

    def __init__(self) -> None:
        self.sockets: list[Socket] = []
        self.refuses: set[str] = set()  # names of connections; "*" for all
        self.mutes: set[str] = set()  # names of connections whose next sockets are mute
        self.dialled: list[tuple[float, str]] = []
        self.peak = 0
        self.violations: list[str] = []

    async def dial(
        self, url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Link:
        name = cast("Any", handler).name
        self.dialled.append((now(), name))
        await asyncio.sleep(0.01)
        if self.refuses & {"*", name}:
            raise DialError("refused with HTTP 503", 503)
        socket = Socket(self, handler)
        socket.mute = name in self.mutes
        self.sockets.append(socket)
        self.peak = max(self.peak, len(self.sockets))
        return cast("Link", socket)

    def socket(self, name: str) -> Socket | None:
        return next((socket for socket in self.sockets if socket.name == name), None)

    def kill(self, name: str, *, for_good: bool = True) -> None:
        if for_good:
            self.refuses.add(name)
        socket = self.socket(name)
        assert socket is not None
        socket.abort()

    def served(self) -> dict[str, list[int]]:
        return {socket.name: sorted(socket.tokens) for socket in self.sockets}

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            for socket in self.sockets:
                if not socket.mute:
                    socket.say(list(socket.tokens))


class Codec:
    """A wire format of JSON; every tick of a token has another price."""

    prices: dict[int, int] = {}  # noqa: RUF012  (shared, as a symbol has one price)
    skipped: dict[str, int] = {}  # noqa: RUF012

    def requests(self, batch: ControlBatch) -> list[str]:
        return [json.dumps({"drop": list(batch.drop), "add": [*batch.add.items(), *batch.remode.items()]})]

    def decode(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        moment = now() // 0.5
        return [
            Tick(instrument=routes[token], ltp=moment + token / 100, timestamp=received_ms)
            for token in json.loads(bytes(payload))
            if token in routes
        ]

    def notice(self, text: str) -> Notice:
        return Notice(NoticeKind.UNKNOWN, text)

    def farewell(self, code: int, reason: str) -> Farewell:
        return Farewell.EVICTED if code == EVICTED else Farewell.LOST


class Feed:
    name = "ws"

    def __init__(self, **limits: Any) -> None:
        figures: dict[str, Any] = {
            "symbols_per_connection": SIZE,
            "max_connections": MOST_SOCKETS,
            "batch_size": 10,
            "control_messages": (),
            "account_messages": (),
            "pings_counted": False,
            "dials": (RateWindow(5, 1.0),),
            "socket_life_seconds": 0.0,
            "silence_seconds": 1000.0,
            "depth_levels": 5,
        }
        self.limits = FeedLimits(**{**figures, **limits})
        self.book = TokenBook((instrument, n) for n, instrument in enumerate(SYMBOLS))
        self.login = Login(Credentials("monday"))

    async def endpoint(self) -> Endpoint:
        return Endpoint("ws://broker", {})

    def codec(self) -> Codec:
        return Codec()


class Told(PoolListener):
    def __init__(self) -> None:
        self.gaps: dict[Instrument, list[Gap]] = {}
        self.open: set[Instrument] = set()
        self.degraded: list[Instrument] = []

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if state is SymbolState.DEGRADED:
            self.degraded += instruments

    def gaps_opened(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            assert gap.instrument not in self.open
            self.open.add(gap.instrument)

    def gaps_closed(self, gaps: list[Gap]) -> None:
        for gap in gaps:
            self.open.remove(gap.instrument)
            self.gaps.setdefault(gap.instrument, []).append(gap)


class Stage:
    def __init__(self, broker: Broker, pool: WebSocketPool) -> None:
        self.broker, self.pool = broker, pool
        self.told = Told()
        pool.listen(self.told)
        self.lane = pool._lanes[0]
        self.placement = self.lane.placement

    def subscribe(self, instruments: list[Instrument], priority: int = 0) -> None:
        self.pool.subscribe(instruments, Mode.LTP, priority=priority)

    async def live(self) -> None:
        await until(self.settled)

    def settled(self) -> bool:
        """Tell whether every symbol is served by its home and by nobody else."""
        homes = {
            name: sorted(SYMBOLS.index(i) for i in self.placement.homes(name))
            for name in self.placement.loads
            if self.placement.homes(name)
        }
        served = {name: tokens for name, tokens in self.broker.served().items() if tokens}
        states = {self.pool.state(i) for i in self.pool.demand.instruments()}
        return served == homes and not self.placement.has_guests and states <= {SymbolState.LIVE}

    def guests(self, name: str) -> list[Instrument]:
        return sorted(self.placement.guests(name))

    def events(self, event: Event) -> list[str]:
        return [entry.connection for entry in self.pool.journal.entries() if entry.event is event]


@asynccontextmanager
async def stage(
    *, connections: int = 3, linger: float = 30.0, placement: str = "fill-first", **limits: Any
) -> AsyncIterator[Stage]:
    broker = Broker()
    loop = asyncio.get_running_loop()
    async with no_task_dies():
        ticking = asyncio.create_task(broker.tick())
        pool = WebSocketPool(
            Feed(**limits),
            max_symbols=SIZE,
            max_connections=connections,
            linger=linger,
            grace=GRACE,
            placement=placement,
            random=Prompt(),
            dial=broker.dial,
            wall_clock=loop.time,
        )
        try:
            yield Stage(broker, pool)
            assert broker.peak <= connections, "more sockets than allowed"
            assert broker.violations == []
        finally:
            await pool.close()
            ticking.cancel()
            await asyncio.wait({ticking})
        assert broker.sockets == [], "a socket was left open"
        assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left behind"


# -- failover ---------------------------------------------------------------------------------------------


def test_after_the_grace_the_most_important_symbols_move_to_what_room_there_is_and_the_others_are_told() -> (
    None
):
    async def main() -> None:
        async with stage() as s:
            for n in range(4):
                s.subscribe([SYMBOLS[n]], priority=n)
            s.subscribe(SYMBOLS[4:6])
            await s.live()
            s.broker.kill("ws-1")
            await asyncio.sleep(GRACE - 0.5)
            assert s.guests("ws-2") == [], "not before the grace is over"
            took = await until(lambda: s.placement.has_guests)
            assert took <= 0.5 + 1.1, "and within a look after it"
            assert s.guests("ws-2") == SYMBOLS[2:4]
            await until(lambda: s.pool.state(SYMBOLS[3]) is SymbolState.LIVE, 1.0)
            assert s.pool.state(SYMBOLS[0]) is SymbolState.DEGRADED
            assert sorted(s.told.degraded) == SYMBOLS[:2]
            assert s.told.open == set(SYMBOLS[:2])
            assert s.pool.get_pool_stats()["websocket"]["symbols_degraded"] == 2

    run(main())


def test_what_found_no_room_is_first_in_line_for_the_next_free_place() -> None:
    async def main() -> None:
        async with stage() as s:
            for n in range(4):
                s.subscribe([SYMBOLS[n]], priority=n)
            s.subscribe(SYMBOLS[4:8])
            await s.live()
            s.broker.kill("ws-1")
            await until(lambda: len(s.told.degraded) == 4)
            s.pool.unsubscribe(SYMBOLS[5])
            assert s.guests("ws-2") == [SYMBOLS[3]]
            s.pool.unsubscribe(SYMBOLS[4])
            s.subscribe([SYMBOLS[12]])
            assert s.guests("ws-2") == SYMBOLS[2:4]
            assert s.placement.slot(SYMBOLS[12]) == "ws-3", "newcomers open another connection"
            await until(lambda: s.placement.guest(SYMBOLS[0]) is not None)
            await until(lambda: all(s.pool.state(i) is SymbolState.LIVE for i in SYMBOLS[:4]), 5.0)

    run(main())


def test_guests_go_home_without_a_hole_once_their_home_has_stood_for_ten_seconds_and_ticks() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            s.broker.kill("ws-1")
            await until(lambda: len(s.guests("ws-2")) == 2)
            await until(lambda: not s.told.open & set(s.guests("ws-2")))
            guests, holes = s.guests("ws-2"), {i: len(g) for i, g in s.told.gaps.items()}
            s.broker.refuses.clear()
            await until(lambda: s.broker.socket("ws-1") is not None)
            await until(lambda: not s.placement.has_guests)
            home = s.broker.socket("ws-1")
            assert home is not None
            assert PROVEN_SECONDS <= now() - home.opened_at <= PROVEN_SECONDS + 1.2
            await s.live()
            await asyncio.sleep(30.0)
            assert s.settled()
            assert {i: len(s.told.gaps[i]) for i in guests} == {i: holes[i] for i in guests}
            assert not s.told.open

    run(main())


def test_a_home_that_comes_back_mute_does_not_take_its_symbols_from_the_one_that_works() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            s.broker.kill("ws-1")
            await until(lambda: len(s.guests("ws-2")) == 2)
            await asyncio.sleep(1.0)
            guests = s.guests("ws-2")
            s.broker.mutes.add("ws-1")
            s.broker.refuses.clear()
            for _ in range(600):
                await asyncio.sleep(0.1)
                assert not s.told.open & set(guests), "they were served, and are not any more"
            s.broker.mutes.clear()
            await s.live()

    run(main())


def test_when_the_only_connection_is_back_no_symbol_is_called_degraded_any_more() -> None:
    async def main() -> None:
        async with stage(connections=1) as s:
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

    run(main())


def test_guests_make_room_for_symbols_at_home_the_least_important_first() -> None:
    async def main() -> None:
        async with stage(connections=2) as s:
            for n in range(4):
                s.subscribe([SYMBOLS[n]], priority=n)
            s.subscribe(SYMBOLS[4:6])
            await s.live()
            s.broker.kill("ws-1")
            await until(lambda: s.guests("ws-2") == SYMBOLS[2:4])
            await asyncio.sleep(1.0)
            s.subscribe([SYMBOLS[6]])
            assert s.guests("ws-2") == [SYMBOLS[3]]
            assert s.pool.state(SYMBOLS[2]) is SymbolState.DEGRADED
            await until(lambda: s.pool.state(SYMBOLS[6]) is SymbolState.LIVE, 2.0)
            assert SYMBOLS[2] in s.told.open
            assert SYMBOLS[3] not in s.told.open
            s.broker.refuses.clear()
            await s.live()

    run(main())


def test_a_host_that_is_lost_too_gives_its_guests_to_the_next_one() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:10])
            await s.live()
            s.pool.unsubscribe(SYMBOLS[1:4])
            s.pool.unsubscribe(SYMBOLS[4])
            s.broker.kill("ws-1")
            await until(lambda: s.placement.guest(SYMBOLS[0]) == "ws-2")
            s.broker.kill("ws-2")
            await until(lambda: s.placement.guest(SYMBOLS[0]) == "ws-3")
            await until(lambda: s.pool.state(SYMBOLS[0]) is SymbolState.LIVE, 2.0)
            s.broker.refuses.clear()
            await s.live()

    run(main())


def test_a_connection_that_was_host_and_is_lost_asks_for_no_more_than_it_may_when_it_returns() -> None:
    async def main() -> None:
        async with stage(connections=2) as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            s.broker.kill("ws-1")
            await until(lambda: len(s.guests("ws-2")) == 2)
            s.broker.refuses.clear()
            await until(lambda: s.broker.socket("ws-1") is not None)
            s.broker.kill("ws-2")
            await asyncio.sleep(GRACE + 1.5)
            assert s.placement.has_guests, "ws-1 has not been back for long enough"
            s.subscribe(SYMBOLS[6:8])
            s.broker.refuses.clear()
            await s.live()

    run(main())


# -- evacuation -------------------------------------------------------------------------------------------


def test_a_socket_near_its_end_is_replaced_by_another_one_before_it_is_closed_and_nobody_notices() -> None:
    async def main() -> None:
        async with stage(connections=2, socket_life_seconds=1000.0) as s:
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

    run(main())


def test_without_a_free_seat_a_socket_lives_on_to_its_end() -> None:
    async def main() -> None:
        async with stage(connections=1, socket_life_seconds=1000.0) as s:
            s.subscribe(SYMBOLS[:4])
            await s.live()
            await asyncio.sleep(990.0)
            assert s.settled()
            assert s.events(Event.ROTATED) == ["ws-1"], "tried, and told, once"
            assert len(s.broker.dialled) == 1

    run(main())


def test_new_credentials_replace_each_connection_one_after_the_other_without_a_hole() -> None:
    async def main() -> None:
        async with stage(connections=3) as s:
            s.subscribe(SYMBOLS[:7])
            await s.live()
            old = list(s.broker.sockets)
            s.pool.feed.login.renew(Credentials("tuesday"))
            await until(lambda: all(socket.closed for socket in old))
            await s.live()
            assert not s.told.gaps
            assert not s.told.open

    run(main())


def test_a_new_socket_that_is_mute_does_not_replace_one_that_works() -> None:
    async def main() -> None:
        async with stage(connections=2) as s:
            s.subscribe(SYMBOLS[:4])
            await s.live()
            s.broker.mutes.add("ws-2")
            s.pool.feed.login.renew(Credentials("tuesday"))
            await until(lambda: s.broker.socket("ws-2") is not None)
            for _ in range(600):
                await asyncio.sleep(0.1)
                assert not s.told.open

    run(main())


def test_the_smallest_connection_is_emptied_and_closed_when_the_others_have_had_room_for_long() -> None:
    async def main() -> None:
        async with stage(linger=30.0) as s:
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

    run(main())


def test_evenly_loaded_connections_are_not_emptied() -> None:
    async def main() -> None:
        async with stage(placement="least-loaded") as s:
            s.subscribe(SYMBOLS[:3])
            await s.live()
            await asyncio.sleep(300.0)
            assert len(s.broker.sockets) == 3

    run(main())


def test_a_rotation_waits_while_a_connection_is_out_whatever_the_priorities() -> None:
    async def main() -> None:
        async with stage(socket_life_seconds=1000.0) as s:
            s.subscribe(SYMBOLS[:4], priority=9)
            await s.live()
            await asyncio.sleep(100.0)
            s.subscribe(SYMBOLS[4:8], priority=0)
            s.subscribe(SYMBOLS[8:11], priority=0)
            await s.live()
            s.broker.kill("ws-2")
            await until(lambda: s.guests("ws-3") == [SYMBOLS[4]])
            await until(lambda: SYMBOLS[4] not in s.told.open)
            await asyncio.sleep(1000.0)  # the first one is due, and its guest's place would be taken away
            assert not s.events(Event.ROTATED)
            assert s.guests("ws-3") == [SYMBOLS[4]]
            assert len(s.told.gaps[SYMBOLS[4]]) == 1
            assert not s.told.gaps.keys() & set(SYMBOLS[:4])

    run(main())


def test_a_connection_that_dies_while_it_is_emptied_loses_nobody() -> None:
    async def main() -> None:
        async with stage(connections=2, socket_life_seconds=1000.0) as s:
            s.subscribe(SYMBOLS[:4])
            await s.live()
            s.broker.refuses.add("ws-2")
            await until(lambda: s.placement.has_guests, 1000.0)
            s.broker.kill("ws-1", for_good=False)
            s.broker.refuses.clear()
            await s.live()

    run(main())


def test_what_is_given_up_while_its_connection_is_emptied_leaves_nothing_behind() -> None:
    async def main() -> None:
        async with stage(connections=2, linger=5.0, socket_life_seconds=1000.0) as s:
            s.subscribe(SYMBOLS[:4])
            await s.live()
            await until(lambda: s.placement.has_guests, 1000.0)
            s.pool.release("default")
            assert not s.placement.has_guests
            await until(lambda: not s.broker.sockets, 20.0)
            assert s.placement.loads == {}

    run(main())


# -- the account ------------------------------------------------------------------------------------------


def test_an_eviction_is_not_answered_by_a_dial_and_the_symbols_move() -> None:
    async def main() -> None:
        async with stage() as s:
            s.subscribe(SYMBOLS[:6])
            await s.live()
            await asyncio.sleep(20.0)
            evicted = s.broker.socket("ws-1")
            assert evicted is not None
            dials = len(s.broker.dialled)
            evicted.close(EVICTED)
            await until(lambda: len(s.guests("ws-2")) == 2)
            await asyncio.sleep(40.0)
            assert len(s.broker.dialled) == dials
            assert s.pool.get_pool_stats()["websocket"]["allowed_connections"] == 1
            await s.live()
            assert s.events(Event.EVICTED) == ["ws-1"]

    run(main())


def test_while_the_broker_is_away_one_connection_dials_on_behalf_of_all() -> None:
    async def main() -> None:
        async with stage() as s:
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

    run(main())


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

    run(main())
