"""A pool at the simulated Upstox on real sockets: an address for each dial, mixed modes, a dead token."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeAlias

import pytest

from brokerpool import (
    BrokerApi,
    BrokerError,
    Credentials,
    DepthTick,
    ErrorCode,
    Mode,
    QuoteTick,
    SymbolState,
    Tick,
    WebSocketPool,
)
from brokerpool.brokers.account import Account, DialRefusal
from brokerpool.brokers.http_call import Answer
from brokerpool.brokers.limits_file import FeedLimits, RateWindow
from brokerpool.brokers.registry import Access, broker
from brokerpool.brokers.rest import RestAnswer, RestRequest
from brokerpool.brokers.upstox import UpstoxFeed, UpstoxWire
from brokerpool.errors import CallRefusedError, PoolExhaustedError
from brokerpool.feed.listeners import PoolListener
from brokerpool.gateway.assembly import compose
from brokerpool.settings import Settings
from brokerpool.simulator.upstox.broker import UpstoxSimulator
from brokerpool.simulator.upstox.fault_switches import UpstoxOrder
from brokerpool.transport import DialError, LinkHandler, dial
from tests.capacity_rules import RULES
from tests.rehearsal import Prompt, until

LIMITS = replace(FeedLimits.load("brokerpool.brokers.upstox"), dials=())


_Served: TypeAlias = tuple[UpstoxSimulator, UpstoxFeed, BrokerApi, WebSocketPool]


class Heard(PoolListener):
    def __init__(self) -> None:
        self.ticks: list[Tick] = []

    def ticked(self, ticks: list[Tick]) -> None:
        self.ticks += ticks


def feed(simulator: UpstoxSimulator, **options: Any) -> UpstoxFeed:
    return UpstoxFeed(simulator.access_token, http_url=simulator.http_url, **{"limits": LIMITS, **options})


@asynccontextmanager
async def served(**options: Any) -> AsyncIterator[_Served]:
    async with UpstoxSimulator(**{"symbols": 60, "rate": 200, **options}) as simulator:
        account = feed(simulator)
        account.relist(await account.instruments())
        async with BrokerApi(account.rest(), random=Prompt()) as api:
            account.ask = api.ask
            async with WebSocketPool(account, random=Prompt(), max_symbols=5000) as pool:
                yield simulator, account, api, pool


def live(pool: WebSocketPool) -> int:
    return sum(pool.state(instrument) is SymbolState.LIVE for instrument in pool.demand.instruments())


def states(pool: WebSocketPool) -> set[str]:
    return {c["state"] for c in pool.get_pool_stats()["websocket"]["per_connection"]}


async def redialled(simulator: UpstoxSimulator, dials: int) -> None:
    await until(lambda: simulator.stats()["dials"] == dials)


def play(scenario: Callable[[], Awaitable[None]], seconds: float = 60) -> None:
    asyncio.run(asyncio.wait_for(scenario(), seconds))


def asked(stats: dict[str, Any]) -> int:
    return int(stats["http_requests"].get("/v3/feed/market-data-feed/authorize", 0))


# -- the account ------------------------------------------------------------------------------------------


def test_the_account_is_what_the_pool_and_the_registry_expect() -> None:
    access = Access(
        "app-key", Credentials("the-token", 1_790_000_000.0), fields={"redirect_uri": "http://x/"}
    )
    account: Account = broker("upstox").account(access)
    assert account.name == "upstox"
    assert account.login.credentials.expires_at == 1_790_000_000.0
    assert isinstance(account.wire(), UpstoxWire)
    assert "the-token" not in f"{account!r} {account.wire()!r} {broker('upstox').session(access)!r}"


def test_the_capacity_is_what_the_rules_of_the_pool_are_tried_with() -> None:
    assert FeedLimits.load("brokerpool.brokers.upstox").capacity == RULES["upstox"]


def test_a_refused_handshake_says_nothing_of_the_token_which_was_good_a_moment_ago() -> None:
    account = UpstoxFeed("t")
    assert {status: account.refused(status) for status in (403, 429, 401, 503, None)} == {
        403: DialRefusal.BUSY,
        429: DialRefusal.BUSY,
        401: DialRefusal.TRY_ON,
        503: DialRefusal.TRY_ON,
        None: DialRefusal.TRY_ON,
    }


def answering(address: str) -> Callable[..., Awaitable[RestAnswer]]:
    async def ask(request: RestRequest, *, timeout: float) -> RestAnswer:
        assert 0 < timeout < 10
        told = {"status": "success", "data": {"authorized_redirect_uri": address}}
        return Answer(200, json.dumps(told).encode())

    return ask


@pytest.mark.parametrize(
    ("ws_url", "dialled"),
    [
        ("", "wss://feeder.example/feeds?requestId=1&code=c"),
        ("ws://127.0.0.1:9000/ignored?too=yes", "ws://127.0.0.1:9000/feeds?requestId=1&code=c"),
    ],
)
def test_the_address_that_is_told_is_dialled_over_a_proxy_of_ours_if_there_is_one(
    ws_url: str, dialled: str
) -> None:
    account = UpstoxFeed("t", ws_url=ws_url)
    account.ask = answering("wss://feeder.example/feeds?requestId=1&code=c")
    endpoint = asyncio.run(account.endpoint())
    assert endpoint.url == dialled
    assert "code" not in repr(endpoint)


@pytest.mark.parametrize(
    "address", ["ws://feeder.example/feeds?code=hunter2", "https://x/?code=hunter2", "hunter2"]
)
def test_an_address_that_is_not_encrypted_or_no_socket_s_is_not_dialled_and_not_shown(address: str) -> None:
    account = UpstoxFeed("t")
    account.ask = answering(address)
    with pytest.raises(BrokerError) as refused:
        asyncio.run(account.endpoint())
    assert refused.value.code is ErrorCode.BROKER_UNREACHABLE
    assert "hunter2" not in str(refused.value)


# -- at the simulated broker ------------------------------------------------------------------------------


def test_an_address_is_good_for_one_dial() -> None:
    async def main() -> None:
        async with UpstoxSimulator(rate=0) as simulator:
            url, headers = await feed(simulator).endpoint()
            link = await dial(url, LinkHandler(), headers=headers)
            with pytest.raises(DialError) as used:
                await dial(url, LinkHandler(), headers=headers)
            assert used.value.status == 403
            link.close()

    play(main)


def test_every_dial_asks_over_the_pool_of_calls_for_an_address_of_its_own() -> None:
    async def main() -> None:
        async with served() as (simulator, account, api, pool):
            heard = Heard()
            pool.listen(heard)
            pool.subscribe([*account.book], Mode.DEPTH)
            await until(lambda: len({tick.instrument for tick in heard.ticks}) == 60)
            for number in (1, 2):
                simulator.kill(simulator.sockets()[0]["id"])
                await redialled(simulator, number + 1)
                await until(lambda: live(pool) == 60)
            stats = simulator.stats()
            assert asked(stats) == stats["dials"] == 3
            assert not stats["refusals"]
            assert api.stats()["tokens_left"]["address"]["1800 s"] < 2000

    play(main)


def test_a_gateway_has_the_account_ask_over_the_pool_that_its_clients_quotes_use() -> None:
    async def main() -> None:
        environ = {
            "BROKERPOOL_BROKER": "upstox",
            "BROKERPOOL_BROKER_API_KEY": "app",
            "BROKERPOOL_BROKER_ACCESS_TOKEN": "t",
            "BROKERPOOL_API_KEY": "k" * 32,
        }
        account = UpstoxFeed("t")
        compose(Settings.load(environ=environ), account)
        assert isinstance(getattr(account.ask, "__self__", None), BrokerApi)

    play(main)


def test_a_feed_without_a_pool_of_calls_asks_by_itself() -> None:
    async def main() -> None:
        async with UpstoxSimulator(symbols=20, rate=200) as simulator:
            account = feed(simulator)
            account.relist(await account.instruments())
            async with WebSocketPool(account, random=Prompt()) as pool:
                heard = Heard()
                pool.listen(heard)
                pool.subscribe([*account.book])
                await until(lambda: len({tick.instrument for tick in heard.ticks}) == 20)
            account.login.renew(Credentials("another"))
            with pytest.raises(BrokerError) as dead:
                await account.endpoint()
            assert dead.value.code is ErrorCode.BROKER_REFUSED_CREDENTIALS
            assert "another" not in str(dead.value)

    play(main)


def test_mixed_modes_fill_two_sockets_and_no_limit_of_the_broker_is_ever_crossed() -> None:
    async def main() -> None:
        async with served(symbols=4600, rate=0) as (simulator, account, _, pool):
            everything = [*account.book]
            ltp, depth = everything[:3000], everything[3000:4500]
            pool.subscribe(ltp, Mode.LTP)
            pool.subscribe(depth, Mode.DEPTH)
            await until(lambda: live(pool) == 4500, 30)
            risen = ltp[:400]
            pool.subscribe(risen, Mode.QUOTE, owner="b")
            await until(lambda: Counter(modes(simulator)) == {"ltpc": 2600, "full": 1900}, 30)
            await until(lambda: live(pool) == 4500)
            stats = simulator.stats()
            assert stats["violations"]["tokens"] == stats["violations"]["sockets"] == 0
            assert stats["malformed_requests"] == 0
            assert stats["largest_batch"] <= 500
            with pytest.raises(PoolExhaustedError):
                pool.subscribe([*ltp[400:]], Mode.DEPTH, owner="c")

    play(main)


def modes(simulator: UpstoxSimulator) -> list[str]:
    return [mode for socket in simulator.sockets() for mode in socket["tokens"].values()]


def test_a_mode_that_rises_brings_the_book_and_is_asked_for_once() -> None:
    async def main() -> None:
        async with served(symbols=5) as (simulator, account, _, pool):
            heard = Heard()
            pool.listen(heard)
            (first, *_) = account.book
            pool.subscribe(first, Mode.LTP, owner="a")
            await until(lambda: heard.ticks)
            pool.subscribe(first, Mode.QUOTE, owner="b")
            await until(lambda: type(heard.ticks[-1]) is QuoteTick)
            before = simulator.stats()["control_messages"]
            pool.subscribe(first, Mode.DEPTH, owner="c")
            await until(lambda: isinstance(heard.ticks[-1], DepthTick) and heard.ticks[-1].buy)
            assert simulator.stats()["control_messages"] == before
            assert modes(simulator) == ["full"]

    play(main)


def test_a_dead_token_parks_the_account_and_the_next_one_brings_it_back() -> None:
    async def main() -> None:
        async with served() as (simulator, account, _, pool):
            pool.subscribe([*account.book])
            await until(lambda: live(pool) == 60)
            simulator.expire_token(close_sockets=True)
            await until(lambda: account.login.refused)
            dials, questions = simulator.stats()["dials"], asked(simulator.stats())
            await until(lambda: states(pool) == {"parked"})
            assert simulator.stats()["dials"] == dials
            assert asked(simulator.stats()) - questions <= 1
            simulator.renew_token("tomorrows")
            account.login.renew(Credentials("tomorrows"))
            await until(lambda: live(pool) == 60, 5)

    play(main)


@pytest.mark.parametrize("as_success", [False, True])
def test_an_address_that_is_asked_for_too_fast_is_a_failed_dial_that_waits(as_success: bool) -> None:
    async def main() -> None:
        rates = {"address": [RateWindow(1, 3600.0)]}
        async with UpstoxSimulator(rate=0, http_rates=rates) as simulator:
            await simulator.throw(UpstoxOrder(too_fast_as_success=as_success))
            account = feed(simulator)
            async with BrokerApi(account.rest(), random=Prompt(), max_retries=0) as api:
                account.ask = api.ask
                await account.endpoint()
                with pytest.raises((BrokerError, CallRefusedError)) as refused:
                    await account.endpoint()
                assert refused.value.code is ErrorCode.RATE_LIMITED
                assert getattr(refused.value, "retry_after", None)
                assert not account.login.refused
                assert simulator.stats()["too_fast"] == {"address": 1}

    play(main)
