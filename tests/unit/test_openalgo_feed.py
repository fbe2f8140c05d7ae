"""A pool over OpenAlgo on real sockets: one connection, every mode, wrong keys, gaps from further up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from brokerpool import Credentials, DepthTick, Instrument, Mode, SymbolState, Tick, WebSocketPool
from brokerpool.brokers.account import Account
from brokerpool.brokers.limits_file import FeedLimits
from brokerpool.brokers.openalgo import OpenAlgoBook, OpenAlgoFeed
from brokerpool.brokers.registry import Access, broker
from brokerpool.feed.gaps import Gap
from brokerpool.feed.listeners import PoolListener
from tests.rehearsal import Prompt, until
from tests.small_openalgo import KEY, SmallOpenAlgo, small_openalgo

INFY, SBIN = Instrument("NSE", "INFY"), Instrument("NSE", "SBIN")
LIMITS = replace(FeedLimits.load("brokerpool.brokers.openalgo"), dials=())


class Heard(PoolListener):
    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.opened: list[Gap] = []
        self.closed: list[Gap] = []
        self.orders: list[Any] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += ticks

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self.opened += gaps

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self.closed += gaps

    def order_updated(self, update: str | bytes) -> None:
        self.orders.append(json.loads(update))


def feed(server: SmallOpenAlgo, key: str = KEY, **options: Any) -> OpenAlgoFeed:
    return OpenAlgoFeed(
        key, ws_url=f"ws://{server.url}/ws", http_url=f"http://{server.url}", **{"limits": LIMITS, **options}
    )


@asynccontextmanager
async def served(
    key: str = KEY, **options: Any
) -> AsyncIterator[tuple[SmallOpenAlgo, OpenAlgoFeed, WebSocketPool, Heard]]:
    async with small_openalgo() as server:
        account = feed(server, key, **options)
        async with WebSocketPool(account, random=Prompt()) as pool:
            heard = Heard()
            pool.listen(heard)
            yield server, account, pool, heard


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]  # a coroutine function


def test_the_account_is_what_the_pool_and_the_registry_expect() -> None:
    account: Account = OpenAlgoFeed(KEY)
    assert account.name == "openalgo"
    assert account.limits.max_connections == 1
    openalgo = broker("openalgo")
    assert openalgo.key_is_login
    made = openalgo.account(Access("app-key", Credentials(""), fields={"one_symbol_a_frame": "yes"}))
    assert made.login.credentials.access_token == "app-key"
    assert made.rest().order_key() == "app-key"
    assert made.rest().carries_orders
    stored = openalgo.account(Access("app-key", Credentials("stored-key")))
    assert stored.login.credentials.access_token == "stored-key"
    assert "stored-key" not in f"{stored!r} {stored.rest()!r} {stored.wire()!r}"


def test_ticks_of_all_modes_come_over_one_connection() -> None:
    async def main() -> None:
        async with served() as (server, _, pool, heard):
            pool.subscribe(INFY, Mode.LTP)
            pool.subscribe([SBIN, Instrument("NSE_INDEX", "NIFTY")], Mode.DEPTH)
            await until(lambda: len(server.held) == 3)
            await server.push("NSE:INFY", ltp=5.5, timestamp=1_790_000_000)
            await server.push("NSE:SBIN", ltp=7, depth={"buy": [], "sell": []})
            await until(lambda: len(heard.ticks) == 2)
            infy, sbin = heard.ticks
            assert infy == Tick(INFY, 5.5, 1_790_000_000_000)
            assert isinstance(sbin, DepthTick)
            assert pool.state(INFY) is SymbolState.LIVE
            assert server.dials == 1

    play(main)


def test_a_mode_that_rises_leaves_one_subscription_at_the_server_and_no_hole() -> None:
    async def main() -> None:
        async with served() as (server, _, pool, heard):
            pool.subscribe(INFY, Mode.LTP, owner="a")
            await until(lambda: server.held == {"NSE:INFY": {1}})
            await server.push("NSE:INFY", ltp=1)
            await until(lambda: heard.ticks)
            pool.subscribe(INFY, Mode.DEPTH, owner="b")
            await until(lambda: server.held == {"NSE:INFY": {3}})
            pool.release("b")
            await until(lambda: server.held == {"NSE:INFY": {1}})
            pool.release("a")
            await until(lambda: server.held == {"NSE:INFY": set()})
            assert not heard.opened

    play(main)


def test_a_mode_that_is_refused_leaves_the_old_one_in_force() -> None:
    async def main() -> None:
        async with served() as (server, _, pool, heard):
            server.refused["NSE:INFY"] = {3}
            pool.subscribe(INFY, Mode.LTP, owner="a")
            await until(lambda: server.held)
            await server.push("NSE:INFY", ltp=1)
            await until(lambda: heard.ticks)
            pool.subscribe(INFY, Mode.DEPTH, owner="b")
            await until(lambda: server.frames[-1].get("mode") == 3)
            await until(lambda: "not for you" in pool.explain(INFY).why)
            assert server.held == {"NSE:INFY": {1}}
            await server.push("NSE:INFY", ltp=2)
            await until(lambda: len(heard.ticks) == 2)

    play(main)


def test_a_refused_symbol_stands_refused_with_the_servers_words() -> None:
    async def main() -> None:
        async with served() as (server, _, pool, _):
            server.refused["NSE:NOPE"] = {1, 2, 3}
            pool.subscribe(["NSE:NOPE", INFY], Mode.QUOTE)
            await until(lambda: pool.state(Instrument("NSE", "NOPE")) is SymbolState.REFUSED)
            assert "NSE:NOPE is not for you" in pool.explain("NSE:NOPE").why
            await until(lambda: server.held == {"NSE:INFY": {2}})

    play(main)


def test_a_wrong_key_parks_with_no_further_dial_until_there_is_another() -> None:
    async def main() -> None:
        async with served("a-wrong-key") as (server, account, pool, heard):
            pool.subscribe(INFY)
            await until(lambda: account.login.refused)
            await asyncio.sleep(0.3)
            assert server.dials == 1
            account.login.renew(Credentials(KEY))
            await until(lambda: server.held)
            await server.push("NSE:INFY", ltp=1)
            await until(lambda: heard.ticks)
            assert server.dials == 2

    play(main)


def test_a_key_that_is_revoked_parks_and_a_server_that_was_too_slow_does_not() -> None:
    async def main() -> None:
        async with served() as (server, account, pool, _):
            pool.subscribe(INFY)
            await until(lambda: server.held)
            server.answers_keys = False
            await server.close(1001, "restart")
            await until(lambda: server.dials == 2 and server.sockets)
            await server.close(4401, "auth timeout")  # as OpenAlgo does when its broker is slow
            server.answers_keys = True
            await until(lambda: server.held)
            assert not account.login.refused
            dials = server.dials
            await server.close(4403, "the key is not valid any more")
            await until(lambda: account.login.refused)
            await asyncio.sleep(0.2)
            assert server.dials == dials

    play(main)


def test_an_authentication_that_waits_for_the_broker_is_waited_for() -> None:
    async def main() -> None:
        async with served() as (server, _, pool, _):
            server.auth_seconds = 1.0
            pool.subscribe(INFY)
            await until(lambda: server.held)
            assert server.dials == 1
            assert [frame["action"] for frame in server.frames] == ["authenticate", "subscribe"]

    play(main)


def test_a_stop_further_up_is_a_gap_that_ends_with_the_next_tick() -> None:
    async def main() -> None:
        async with served() as (server, _, pool, heard):
            pool.subscribe([INFY, SBIN])
            await until(lambda: len(server.held) == 2)
            await server.push("NSE:INFY", ltp=1)
            await until(lambda: heard.ticks)
            status = {"type": "feed_status", "symbol": "INFY", "exchange": "NSE", "broker": "zerodha"}
            await server.send({**status, "status": "stale", "from": 1, "message": "reset by peer"})
            await until(lambda: heard.opened)
            assert pool.gap(INFY) is not None
            await server.send({**status, "status": "gap", "from": 1, "to": 2, "message": "reset by peer"})
            await server.push("NSE:INFY", ltp=2)
            await until(lambda: heard.closed)
            assert [gap.instrument for gap in heard.opened] == [INFY]
            assert "reset by peer" in heard.closed[0].reason

    play(main)


def test_order_updates_are_asked_for_by_the_account_that_carries_orders_alone() -> None:
    async def main() -> None:
        update = {"type": "order_update", "orderid": "7", "order_status": "complete"}
        async with served(orders=True) as (server, _, pool, heard):
            pool.subscribe(INFY)
            await until(lambda: {"action": "subscribe_orders"} in server.frames)
            await server.send(update)
            await until(lambda: heard.orders == [update])
        async with served() as (server, _, pool, _):
            pool.subscribe(INFY)
            await until(lambda: server.held)
            assert {"action": "subscribe_orders"} not in server.frames

    play(main)


def test_a_server_that_takes_one_symbol_a_frame_gets_them_so() -> None:
    async def main() -> None:
        async with served(one_symbol_a_frame=True) as (server, _, pool, _):
            pool.subscribe([INFY, SBIN], Mode.LTP)
            await until(lambda: server.held == {"NSE:INFY": {1}, "NSE:SBIN": {1}})
            assert not any("symbols" in frame for frame in server.frames)

    play(main)


def test_with_a_list_what_it_does_not_have_is_refused_at_once_and_more_levels_of_it_are_not() -> None:
    book = OpenAlgoBook([(INFY, "NSE:INFY")])
    assert book.token("NSE:INFY:50") == "NSE:INFY:50"
    assert book.instrument("NSE:INFY:50") == Instrument("NSE", "INFY:50")
    for name in ("NSE:SBIN", "NSE:SBIN:50", "NSE:INFY:0", "NSE:INFY:x", "NSE:INFY:"):
        assert book.token(name) is None
        assert name not in book
    assert list(book) == [INFY]


@pytest.mark.parametrize("name", ["NSE:infy", "NSE:IN FY", "XYZ:INFY", f"NSE:{'A' * 65}", "NSE:ÄB"])
def test_without_a_list_a_name_that_is_none_has_no_token(name: str) -> None:
    assert OpenAlgoBook().token(name) is None
    assert OpenAlgoBook().instrument(name) is None
