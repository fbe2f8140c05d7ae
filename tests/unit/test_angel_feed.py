"""Angel's account in a pool, at the simulated broker: its pairs, its "too fast" and its days."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import pytest

from brokerpool import (
    BrokerApi,
    BrokerError,
    CallRefusedError,
    Credentials,
    ErrorCode,
    Instrument,
    Mode,
    SymbolState,
    WebSocketPool,
)
from brokerpool.brokers.account import DialRefusal
from brokerpool.brokers.angel import AngelFeed, SmartStreamWire
from brokerpool.brokers.angel.broker import BROKER
from brokerpool.brokers.registry import Access
from brokerpool.errors import PoolExhaustedError
from brokerpool.instruments import TokenBook
from brokerpool.simulator.angel.broker import AngelSimulator
from brokerpool.simulator.angel.fault_switches import AngelOrder
from brokerpool.simulator.fault_switches import ExpireToken, Refuse
from tests.rehearsal import until

NAMES = {Mode.LTP: "LTP", Mode.QUOTE: "QUOTE", Mode.DEPTH: "SNAP_QUOTE"}
TOO_FAST = "Access denied because of exceeding access rate"


def account(broker: AngelSimulator) -> AngelFeed:
    fields = {"client_code": broker.client_code, "feed_token": broker.feed_token}
    login = Credentials(broker.access_token)
    return BROKER.account(
        Access(broker.api_key, login, ws_url=broker.ws_url, http_url=broker.http_url, fields=fields)
    )


@asynccontextmanager
async def rehearsal(**options: Any) -> AsyncGenerator[tuple[AngelSimulator, WebSocketPool]]:
    async with AngelSimulator(**{"symbols": 50, "rate": 0, **options}) as broker:
        feed = account(broker)
        feed.relist(await feed.instruments())
        async with WebSocketPool(feed) as pool:
            yield broker, pool


def calls(pool: WebSocketPool) -> BrokerApi:
    assert isinstance(pool.feed, AngelFeed)
    return BrokerApi(pool.feed.rest())


def run(scenario: Any) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 60))


def served(broker: AngelSimulator) -> dict[str, int]:
    """Return how many tokens are served in each mode, in Angel's words."""
    return dict(Counter(told for socket in broker.sockets() for told in socket["tokens"].values()))


def _serves(broker: AngelSimulator, counts: dict[str, int]) -> bool:
    return served(broker) == counts


def entries(broker: AngelSimulator) -> list[int]:
    return sorted(socket["entries"] for socket in broker.sockets())


# -- the dial ---------------------------------------------------------------------------------------------


def test_the_login_stands_in_four_headers_and_shows_nowhere() -> None:
    login = Credentials("first-jwt", user="B2", more={"feed_token": "first-feed"})
    feed = AngelFeed("the-key", login, feed_token="given-feed", book=TokenBook())
    endpoint = asyncio.run(feed.endpoint())
    assert endpoint.url == "wss://smartapisocket.angelone.in/smart-stream"
    assert endpoint.headers == {
        "User-Agent": "brokerpool",
        "Authorization": "Bearer first-jwt",
        "x-api-key": "the-key",
        "x-client-code": "B2",
        "x-feed-token": "first-feed",
    }
    for text in (repr(feed), repr(endpoint), repr(feed.rest())):
        assert not any(secret in text for secret in ("jwt", "the-key", "feed-token"))
    feed.login.renew(Credentials("Bearer next-jwt"))
    headers = asyncio.run(feed.endpoint()).headers
    assert (headers["Authorization"], headers["x-feed-token"]) == ("Bearer next-jwt", "given-feed")


def test_a_401_is_the_login_s_and_a_403_is_none_of_it() -> None:
    feed = AngelFeed("key", Credentials("jwt"))
    meant = {status: feed.refused(status) for status in (401, 403, 429, 503, None)}
    assert meant == {
        401: DialRefusal.PARK,
        403: DialRefusal.BUSY,
        429: DialRefusal.BUSY,
        503: DialRefusal.TRY_ON,
        None: DialRefusal.TRY_ON,
    }
    assert isinstance(feed.wire(), SmartStreamWire)
    assert feed.wire() is not feed.wire()


# -- the pool ---------------------------------------------------------------------------------------------


def test_3000_pairs_are_carried_and_none_is_ever_too_many_while_all_their_modes_change() -> None:
    async def main() -> None:
        async with rehearsal(symbols=3_005, snapshot=True) as (broker, pool):
            every = list(pool.feed.book)
            wanted = every[:3_000]
            for change in (
                lambda: pool.subscribe(wanted, Mode.LTP),
                lambda: pool.subscribe(wanted, Mode.DEPTH, owner="another"),
                lambda: pool.release("another"),
            ):
                change()
                mode = NAMES[pool.demand.mode(wanted[0]) or Mode.LTP]
                await until(partial(_serves, broker, {mode: 3_000}), 20)
                assert entries(broker) == [1_000, 1_000, 1_000]
            assert mode == "LTP"
            with pytest.raises(PoolExhaustedError):
                pool.subscribe(every[3_000])
            assert broker.stats()["violations"] == {"tokens": 0, "sockets": 0}
            assert broker.stats()["peak_duplicate_tokens"] == 0

    run(main)


def test_a_pair_too_many_is_refused_by_name_and_the_pool_goes_on_with_the_others() -> None:
    async def main() -> None:
        async with rehearsal(symbols=50, max_tokens=4) as (broker, pool):
            first, second = list(pool.feed.book)[:4], list(pool.feed.book)[4:6]
            pool.subscribe(first)
            await pool.wait_live(first)
            pool.subscribe(second)  # the broker takes fewer than it publishes
            await until(lambda: all(pool.state(i) is SymbolState.REFUSED for i in second))
            assert "E1002" in pool.explain(second[0]).why
            assert all(pool.state(i) is SymbolState.LIVE for i in first)
            assert broker.stats()["violations"]["tokens"] == 1

    run(main)


def test_the_token_s_day_ends_with_no_dials_and_the_next_one_begins_within_5_s() -> None:
    async def main() -> None:
        async with rehearsal() as (broker, pool):
            every = list(pool.feed.book)
            pool.subscribe(every)
            await pool.wait_live(every)
            await broker.throw(AngelOrder(expire_token=ExpireToken(close_sockets=True)))
            await until(lambda: pool.feed.login.refused)
            dials = broker.stats()["dials"]
            await asyncio.sleep(1.0)
            assert broker.stats()["dials"] == dials, "dialled with a login that has ended"
            broker.renew_token("tomorrow")
            began = asyncio.get_running_loop().time()
            pool.feed.login.renew(Credentials("tomorrow"))
            await pool.wait_live(every)
            assert asyncio.get_running_loop().time() - began < 5.0

    run(main)


def test_a_dial_that_comes_too_fast_does_not_spoil_the_login() -> None:
    async def main() -> None:
        async with rehearsal() as (broker, pool):
            broker.faults.refuse = Refuse(403, count=1)
            pool.subscribe("NSE:INFY")
            await pool.wait_live([Instrument("NSE", "INFY")], timeout=20)
            assert pool.feed.login.version == 1
            assert [status for _, status in broker.stats()["dial_log"]] == [403, 101]

    run(main)


# -- HTTP -------------------------------------------------------------------------------------------------


def test_too_fast_slows_the_calls_down_and_the_login_stands() -> None:
    async def main() -> None:
        async with rehearsal() as (broker, pool), calls(pool) as api:
            broker.faults.refuse_http = Refuse(403, count=1, text=TOO_FAST)
            began = asyncio.get_running_loop().time()
            quotes = await api.quotes(list(pool.feed.book)[:40])
            assert len(quotes) == 40
            assert asyncio.get_running_loop().time() - began > 0.05, "asked again at once"
            assert not pool.feed.login.refused
            stats = api.stats()
            assert (stats["rate_limited"], stats["retries"].get("credentials", 0)) == (1, 0)

    run(main)


@pytest.mark.parametrize("code", ["AB1010", "AG8002"])
def test_a_session_that_has_ended_is_told_by_a_200_and_stops_the_calls_until_the_next_one(code: str) -> None:
    async def main() -> None:
        async with rehearsal() as (broker, pool), calls(pool) as api:
            await broker.throw(AngelOrder.parse(f'{{"dead_code": "{code}", "expire_token": {{}}}}'.encode()))
            for _ in range(3):
                with pytest.raises((BrokerError, CallRefusedError)) as dead:
                    await api.ltp("NSE:INFY")
                assert dead.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            assert pool.feed.login.refused
            quotes = broker.stats()["http_requests"]["POST /rest/secure/angelbroking/market/v1/quote/"]
            assert quotes == 1, "called with a login that has ended"
            broker.renew_token("tomorrow")
            pool.feed.login.renew(Credentials("tomorrow"))
            assert len(await api.ltp("NSE:INFY")) == 1

    run(main)


def test_a_hundred_instruments_are_three_calls_and_the_rates_are_kept() -> None:
    async def main() -> None:
        async with rehearsal(symbols=150) as (broker, pool), calls(pool) as api:
            wanted = list(pool.feed.book)
            assert len(await api.ltp(wanted)) == 150
            assert sum(broker.stats()["http_requests"].values()) == 4  # with that for the list
            daily = await api.history("NSE:INFY", "D", at("2026-11-01"), at("2026-11-20"))
            midnights = {candle.timestamp % 86_400 for candle in daily}
            assert midnights == {66_600}, "days begin at midnight in India"
            assert broker.stats()["too_fast"] == {}

    run(main)


def at(day: str) -> datetime:
    return datetime.fromisoformat(f"{day}T00:00:00+05:30")
