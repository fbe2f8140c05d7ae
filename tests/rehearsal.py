"""What tests of the pool and the gateway share: a feed for a simulator, and waiting without sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any

from brokerpool import Instrument, Mode, TokenBook, WebSocketPool, ZerodhaFeed
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.simulator.zerodha.broker import KiteSimulator

KITE_MODES = {"ltp": Mode.LTP, "quote": Mode.QUOTE, "full": Mode.DEPTH}


class Prompt(Random):
    """Draws the lowest number, so that re-dials follow at once and tests need not wait for jitter."""

    def uniform(self, a: float, b: float) -> float:
        return a


def feed(simulator: KiteSimulator, **limits: Any) -> ZerodhaFeed:
    """Return a feed that dials the simulator and knows what it lists; `limits` replace Kite's figures."""
    book = TokenBook((Instrument(row.exchange, row.tradingsymbol), row.token) for row in simulator.listings)
    return ZerodhaFeed(
        simulator.api_key,
        simulator.access_token,
        ws_url=simulator.ws_url,
        http_url=simulator.http_url,
        book=book,
        # Without a budget for dials: a test that cuts sockets by the dozen need not wait for it.
        limits=replace(FeedLimits.load("brokerpool.brokers.zerodha"), **{"dials": (), **limits}),
    )


def instruments(simulator: KiteSimulator, count: int | None = None) -> list[Instrument]:
    """Return the first instruments that the simulator lists."""
    return [Instrument(row.exchange, row.tradingsymbol) for row in simulator.listings[:count]]


def served(simulator: KiteSimulator) -> dict[int, Mode]:
    """Return what the broker serves over all sockets: token -> mode."""
    return {
        int(token): KITE_MODES[mode]
        for socket in simulator.sockets()
        for token, mode in socket["tokens"].items()
    }


def demanded(pool: WebSocketPool) -> dict[Any, Mode | None]:
    """Return what the pool's owners want: token -> highest mode."""
    return {pool.feed.book.token(i): pool.demand.mode(i) for i in pool.demand.instruments()}


def carrier(simulator: KiteSimulator, pool: WebSocketPool, instrument: Instrument) -> int:
    """Return the id of the simulator's socket that carries an instrument; which was first is chance."""
    token = str(pool.feed.book.token(instrument))
    return int(next(socket["id"] for socket in simulator.sockets() if token in socket["tokens"]))


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Return once the condition holds; fail when it does not within `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110  (the condition is another party's state)
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s") from None


@asynccontextmanager
async def no_task_dies() -> AsyncIterator[None]:
    """Fail when anything inside raised where nobody could catch it: in a task, a timer or a callback."""
    raised: list[dict[str, Any]] = []

    def note(_: object, context: dict[str, Any]) -> None:
        # A client that hangs up in the middle of its TLS handshake, as one that is cancelled does, is told by
        # asyncio's server in this way.
        hung_up = isinstance(context.get("exception"), ConnectionError)
        if not (hung_up and "incoming connection" in context["message"]):
            raised.append(context)

    asyncio.get_running_loop().set_exception_handler(note)
    yield
    assert not raised, raised


@asynccontextmanager
async def rehearsal(
    *,
    max_symbols: int = 1000,
    max_connections: int = 3,
    linger: float = 30.0,
    redundancy: int = 1,
    grace: float = 5.0,
    limits: Mapping[str, Any] | None = None,
    **simulator: Any,
) -> AsyncIterator[tuple[KiteSimulator, WebSocketPool]]:
    """Give a running simulator and a pool that uses it; `limits` replace Kite's figures."""
    async with no_task_dies(), KiteSimulator(**{"rate": 0, **simulator}) as broker:
        pool = WebSocketPool(
            feed(broker, **(limits or {})),
            max_symbols=max_symbols,
            max_connections=max_connections,
            linger=linger,
            redundancy=redundancy,
            grace=grace,
            random=Prompt(),
        )
        try:
            yield broker, pool
        finally:
            await pool.close()
