"""The gateway's own tests once more, over a router of two accounts, of which the first serves it all."""

from __future__ import annotations

import asyncio

import pytest

from brokerpool import Instrument
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.router import Router
from brokerpool.feed.router_accounts import Route
from brokerpool.simulator.zerodha.broker import KiteSimulator
from tests.gateway_client import client, gateway
from tests.rehearsal import feed, until
from tests.unit.gateway_tests import MODULES, collected, stand_over

globals().update(collected(MODULES, ()))


def routed(pool: WebSocketPool) -> Router:
    """Return a router of the pool and another one, which serves an exchange that the tests leave alone."""
    second = WebSocketPool(pool.feed, name="second", max_symbols=5, max_connections=1)
    return Router([Route("first", pool), Route("second", second, frozenset({"NCDEX"}))])


@pytest.fixture(autouse=True)
def _over_a_router(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_over(monkeypatch, routed)


def test_the_gateway_of_these_tests_stands_over_a_router() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            assert isinstance(served_by.upstream, Router)

    asyncio.run(main())


def test_frames_name_the_broker_that_feeds_their_symbol_and_the_gap_of_a_move_is_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with KiteSimulator(rate=0, symbols=30) as other:

            def both(pool: WebSocketPool) -> Router:
                account = feed(other)
                account.name = "otherbroker"
                second = WebSocketPool(account, grace=0.2)
                return Router([Route("first", pool), Route("second", second)], grace=0.2)

            stand_over(monkeypatch, both)
            async with gateway() as (broker, served_by), client(served_by) as program:
                upstream = served_by.upstream
                infy = Instrument("NSE", "INFY")
                await program.subscribe("INFY")
                await until(lambda: upstream.account(infy) == "first")
                await broker.step(1)
                assert {frame["broker"] for frame in await program.take(1)} == {"zerodha"}
                assert not program.symbol_news

                broker.expire_token(close_sockets=True)
                await until(lambda: other.sockets() and upstream.account(infy) == "second")
                await other.step(1)
                await until(lambda: upstream.gap(infy) is None)
                moved = await program.take(1)
                assert {frame["broker"] for frame in moved} == {"otherbroker"}
                news = [(frame["status"], frame["broker"]) for frame in program.symbol_news]
                assert news == [("stale", "zerodha"), ("gap", "otherbroker")]
                await program.subscribe("INFY", mode=2)
                await other.step(1)
                frames = await program.take(1)
                assert {frame["broker"] for frame in frames} == {"otherbroker"}, "of a new stream as well"

    asyncio.run(main())
