"""A wrong argument is an error that says what is right, in every public method of every pool."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from brokerpool import (
    BrokerApi,
    BrokerClient,
    DatabasePool,
    Instrument,
    Mode,
    TokenBook,
    UnknownInstrumentError,
    WebSocketPool,
    ZerodhaRest,
    argument_checks,
    sync,
)
from brokerpool.brokers.login import Credentials, Login
from brokerpool.testing.virtual_loop import run
from tests.http_server import ScriptedBroker
from tests.unit.replica_stage import SYMBOLS, Feed, now, stage

NAN, INFINITY = math.nan, math.inf
INFY = Instrument("NSE", "INFY")
TIMES: list[Any] = [NAN, INFINITY, -1, "5", None, True]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (None, "None is no instruments; give an Instrument or a text such as"),
        (7, "7 is no instruments"),
        (b"NSE:INFY", "a bytes is no instruments"),
        ("SBIN", "'SBIN' is not EXCHANGE:SYMBOL, as in NSE:INFY"),
        (["NSE:INFY", "SBIN"], "entry 2: 'SBIN' is not EXCHANGE:SYMBOL"),
        ([INFY, None], "entry 2: None is no instrument; give"),
        ([Instrument("NSE", None)], "entry 1: an Instrument has two texts"),  # type: ignore[arg-type]
        ([["NSE:INFY"]], "entry 1: a list is no instrument"),
    ],
)
def test_a_wrong_list_names_the_entry_at_fault_and_what_is_right(given: Any, says: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        argument_checks.instruments(given)
    assert says in str(caught.value)


def test_a_list_is_taken_once_each_in_its_order() -> None:
    given: list[Instrument | str] = ["NSE:B", INFY, "nse:B", "NSE:INFY"]
    assert argument_checks.instruments(iter(given)) == [Instrument("NSE", "B"), INFY]


@pytest.mark.parametrize("given", [1, "LTP", "ltp", 2.0, True, None])
def test_a_mode_is_one_of_the_three_and_the_error_names_them(given: Any) -> None:
    with pytest.raises(TypeError, match=r"mode.*Mode\.LTP, Mode\.QUOTE, Mode\.DEPTH"):
        argument_checks.mode(given)


def test_a_text_of_a_caller_is_never_repeated_where_it_could_be_a_secret() -> None:
    with pytest.raises(TypeError) as caught:
        argument_checks.seconds("timeout", "s3cret")  # type: ignore[arg-type]
    assert "s3cret" not in str(caught.value)


def test_every_other_method_of_the_websocket_pool_refuses_what_cannot_be_meant() -> None:
    async def main() -> None:
        async with stage() as s:
            s.pool.subscribe(SYMBOLS[0])
            ask: list[Callable[[Any], Any]] = [s.pool.state, s.pool.gap, s.pool.explain, s.pool.plan]
            for method in ask:
                for wrong in (None, 7, "SBIN", b"NSE:S00"):
                    with pytest.raises((TypeError, ValueError)):
                        method(wrong)
            assert s.pool.state(str(SYMBOLS[0])) is s.pool.state(SYMBOLS[0]) is not None
            for wrong in TIMES:
                with pytest.raises((TypeError, ValueError), match="timeout"):
                    await s.pool.wait_live(SYMBOLS[0], timeout=wrong)
                with pytest.raises((TypeError, ValueError), match="within"):
                    s.pool.fresh(SYMBOLS[0], wrong)
            sizes: list[Any] = [0, -1, 2.5, None, NAN]
            for size in sizes:
                with pytest.raises((TypeError, ValueError), match="size"), s.pool.ticks(size):
                    pass
            with pytest.raises(TypeError):
                s.pool.listen(print)  # type: ignore[arg-type]
            names: list[Any] = [None, "", ["ws-1"]]
            for name in names:
                for order in (s.pool.rotate, s.pool.drain):
                    with pytest.raises((TypeError, ValueError), match="name"):
                        order(name)

    run(main)


def test_waiting_for_a_symbol_that_the_broker_does_not_list_ends_at_once() -> None:
    async def main() -> None:
        async with stage() as s:
            began = now()
            with pytest.raises(UnknownInstrumentError, match="NSE:UNHEARD"):
                await s.pool.wait_live(["NSE:UNHEARD"], timeout=30)
            assert now() == began

    run(main)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"max_symbols": n} for n in (0, 2.5, None, True)),
        *({"max_connections": n} for n in (0, "3")),
        *({"redundancy": n} for n in (0, 1.5, 3)),
        {"redundancy": 9, "max_connections": 9},
        *({"grace": time} for time in TIMES),
        *({"linger": time} for time in TIMES),
        {"placement": "random"},
    ],
    ids=str,
)
def test_a_pool_that_cannot_be_made_leaves_nothing_at_the_login_and_no_thread(wrong: dict[str, Any]) -> None:
    async def main() -> None:
        feed = Feed()
        with pytest.raises((TypeError, ValueError)):
            WebSocketPool(feed, **{"max_connections": 2, **wrong})
        assert not feed.login._watchers

    asyncio.run(main())
    threads = threading.active_count()
    with pytest.raises((TypeError, ValueError)):
        sync.WebSocketPool(Feed(), **{"max_connections": 2, **wrong})
    assert threading.active_count() == threads


async def refused(call: Callable[[], Awaitable[Any]]) -> None:
    with pytest.raises((TypeError, ValueError)):
        await call()


WRONG_REQUESTS: list[dict[str, Any]] = [
    *({"timeout": wrong} for wrong in (NAN, INFINITY, -1, 0, "5", True)),
    *({"weight": wrong} for wrong in (0, -5, NAN, 1.5, "1")),
    *({"lane": wrong} for wrong in (1, "ORDER", None)),
    *({"group": wrong} for wrong in (None, "", 7)),
    *({"order_tag": wrong} for wrong in ("", 7)),
    *({"path": wrong} for wrong in (None, "", "orders", 7)),
    *({"method": wrong} for wrong in (None, "")),
]


def test_the_http_client_sends_nothing_for_a_wrong_argument_and_books_nothing() -> None:
    async def main() -> None:
        async with ScriptedBroker() as server, BrokerClient(server.url, name="b") as client:
            for wrong in WRONG_REQUESTS:
                given = {"method": "POST", "path": "/orders", **wrong}
                await refused(lambda given=given: client.request(**given))  # type: ignore[misc]
            with pytest.raises(ValueError, match="begins with a slash"):
                client.keep_warm("status")  # a task would have died of it in silence
            with pytest.raises(TypeError, match="when"):
                client.keep_warm(when=True)  # type: ignore[arg-type]
            await refused(lambda: client.warm_up(most=-1))
            for wrong_time in (NAN, -1, "5"):
                await refused(lambda wrong_time=wrong_time: client.drain(wrong_time))  # type: ignore[misc]
            assert client.stats()["requests"] == 0
            assert server.seen == []
            assert (await client.request("GET", "/still-open")).status == 200

    asyncio.run(main())


def test_the_blocking_client_sends_nothing_for_a_wrong_timeout() -> None:
    asked: list[str] = []

    async def main() -> None:
        async with ScriptedBroker() as server:

            def call() -> None:
                with sync.BrokerClient(server.url, name="b") as client:
                    for wrong in (NAN, -1, "5"):
                        with pytest.raises((TypeError, ValueError)):
                            client.request("POST", "/orders", order_tag="1", timeout=wrong)  # type: ignore[arg-type]
                    client.request("GET", "/still-open")

            await asyncio.to_thread(call)
            asked.extend(seen.path for seen in server.seen)

    asyncio.run(main())
    assert asked == ["/still-open"]


def test_a_batch_takes_no_key_of_a_list_that_breaks_off() -> None:
    async def main() -> None:
        asked: list[tuple[str, ...]] = []

        async def call(keys: Callable[[], tuple[str, ...]]) -> dict[str, int]:
            asked.append(keys())
            return dict.fromkeys(keys(), 1)

        def broken_off() -> Any:
            yield "a"
            raise RuntimeError

        async with BrokerClient("http://127.0.0.1:9", name="b") as client:
            batcher = client.batcher(call, most=10)
            with pytest.raises(RuntimeError):
                await batcher.get_many(broken_off())
            assert await batcher.get("b") == 1
        assert asked == [("b",)]

    asyncio.run(main())


def test_market_data_is_asked_for_what_is_named_as_in_the_feed_and_for_nothing_else() -> None:
    asked: list[Any] = []

    codec = ZerodhaRest("k", Login(Credentials("t")), book=TokenBook, http_url="http://127.0.0.1:9")

    async def main() -> None:
        api = BrokerApi(codec, live=asked.append)
        monday = datetime(2025, 1, 6, tzinfo=UTC)
        async with api:
            for ask in (api.ltp, api.ohlc, api.quotes):
                for wrong in (None, 7, "SBIN", [INFY, None]):
                    await refused(lambda ask=ask, wrong=wrong: ask(wrong))  # type: ignore[misc]
            await refused(lambda: api.history("SBIN", "1m", monday, monday))
            await refused(lambda: api.history(INFY, "1m", monday, None))  # type: ignore[arg-type]
            await refused(lambda: api.history(INFY, "1m", monday, monday.replace(tzinfo=None)))
            assert api.stats()["requests"] == 0
        assert asked == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "wrong",
    [
        *({"pool_size": n} for n in (0, 2.5, None, "5")),
        *({"max_overflow": n} for n in (-1, NAN)),
        *({"max_waiting": n} for n in (-1, 1.5)),
        *({name: t} for name in ("pool_timeout", "connect_timeout", "long_hold") for t in (*TIMES, 0)),
        {"url": None},
        {"name": None},
    ],
    ids=str,
)
def test_a_database_pool_is_not_made_with_what_cannot_be_meant(wrong: dict[str, Any]) -> None:
    given = {"url": "sqlite://", **wrong}
    threads = threading.active_count()
    for kind in (DatabasePool, sync.DatabasePool):
        with pytest.raises((TypeError, ValueError)):
            kind(**given)
    assert threading.active_count() == threads


def test_a_database_pool_stays_as_it_is_when_it_is_told_nonsense() -> None:
    async def main() -> None:
        async with DatabasePool("sqlite://") as pool:
            for wrong in (NAN, -1, "5"):
                await refused(lambda wrong=wrong: pool.drain(wrong))  # type: ignore[misc]
            with pytest.raises(TypeError):
                pool.renew(None)  # type: ignore[arg-type]
            async with pool.connection():
                pass

    asyncio.run(main())


def test_a_twin_reads_an_iterator_in_the_thread_of_its_caller() -> None:
    seen: list[str] = []

    def given() -> Any:
        seen.append(threading.current_thread().name)
        yield "SBIN"

    with sync.WebSocketPool(Feed(), max_symbols=4) as pool:
        with pytest.raises(ValueError, match="SBIN"):
            pool.subscribe(given(), Mode.LTP)
        for wrong in (NAN, -1, "5"):
            with pytest.raises((TypeError, ValueError)):
                pool.wait_live(SYMBOLS[0], timeout=wrong)  # type: ignore[arg-type]
            with pytest.raises((TypeError, ValueError)):
                pool.ticks(timeout=wrong)  # type: ignore[arg-type]
    assert seen == [threading.current_thread().name]
