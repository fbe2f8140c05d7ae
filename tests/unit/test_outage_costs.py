"""What calls cost while a connection of 3,000 symbols is out, against the same calls while all are live.

CPU time alone is compared, as a ratio within one run: what else the machine does makes no difference.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, cast

import pytest

from brokerpool import Credentials, Instrument, Mode, SymbolState, TokenBook, WebSocketPool
from brokerpool.brokers.base import ControlBatch, Endpoint, Farewell, FeedLimits, Notice, NoticeKind, RateWindow
from brokerpool.brokers.login import Login
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.feed_status import FeedStatus
from brokerpool.instruments import Token
from brokerpool.monitor.journal import Event
from brokerpool.ticks import Tick
from brokerpool.transport import DialError, Link, LinkHandler
from tests.rehearsal import Prompt
from tests.simulation.virtual_loop import run

SIZE = 3000
SYMBOLS = [Instrument("NSE", f"S{n}") for n in range(3 * SIZE)]


class Codec:
    """A wire format that costs next to nothing: a message is the tokens that tick."""

    skipped: dict[str, int] = {}  # noqa: RUF012  (nothing is ever skipped)

    def requests(self, batch: ControlBatch) -> list[str]:
        return [" ".join(map(str, [*batch.add, *batch.remode]))]

    def decode(
        self, payload: bytes | memoryview, routes: Mapping[Token, Instrument], received_ms: int
    ) -> list[Tick]:
        tokens = map(int, bytes(payload).decode().split())
        return [Tick(routes[token], 1.0, received_ms) for token in tokens if token in routes]

    def notice(self, text: str) -> Notice:
        return Notice(NoticeKind.UNKNOWN, text)

    def farewell(self, code: int, reason: str) -> Farewell:
        return Farewell.LOST


class Feed:
    name = "ws"
    limits = FeedLimits(SIZE, 3, 200, (), (), False, (RateWindow(5, 1.0),), 0.0, 1000.0, 5)  # noqa: FBT003

    def __init__(self) -> None:
        self.book = TokenBook((instrument, n) for n, instrument in enumerate(SYMBOLS))
        self.login = Login(Credentials("monday"))

    async def endpoint(self) -> Endpoint:
        return Endpoint("ws://broker", {})

    def codec(self) -> Codec:
        return Codec()


class Socket:
    """A broker that ticks once for each symbol that it is asked for."""

    peer = "127.0.0.1:1"

    def __init__(self, handler: LinkHandler) -> None:
        self.handler = handler
        self.closed = False

    def send_text(self, message: str) -> None:
        asyncio.get_running_loop().call_soon(self._tick, message.encode())

    def _tick(self, message: bytes) -> None:
        if not self.closed:
            self.handler.binary(message)

    def ping(self) -> None:
        self.handler.control_frame(answered=False)

    def close(self, code: int = 1000, reason: str = "") -> None:
        if not self.closed:
            self.closed = True
            asyncio.get_running_loop().call_soon(self.handler.closed, code, reason)

    def abort(self) -> None:
        self.close(1006)


class Scene:
    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.sockets: dict[str, Socket] = {}
        self.pool = WebSocketPool(
            Feed(), max_symbols=SIZE, grace=0.5, linger=600.0, random=Prompt(), dial=self._dial
        )
        self.fanout = Fanout("ws")
        self.status = FeedStatus(self.pool, self.fanout)
        self.pool.listen(self.status)

    async def _dial(
        self, url: str, handler: LinkHandler, *, headers: Mapping[str, str] | None, timeout: float
    ) -> Link:
        name = cast("Any", handler).name
        if name in self.refused:
            raise DialError("refused with HTTP 503", 503)
        self.sockets[name] = Socket(handler)
        return cast("Link", self.sockets[name])

    def lose(self, name: str) -> None:
        self.refused.add(name)
        self.sockets[name].abort()

    def guests(self) -> int:
        return sum(c["guests"] for c in self.pool.get_pool_stats()["websocket"]["per_connection"])


@asynccontextmanager
async def scene(wanted: int, *, out: bool) -> AsyncIterator[Scene]:
    """Give a pool of three connections with so many symbols; the first connection may have been out for long."""
    s = Scene()
    s.pool.subscribe(SYMBOLS[:wanted], Mode.LTP, owner="own")
    await asyncio.sleep(5.0)
    assert all(s.pool.state(i) is SymbolState.LIVE for i in SYMBOLS[:wanted])
    if out:
        s.lose("ws-1")
        await asyncio.sleep(5.0)
    try:
        yield s
    finally:
        s.status.close()
        s.fanout.close()
        await s.pool.close()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of what is measured."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def cost(act: Callable[[Instrument], object], symbols: list[Instrument]) -> float:
    """Return the CPU seconds of one call a symbol, and of all that follows from them before a tick may come."""
    with quiet():
        began = time.thread_time()
        for n, instrument in enumerate(symbols):
            act(instrument)
            if n % 250 == 249:
                await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        return time.thread_time() - began


async def there_and_back(wanted: int, *, out: bool) -> tuple[float, float]:
    """Return what it costs to subscribe 3,000 symbols one by one, and to give them up again."""
    fresh = SYMBOLS[wanted : wanted + SIZE]
    async with scene(wanted, out=out) as s:
        assert s.guests() == (min(SIZE, 2 * SIZE - (wanted - SIZE)) if out and wanted > 2 * SIZE else 0)
        subscribed = await cost(lambda i: s.pool.subscribe(i, Mode.LTP), fresh)
        await asyncio.sleep(2.0)
        given_up = await cost(s.pool.unsubscribe, fresh)
        return subscribed, given_up


def best(measure: Callable[[], tuple[float, float]]) -> tuple[float, float]:
    """Return the smallest figures of three runs: what disturbs a run makes it dearer, never cheaper."""
    runs = [measure() for _ in range(3)]
    return min(run[0] for run in runs), min(run[1] for run in runs)


@pytest.mark.parametrize("wanted", [5000, 6000])
def test_3000_calls_with_a_connection_out_cost_at_most_twice_what_they_cost_with_all_live(wanted: int) -> None:
    live = best(lambda: run(lambda: there_and_back(wanted, out=False)))
    out = best(lambda: run(lambda: there_and_back(wanted, out=True)))
    ratios = [round(b / a, 2) for a, b in zip(live, out, strict=True)]
    told = f"live {live}, out {out}, ratios {ratios}"
    print(told)
    assert max(ratios) <= 2, told
