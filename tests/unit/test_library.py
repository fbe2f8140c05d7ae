"""A library's first minutes: what is loaded, what can be typed, and what is told where it cannot work."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.types import Message

import brokerpool
from brokerpool import (
    BrokerClient,
    Candle,
    Credentials,
    DatabasePool,
    DepthLevel,
    DepthTick,
    Gap,
    Instrument,
    MarketHours,
    Mode,
    OutcomeUnknown,
    QuoteTick,
    RateWindow,
    Tick,
    TokenBook,
    WebSocketPool,
    ZerodhaFeed,
    get_pool_stats,
    open_pools,
    sync,
)
from brokerpool.testing.virtual_loop import run
from tests.http_server import ScriptedBroker
from tests.unit.replica_stage import SYMBOLS, Feed, stage

INFY = Instrument("NSE", "INFY")
TICK = DepthTick(INFY, 1500.5, 1_700_000_000_000, volume=7, buy=(DepthLevel(1500.0, 20, 3),))


def loaded_by(statement: str) -> set[str]:
    """Return the modules that a fresh process has after the statement."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ran.stdout.split())


@pytest.mark.parametrize(
    ("statement", "without"),
    [
        ("import brokerpool", {"asyncio", "msgspec", "aiohttp", "sqlalchemy", "picows"}),
        ("from brokerpool import Instrument, Mode, Tick", {"asyncio", "aiohttp", "sqlalchemy", "picows"}),
        (
            "from brokerpool import WebSocketPool, ZerodhaFeed, fetch_instruments",
            {"aiohttp", "sqlalchemy", "pydantic", "fastapi"},
        ),
        ("from brokerpool.sync import WebSocketPool, fetch_instruments", {"aiohttp", "sqlalchemy"}),
        ("from brokerpool import BrokerClient, BrokerApi", {"sqlalchemy", "picows"}),
        ("from brokerpool import DatabasePool", {"aiohttp", "picows"}),
        ("import brokerpool; brokerpool.get_pool_stats()", {"aiohttp", "sqlalchemy", "picows"}),
    ],
)
def test_a_program_loads_what_it_uses_and_no_more(statement: str, without: set[str]) -> None:
    assert not loaded_by(statement) & without


def test_every_public_name_is_there_is_listed_and_is_the_one_of_its_module() -> None:
    for package in (brokerpool, sync):
        assert set(package.__all__) <= set(dir(package))
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
    assert brokerpool.__version__.count(".") == 2
    with pytest.raises(AttributeError, match="'brokerpool' has no attribute 'Nothing'"):
        _ = brokerpool.Nothing  # type: ignore[attr-defined]


def test_a_tick_is_a_dict_and_json_with_the_fields_of_its_mode() -> None:
    said = TICK.to_dict()
    assert list(said)[:5] == ["exchange", "symbol", "mode", "ltp", "timestamp"]
    assert said["exchange"] == "NSE"
    assert said["mode"] == "Depth"
    assert said["buy"] == [{"price": 1500.0, "quantity": 20, "orders": 3}]
    assert json.loads(json.dumps(said)) == said == dict(TICK)
    said["ltp"] = 0.0
    assert TICK.ltp == 1500.5
    assert "volume" not in Tick(INFY, 1.0, 2).to_dict()
    assert QuoteTick(INFY, 1.0, 2, volume=9).to_dict()["volume"] == 9
    assert Candle(1, 2.0, 3.0, 1.0, 2.5, 100).to_dict()["volume"] == 100


def test_fastapi_answers_a_tick_a_list_of_them_and_what_they_are_in() -> None:
    app = FastAPI()

    @app.get("/one")
    async def one() -> Tick:
        return TICK

    @app.get("/many")
    async def many() -> list[Tick]:
        return [TICK]

    @app.get("/within", response_model=None)
    async def within() -> dict[str, Any]:
        return {"tick": TICK, "gap": Gap(INFY, 1, "lost")}

    async def ask(path: str) -> Any:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {"type": "http.request", "body": b"", "more_body": False}

        scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": []}
        await app(scope, receive, send)
        assert sent[0]["status"] == 200
        return json.loads(sent[1]["body"])

    assert asyncio.run(ask("/one")) == TICK.to_dict()
    assert asyncio.run(ask("/many")) == [TICK.to_dict()]
    assert asyncio.run(ask("/within"))["gap"]["instrument"] == {"exchange": "NSE", "symbol": "INFY"}
    assert app.openapi()["paths"]["/one"]


def test_where_no_loop_runs_the_error_says_what_to_write() -> None:
    with pytest.raises(RuntimeError, match=r"async with WebSocketPool.*brokerpool\.sync"):
        WebSocketPool(Feed())
    client = BrokerClient("http://127.0.0.1:9")
    with pytest.raises(RuntimeError, match=r"keep_warm needs a running event loop"):
        client.keep_warm()
    assert client.stats()["requests"] == 0
    assert client.held("quote") == 0.0
    assert DatabasePool("sqlite://").stats()["checked_out"] == 0


@pytest.mark.parametrize("given", [(), (1000, 3), (None,), ("zerodha",)], ids=str)
@pytest.mark.parametrize("kind", [WebSocketPool, sync.WebSocketPool])
def test_a_pool_without_a_feed_says_what_to_write(kind: Any, given: tuple[Any, ...]) -> None:
    threads = threading.active_count()
    with pytest.raises(TypeError, match=r"feed|positional"):
        kind(*given)
    with pytest.raises(TypeError, match=r"WebSocketPool\(ZerodhaFeed\(.*max_symbols=1000"):
        kind(*given[:1], max_symbols=1000)
    assert threading.active_count() == threads


def test_whatever_takes_an_instrument_takes_its_text_or_refuses_it_with_words() -> None:
    async def main() -> None:
        async with stage() as s:
            s.pool.subscribe(SYMBOLS[0], Mode.LTP, priority=3)
            text, pool = str(SYMBOLS[0]), s.pool
            demand, book = pool.demand, pool.feed.book
            assert demand.mode(text) is Mode.LTP
            assert demand.priority(text) == 3
            assert demand.holds("default", text)
            assert demand.held("default", text) == {Mode.LTP}
            assert list(demand.owners(text)) == ["default"]
            assert pool.inspection.state(text) is pool.state(text) is not None
            assert pool.inspection.explain(text).owners
            assert book.token(text) == book.token(SYMBOLS[0]) is not None
            assert book.details(text) == book.details(SYMBOLS[0])
            assert text in book
            assert "NSE:UNHEARD" not in book
            asked: list[Any] = [demand.mode, demand.owners, pool.inspection.state, book.token, book.details]
            for ask in asked:
                for wrong in (None, 7, "SBIN", b"NSE:S00"):
                    with pytest.raises((TypeError, ValueError), match=r"NSE:INFY"):
                        ask(wrong)

    run(main)
    listed = TokenBook([("NSE:INFY", 7)])
    assert listed.token(INFY) == 7
    with pytest.raises(TypeError, match="no instrument"):
        listed.add(None, 8)  # type: ignore[arg-type]
    assert listed.instrument(8) is None


def test_a_login_and_a_feed_take_no_nonsense_and_keep_what_they_had() -> None:
    feed = ZerodhaFeed("key", "token")
    wrong_renewals: list[Any] = ["new token", None, 7]
    for wrong in wrong_renewals:
        with pytest.raises(TypeError, match=r"Credentials\(access_token\)"):
            feed.login.renew(wrong)
    wrong_lists: list[Any] = [None, [INFY]]
    for wrong in wrong_lists:
        with pytest.raises(TypeError, match="TokenBook"):
            feed.relist(wrong)
    assert feed.login.version == 1
    with pytest.raises(ValueError, match="seconds since the epoch"):
        Credentials("t", expires_at=float("nan"))
    for arguments in ((None, "t"), ("k", None), (7, "t")):
        with pytest.raises(TypeError):
            ZerodhaFeed(*arguments)

    async def forgot_to_await() -> TokenBook:
        return TokenBook()

    coroutine: Any = forgot_to_await()
    with pytest.raises(TypeError, match="await fetch_instruments"):
        ZerodhaFeed("k", "t", book=coroutine)
    coroutine.close()


def test_an_order_in_doubt_without_a_hook_says_how_to_look_it_up() -> None:
    async def main() -> None:
        with pytest.raises(ValueError, match=r"reconcile=\.\.\."):
            await OutcomeUnknown("sent.", tag="tag-1").reconcile()
        with pytest.raises(ValueError, match="order_tag"):
            await OutcomeUnknown("sent.", tag=None).reconcile()

    asyncio.run(main())


def test_a_client_has_the_verbs_and_a_name_of_its_own_accord() -> None:
    async def main() -> None:
        async with ScriptedBroker() as server, BrokerClient(server.url) as client:
            assert client.name == server.url.removeprefix("http://")
            for verb in (client.get, client.post, client.put, client.delete):
                assert (await verb("/x", timeout=5.0)).status == 200
            assert [seen.method for seen in server.seen] == ["GET", "POST", "PUT", "DELETE"]

            def blocking() -> None:
                with sync.BrokerClient(server.url) as twin:
                    for verb in (twin.get, twin.post, twin.put, twin.delete):
                        verb("/y")

            await asyncio.to_thread(blocking)
            assert [seen.method for seen in server.seen[4:]] == ["GET", "POST", "PUT", "DELETE"]

    asyncio.run(main())


def test_the_numbers_of_a_program_are_in_the_seeds_shape_and_over_all_open_pools() -> None:
    gc.collect()
    before = get_pool_stats()

    async def main() -> None:
        book = TokenBook([(INFY, 7)])
        async with (
            WebSocketPool(ZerodhaFeed("k", "t", book=book, ws_url="ws://127.0.0.1:9"), max_symbols=10) as one,
            WebSocketPool(ZerodhaFeed("k", "t", book=book), max_symbols=5, max_connections=2),
            BrokerClient("http://127.0.0.1:9", pool_maxsize=4),
            DatabasePool("sqlite://") as database,
        ):
            one.subscribe(INFY)
            async with database.connection():
                found = get_pool_stats()
            elsewhere, here = await asyncio.to_thread(get_pool_stats), get_pool_stats()
            for told in (elsewhere["websocket"], here["websocket"]):
                # It dials meanwhile, and these tell how far it has come.
                told["pools"] = [(pool["name"], pool["total_symbols"]) for pool in told["pools"]]
            assert elsewhere == here
            web = found["websocket"]
            assert web["total_symbols"] == 1
            assert web["connections"] == 1
            assert web["capacity_used"] == 1 / (30 + 10)
            assert len(web["pools"]) == 2
            assert found["http"]["pool_size"] - before["http"]["pool_size"] == 4
            assert found["database"]["checked_out"] == 1

    asyncio.run(main())
    with sync.WebSocketPool(Feed(), max_symbols=4), sync.BrokerClient("http://127.0.0.1:9", name="mine"):
        twins = get_pool_stats()
        assert len(twins["websocket"]["pools"]) == 1
        assert "mine" in [pool["name"] for pool in twins["http"]["pools"]]
    assert get_pool_stats()["websocket"]["pools"] == []


def test_a_pool_that_nobody_has_any_more_is_forgotten_and_a_long_list_is_cut() -> None:
    gc.collect()
    clients = [BrokerClient("http://127.0.0.1:9", name=f"c{n}") for n in range(open_pools.MOST_TOLD + 5)]
    there = get_pool_stats()["http"]
    assert len(there["pools"]) == open_pools.MOST_TOLD
    assert there["pool_size"] >= 20 * len(clients)
    clients.clear()
    gc.collect()
    assert not [pool for pool in get_pool_stats()["http"]["pools"] if pool["name"].startswith("c")]


def test_a_pool_whose_loop_stands_still_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokerpool.open_pools.ANSWER_SECONDS", 0.05)

    async def main() -> None:
        async with WebSocketPool(Feed()) as pool:
            pool.subscribe(SYMBOLS[0])
            answer: list[dict[str, Any]] = []
            asking = threading.Thread(target=lambda: answer.append(get_pool_stats()["websocket"]))
            asking.start()
            asking.join(10)  # and with it this loop stands still
            assert answer[0]["silent"] == 1
            assert answer[0]["pools"] == []

    asyncio.run(main())


def test_what_pools_are_made_of_refuses_nonsense_when_it_is_made() -> None:
    """Not at the first call, and not in silence."""
    loose: Any = brokerpool
    feed = ZerodhaFeed("k", "t", book=TokenBook())
    makes: list[Callable[[Any], Any]] = [
        lambda wrong: MarketHours.india().with_holidays(wrong),
        MarketHours.parse,
        lambda wrong: MarketHours.india().is_open(wrong, 0.0),
        lambda wrong: loose.RateLimits({"quote": wrong}),
        lambda wrong: loose.Filler(print, batch=str(wrong)),
        lambda wrong: loose.Filler(print, calls=wrong),
        lambda wrong: loose.Filler(wrong),
        lambda wrong: loose.Login(wrong),
        lambda wrong: loose.Login(Credentials("t"), wrong or 1),
        lambda wrong: loose.BrokerApi(wrong),
        lambda wrong: loose.BrokerClient("http://a", limits=wrong or 1),
        lambda wrong: loose.BrokerClient("http://a", login=wrong or 1),
        lambda wrong: loose.BrokerClient("http://a", egress=wrong or 1),
        lambda wrong: loose.BrokerClient("http://a", ssl_context=wrong or 1),
        lambda wrong: loose.BrokerClient("http://a", retry_statuses=wrong),
        lambda wrong: loose.BrokerClient("http://a").batcher(wrong, most=1),
        lambda wrong: loose.DatabasePool("sqlite://", pool_pre_ping=wrong),
        lambda wrong: sync.WebSocketPool(feed, hours=wrong),
    ]
    for make in makes:
        for wrong in (7, None):
            with pytest.raises(TypeError):
                make(wrong)
    for window in (RateWindow(0, 1.0), RateWindow(1, float("nan")), RateWindow(1, float("inf"))):
        with pytest.raises(ValueError, match="window"):
            brokerpool.RateLimits({"quote": (window,)})
    with pytest.raises(ValueError, match="share"):
        brokerpool.RateLimits(share=float("nan"))


def test_an_exchange_in_small_letters_and_a_text_with_spaces_are_what_they_mean() -> None:
    hours, monday_noon = MarketHours.india(), 1_736_145_000.0
    assert hours.is_open("nse", monday_noon) is hours.is_open("NSE", monday_noon) is True
    assert Instrument.parse(" nse:INFY ") == INFY
