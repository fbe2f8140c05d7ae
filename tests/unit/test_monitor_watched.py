"""Being watched is cheap: each number is asked for once, and ticks pass in between."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from fastapi.routing import APIRoute

from brokerpool.event_journal import Journal
from brokerpool.feed.pool import WebSocketPool
from brokerpool.gateway.dashboard.snapshot import snapshot
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.rest.operator_endpoints import operations
from brokerpool.http.client import BrokerClient
from brokerpool.monitor.process_resources import open_fds
from brokerpool.monitor.prometheus_text import Exposition
from tests.gateway_client import client, gateway
from tests.rehearsal import until


def work(what: Callable[[], object]) -> Counter[str]:
    """Return which functions of Python run for it, and how often."""
    calls: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        # How many lags are remembered is a matter of the time that has passed.
        if event == "call" and not frame.f_code.co_qualname.startswith("LagMonitor."):
            calls[frame.f_code.co_qualname] += 1

    gc.disable()  # others' callbacks of a collection are no part of it
    sys.setprofile(note)
    try:
        what()
    finally:
        sys.setprofile(None)
        gc.enable()
    return calls


def test_looking_takes_the_same_work_for_ten_symbols_as_for_five_hundred(tmp_path: Path) -> None:
    async def main() -> None:
        settings = {"DATABASE_URL": f"sqlite:///{tmp_path}/test.db"}
        async with gateway({"symbols": 500}, **settings) as (broker, served_by), client(served_by) as session:
            exposition, sources = Exposition(), served_by._broadcast._sources

            def look() -> None:
                snapshot(sources, since=0.0, entries=[])
                for _ in exposition.pieces(served_by.stats()):
                    pass

            async def looking_at(rows: list[dict[str, str]]) -> Counter[str]:
                await session.ask(action="subscribe", symbols=rows, mode=2)
                await until(lambda: len(served_by.upstream.demand) == len(rows))
                await until(lambda: served_by.upstream.symbols_unserved == 0)
                await until(lambda: not served_by.stats()["database"]["holders"])
                look()  # what is done the first time only is not counted
                return work(look)

            assert served_by._warm_up is not None
            await served_by._warm_up  # or the broker's host would join the numbers meanwhile
            rows = [{"symbol": row.tradingsymbol, "exchange": row.exchange} for row in broker.listings]
            for _ in range(5):  # on a busy machine something else may join the numbers between two looks
                few, many = await looking_at(rows[:10]), await looking_at(rows)
                if few == many:
                    break
                await session.ask(action="unsubscribe_all")
            assert (few - many, many - few) == (Counter(), Counter()), "not one call more"

    asyncio.run(main())


def test_each_pool_is_asked_once_for_an_answer_of_stats(tmp_path: Path) -> None:
    async def main() -> None:
        async with gateway(DATABASE_URL=f"sqlite:///{tmp_path}/test.db") as (_, served_by):
            calls = work(served_by.stats)
            asked = (WebSocketPool.get_pool_stats, BrokerClient.stats, Fanout.stats)
            assert [calls[function.__qualname__] for function in asked] == [1, 1, 1]

    asyncio.run(main())


def test_a_scrape_tells_of_one_moment_and_the_loop_turns_between_its_pieces() -> None:
    async def main() -> None:
        asked, turns = 0, 0

        def stats() -> dict[str, Any]:
            nonlocal asked
            asked += 1
            return {
                "gateway": {"clients": turns},
                "access": {"keys_used": turns},
                "broker": {"instruments": turns},
            }

        async def tick() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        routes = [route for route in operations(stats, Journal()).routes if isinstance(route, APIRoute)]
        scrape = next(route.endpoint for route in routes if route.path == "/metrics")
        ticking = asyncio.create_task(tick())
        answer = await scrape()
        assert turns >= 1 + 3, "before each piece"
        ticking.cancel()
        lines = answer.body.decode().splitlines()
        told = {line.split()[1] for line in lines if line.startswith("brokerpool_")}
        assert asked == len(told) == 1, "though the numbers changed with each turn"

    asyncio.run(main())


@pytest.mark.skipif(
    not Path("/proc/self/fd").exists(), reason="the system has no /proc that tells: run it on Linux"
)
def test_a_file_that_is_opened_is_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> None:
        before = open_fds()
        assert before is not None
        assert before == len(os.listdir("/proc/self/fd")) - 1, "the listing's own does not count"  # noqa: PTH208
        with open(os.devnull, "rb"):  # noqa: PTH123  (a device)
            assert open_fds() == before + 1

    check()
    if Path("/proc/self/fd").stat().st_size:

        class Old(type(Path())):  # type: ignore[misc]  # the class of this system
            def stat(self, **_: Any) -> Any:
                return os.stat_result((0,) * 10)

        monkeypatch.setattr("brokerpool.monitor.process_resources._FDS", Old("/proc/self/fd"))
        check()
