"""A pool and a small scripted broker in virtual time, for stories of single symbols and connections.

The broker of `tests/simulation` draws faults from a seed; this one does what the story says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

from brokerpool import Credentials, Instrument, Mode, PoolListener, SymbolState, TokenBook, WebSocketPool
from brokerpool.brokers.account import Account, Endpoint
from brokerpool.brokers.limits_file import FeedLimits, RateWindow
from brokerpool.brokers.login import Login
from brokerpool.brokers.wire import ControlBatch, Farewell, Signal, Wire
from brokerpool.event_journal import Event
from brokerpool.feed.gaps import Gap
from brokerpool.instruments import Token
from brokerpool.testing.virtual_loop import run, until
from brokerpool.ticks import Tick
from brokerpool.transport import DialError, Link, LinkHandler
from tests.rehearsal import Prompt

SIZE = 4
GRACE = 5.0
MOST_SOCKETS = 4
SYMBOLS = [Instrument("NSE", f"S{n:02}") for n in range(20)]
EVICTED = 4001


def now() -> float:
    return asyncio.get_running_loop().time()


class Socket:
    """The broker's end and the pool's link in one; closing is told once, in a later turn, as a link does."""

    def __init__(self, broker: Broker, handler: LinkHandler) -> None:
        self.broker = broker
        self.handler = handler
        self.name: str = cast("Any", handler)._receiver.name
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

    def after_read(self, callback: Callable[[], None]) -> None:
        callback()  # each message is a read of its own

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
        name = cast("Any", handler)._receiver.name
        self.dialled.append((now(), name))
        await asyncio.sleep(0.01)
        if self.refuses & {"*", name}:
            raise DialError("refused with HTTP 503", 503)
        socket = Socket(self, handler)
        socket.mute = name in self.mutes
        self.sockets.append(socket)
        self.peak = max(self.peak, len(self.sockets))
        handler.opened(cast("Link", socket))
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


class JsonWire(Wire):
    """A wire format of JSON; every tick of a token has another price."""

    prices: dict[int, int] = {}  # noqa: RUF012  (shared, as a symbol has one price)
    skipped: dict[str, int] = {}  # noqa: RUF012
    signals: list[Signal] = []  # noqa: RUF012

    def requests(self, batch: ControlBatch) -> list[str]:
        return [json.dumps({"drop": list(batch.drop), "add": [*batch.add.items(), *batch.remode.items()]})]

    def binary(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        moment = now() // 0.5
        return [
            Tick(instrument=routes[token], ltp=moment + token / 100, timestamp=received_ms)
            for token in json.loads(bytes(payload))
            if token in routes
        ]

    def farewell(self, code: int, reason: str) -> Farewell:
        return Farewell.EVICTED if code == EVICTED else Farewell.LOST


class Feed(Account):
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

    def wire(self) -> JsonWire:
        return JsonWire()


class Told(PoolListener):
    def __init__(self) -> None:
        self.gaps: dict[Instrument, list[Gap]] = {}
        self.open: set[Instrument] = set()
        self.degraded: list[Instrument] = []
        self.last: dict[Instrument, SymbolState] = {}

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self.last.update(dict.fromkeys(instruments, state))
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
        self.replica = pool._replicas[0]
        self.placement = self.replica.placement

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
        return served == homes and not self.placement.has_hosted and states <= {SymbolState.LIVE}

    def hosted(self, name: str) -> list[Instrument]:
        return sorted(self.placement.hosted(name))

    def events(self, event: Event) -> list[str]:
        return [entry.connection for entry in self.pool.journal.entries() if entry.event is event]


@asynccontextmanager
async def stage(
    *, connections: int = 3, linger: float = 30.0, placement: str = "fill-first", **limits: Any
) -> AsyncIterator[Stage]:
    """Give a stage; in the end no socket may be left, and no limit of the broker have been exceeded."""
    broker = Broker()
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
        wall_clock=now,
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


def on_stage(**figures: Any) -> Callable[[Callable[[Stage], Coroutine[Any, Any, None]]], Callable[[], None]]:
    """Make a test of a story, which is played on a stage of its own and may leave nothing behind."""

    def told(story: Callable[[Stage], Coroutine[Any, Any, None]]) -> Callable[[], None]:
        async def main() -> None:
            async with stage(**figures) as s:
                await story(s)

        def test() -> None:
            run(main)

        test.__name__, test.__doc__ = story.__name__, story.__doc__
        return test

    return told
