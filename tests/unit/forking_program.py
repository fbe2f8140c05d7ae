"""A program whose pools are in use when it forks: what its child gets, and that its own go on. Prints JSON.

Its arguments are the name of one of its functions, and what that takes.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import ssl
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

from sqlalchemy import text

import brokerpool
from brokerpool import sync

Report = dict[str, Any]


def told(use: Callable[[], Any]) -> str:
    """Return the code of the error with which a call ends at once, or what it returns."""
    before = time.monotonic()
    try:
        result = repr(use())
    except brokerpool.BrokerpoolError as error:
        result = error.code.name
    return result if time.monotonic() - before < 1 else f"{result} after {time.monotonic() - before:.1f} s"


def in_a_child(work: Callable[[], Any]) -> Any:
    """Do the work in a forked child that ends as a script does: exit handlers and finalizers run."""
    reads, writes = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.write(writes, json.dumps(work()).encode())
        sys.exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        answer = json.loads(pipe.read())
    _, status = os.waitpid(child, 0)
    assert status == 0, status
    return answer


def in_a_worker(work: Callable[[], Any]) -> Any:
    """Do the work in a process of multiprocessing's that was forked."""
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.queues.SimpleQueue[Any] = context.SimpleQueue()
    process = context.Process(target=lambda: answers.put(work()))
    process.start()
    answer = answers.get()
    process.join(10)
    assert process.exitcode == 0
    return answer


def database(url: str) -> Report:
    """A blocking database pool."""
    with sync.DatabasePool(url, pool_size=2, max_overflow=0, pool_timeout=5) as pool:
        with pool.begin() as connection:
            connection.execute(text("CREATE TABLE trades (n integer)"))

        def add(number: int) -> Any:
            with pool.begin() as connection:
                connection.execute(text("INSERT INTO trades VALUES (:n)"), {"n": number})
                return connection.scalar(text("SELECT count(*) FROM trades"))

        def child() -> list[str]:
            found = [told(lambda: add(1000)), told(pool.stats), told(lambda: pool.renew(url))]
            return [*found, told(pool.open), told(pool.drain), told(pool.close)]

        with pool.connection() as connection:  # one is lent, and one is idle

            def use_of_the_lent() -> str:
                return told(lambda: connection.scalar(text("SELECT 1")))

            children = [in_a_child(child), in_a_worker(child), in_a_child(use_of_the_lent)]
            connection.scalar(text("SELECT 1"))
        counts = [add(number) for number in range(20)]
        stats = pool.stats()
    return {"children": children, "counts": counts, "connects": stats["connects"], "closes": stats["closes"]}


def asynchronous(url: str) -> Report:
    """The asynchronous database pool, of whose loop the child has a copy."""

    async def main() -> Report:
        async with brokerpool.DatabasePool(url, pool_size=2) as pool:

            async def use() -> Any:
                async with pool.connection() as connection:
                    return await connection.scalar(text("SELECT 1"))

            def child() -> list[str]:
                return [told(lambda: asyncio.run(use())), told(lambda: asyncio.run(pool.close()))]

            children = [in_a_worker(child)]
            return {"children": children, "after": await use(), "connects": pool.stats()["connects"]}

    return asyncio.run(main())


def http(url: str, authority: str) -> Report:
    """A blocking HTTP client over TLS."""
    context = ssl.create_default_context(cafile=authority)
    with sync.BrokerClient(url, name="script", ssl_context=context) as client:

        def call() -> int:
            return client.request("GET", "/quote").status

        def child() -> list[str]:
            found = [told(call), told(client.stats), told(client.warm_up), told(client.keep_warm)]
            return [*found, told(client.drain)]

        call()
        children = [in_a_child(child), in_a_worker(child)]
        return {"children": children, "after": [call() for _ in range(5)]}


def feed(ws_url: str, http_url: str, api_key: str, token: str) -> Report:
    """A blocking WebSocket pool whose ticks are being read."""
    book = asyncio.run(brokerpool.fetch_instruments(http_url))
    source = brokerpool.ZerodhaFeed(api_key, token, ws_url=ws_url, http_url=http_url, book=book)
    with sync.WebSocketPool(source) as pool:
        ticks = pool.ticks(timeout=10)
        pool.subscribe("NSE:INFY")
        next(ticks)

        def child() -> list[str]:
            found = [told(lambda: next(ticks)), told(lambda: pool.subscribe("NSE:SBIN"))]
            return [*found, told(pool.get_pool_stats), told(pool.close)]

        children = [in_a_child(child), in_a_worker(child)]
        later = next(tick for tick in ticks if tick.instrument.symbol == "INFY")
        return {"children": children, "after": later.instrument.symbol}


def asynchronous_feed(ws_url: str, http_url: str, api_key: str, token: str) -> Report:
    """The asynchronous WebSocket pool, which a child closes."""

    async def main() -> Report:
        book = await brokerpool.fetch_instruments(http_url)
        source = brokerpool.ZerodhaFeed(api_key, token, ws_url=ws_url, http_url=http_url, book=book)
        async with brokerpool.WebSocketPool(source) as pool:
            (infy,) = pool.subscribe("NSE:INFY").accepted
            await pool.wait_live(infy)

            def child() -> list[str]:
                return [told(lambda: pool.subscribe("NSE:SBIN")), told(lambda: asyncio.run(pool.close()))]

            children = [in_a_worker(child)]
            with pool.ticks() as ticks:
                later = await anext(aiter(ticks))
            return {"children": children, "after": later.instrument.symbol}

    return asyncio.run(main())


def unused(url: str, broker_url: str, authority: str) -> Report:
    """Pools that were made before the fork, as a preloaded application does, and used only after it."""
    pool = sync.DatabasePool(url, pool_size=1)
    client = sync.BrokerClient(
        broker_url, name="script", ssl_context=ssl.create_default_context(cafile=authority)
    )

    def use() -> list[Any]:
        with pool, client:
            with pool.connection() as connection:
                one = connection.scalar(text("SELECT 1"))
            return [one, client.request("GET", "/quote").status]

    return {"children": [in_a_child(use), in_a_worker(use)], "parent": use()}


if __name__ == "__main__":
    # From Python 3.12 on forking beside threads is warned of: it is what is rehearsed here.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
    kinds: dict[str, Callable[..., Report]] = {
        "database": database,
        "asynchronous": asynchronous,
        "http": http,
        "feed": feed,
        "asynchronous_feed": asynchronous_feed,
        "unused": unused,
    }
    print(json.dumps(kinds[sys.argv[1]](*sys.argv[2:])))
