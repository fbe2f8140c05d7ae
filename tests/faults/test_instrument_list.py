"""The broker's list changes, shrinks or is away while a gateway serves: the day's gets in, no worse one."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from brokerpool.brokers.zerodha import ZerodhaFeed, fetch_instruments
from brokerpool.gateway.assembly import compose
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings
from brokerpool.simulator import KiteSimulator
from brokerpool.simulator.zerodha.instruments import instruments_csv
from tests import processes
from tests.gateway_client import KEY, client, pool_of
from tests.rehearsal import no_task_dies, until


class Lists:
    """Serves `/instruments` as a test wants it; all else is the simulator's."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 200
        #: Bytes that are announced and never sent.
        self.missing = 0
        self.asked = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        headers = {"Content-Length": str(len(self.body) + self.missing)}
        response = web.StreamResponse(status=self.status, headers=headers)
        await response.prepare(request)
        await response.write(self.body)
        if self.missing and request.transport is not None:
            request.transport.abort()
        return response


def rehearse(scenario: Any) -> None:
    async def main() -> None:
        async with no_task_dies(), KiteSimulator(symbols=60, rate=0) as broker:
            lists = Lists(instruments_csv(broker.listings))
            app = web.Application()
            app.router.add_get("/instruments", lists.answer)
            runner = web.AppRunner(app, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            http_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            environ = {
                "BROKERPOOL_API_KEY": KEY,
                "BROKERPOOL_BROKER_API_KEY": broker.api_key,
                "WEBSOCKET_PORT": "0",
                "BROKERPOOL_HTTP_PORT": "0",
            }
            feed = ZerodhaFeed(
                broker.api_key,
                broker.access_token,
                ws_url=broker.ws_url,
                http_url=http_url,
                book=await fetch_instruments(http_url),
            )
            served_by = compose(Settings.load(environ=environ), feed)
            await served_by.start()
            try:
                await scenario(broker, served_by, lists)
            finally:
                await served_by.close()
                await runner.cleanup()

    asyncio.run(main())


def rows(broker: KiteSimulator, wanted: Any) -> bytes:
    return instruments_csv([row for row in broker.listings if wanted(row)])


WORSE = {
    "one row": lambda broker, lists: setattr(lists, "body", rows(broker, lambda r: r.tradingsymbol == "TCS")),
    "no NFO": lambda broker, lists: setattr(lists, "body", rows(broker, lambda r: r.exchange != "NFO")),
    "empty": lambda broker, lists: setattr(lists, "body", rows(broker, lambda r: False)),
    "a page": lambda broker, lists: setattr(lists, "body", b"<!doctype html>\n<p>We are back at 9.</p>\n"),
    "cut off": lambda broker, lists: setattr(lists, "missing", 1000),
    "503": lambda broker, lists: setattr(lists, "status", 503),
}


@pytest.mark.parametrize("worse", WORSE)
def test_a_worse_list_changes_nothing_shows_in_health_and_is_asked_for_again_until_it_is_well(
    worse: str,
) -> None:
    async def scenario(broker: KiteSimulator, served_by: Gateway, lists: Lists) -> None:
        whole, count = lists.body, len(pool_of(served_by).feed.book)
        WORSE[worse](broker, lists)
        served_by.instruments.request()
        await until(lambda: served_by.instruments.fault)
        stats = served_by.stats()
        assert stats["broker"]["instruments"] == count
        assert stats["health"]["reasons"]["instruments_stale"] is True
        assert stats["health"]["ready"] is True
        async with client(served_by) as session:
            assert (await session.subscribe("TCS"))["status"] == "success"
        lists.body, lists.status, lists.missing = whole, 200, 0
        await until(lambda: not served_by.instruments.fault, 30)
        assert served_by.stats()["health"]["reasons"]["instruments_stale"] is False
        assert lists.asked >= 3

    rehearse(scenario)


def test_a_client_that_holds_an_expired_contract_is_told_when_its_token_is_another_s() -> None:
    async def scenario(broker: KiteSimulator, served_by: Gateway, lists: Lists) -> None:
        async with client(served_by) as session:
            await session.subscribe("TCS", "INFY")
            lists.body = lists.body.replace(b",TCS,", b",TCSNEW,")
            served_by.instruments.request()
            await until(lambda: served_by.stats()["broker"]["instruments_reads"]["taken"] == 1)
            await session.ask(action="ping")
            (news,) = session.symbol_news
            assert (news["status"], news["symbol"], news["exchange"]) == ("delisted", "TCS", "NSE")
            assert (await session.subscribe("TCSNEW"))["status"] == "success"

    rehearse(scenario)


def test_sighup_has_the_list_read_again_even_where_the_settings_cannot_be(tmp_path: Path) -> None:
    with processes.simulator(tmp_path, symbols=60) as broker, processes.gateway(tmp_path) as gateway:
        stats = f"{gateway.said['http_url']}/stats"

        def taken() -> int:
            return int(processes.get(stats)["broker"]["instruments_reads"]["taken"])

        def wait_for(count: int) -> None:
            end = time.monotonic() + 20
            while taken() < count:
                assert time.monotonic() < end
                time.sleep(0.05)

        assert taken() == 0
        os.kill(gateway.process.pid, signal.SIGHUP)
        wait_for(1)
        file = tmp_path / "sim.env"
        file.write_text(file.read_text() + "BROKERPOOL_NONSENSE=1\n")
        os.kill(gateway.process.pid, signal.SIGHUP)
        wait_for(2)
        assert processes.get(f"{broker.said['control_url']}/stats")["http_requests"]["/instruments"] >= 3
