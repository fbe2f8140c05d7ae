"""A client's number leads to its key, its address and its program, in every place that names it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from brokerpool.db.keys import Scope
from brokerpool.db.pool import DatabasePool
from brokerpool.db.store import Store
from brokerpool.gateway.clients import LONGEST_AGENT, TOLD_A_MINUTE, Clients
from brokerpool.gateway.server import SLOWEST
from brokerpool.monitor.journal import Event, Journal
from tests.gateway_client import KEY, Client, client, gateway
from tests.rehearsal import until


class Time:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_came_and_who_left_is_told_once_each_in_log_and_journal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")
    clock, journal = Time(), Journal()
    clients = Clients(journal, clock, clock)
    clients.came(7, "momentum", "10.0.0.9", "Python/3.11 websockets/15.0")
    assert clients.key_of(7) == "momentum"
    clock.now = 12.0
    clients.left(7, 1000, "bye")
    came = 'key "momentum" from 10.0.0.9, user agent Python/3.11 websockets/15.0'
    told = [f"client-7 authenticated: {came}", f"client-7 left: 1000 bye; {came}, after 12 s"]
    assert [record.getMessage() for record in caplog.records] == told
    assert {record.client for record in caplog.records} == {"client-7"}  # type: ignore[attr-defined]
    assert [(e.event, e.reason) for e in journal.entries()] == [
        (Event.CLIENT_CAME, told[0]),
        (Event.CLIENT_LEFT, told[1]),
    ]
    assert (len(clients), clients.get(7), clients.key_of(7)) == (0, None, "")


def test_a_programs_name_for_itself_is_cut_and_cannot_begin_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")
    clients = Clients(Journal())
    clients.came(1, "a\x1b[31mkey" + "k" * 99, "10.0.0.9", "x\r\nroot logged in" + "y" * 5000)
    told = clients.get(1)
    assert told is not None
    assert (len(told.user_agent), len(told.key)) == (LONGEST_AGENT, 64)
    assert told.user_agent.startswith("x\\r\\nroot")
    assert caplog.records[0].getMessage().isprintable()


def test_a_program_that_connects_in_a_loop_fills_neither_log_nor_journal(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")
    clock, journal = Time(), Journal()
    clients = Clients(journal, clock, clock)
    for number in range(5000):
        clients.came(number, "loop", "10.0.0.9", "")
        clients.left(number, 1000, "")
    clock.now = 61.0
    clients.review()
    assert len(caplog.records) == TOLD_A_MINUTE + 1
    assert "clients come and go: 9,400 more in 61 s, the last one: client-4999 left" in caplog.text
    assert len(journal) == TOLD_A_MINUTE


def test_a_number_leads_to_the_key_everywhere_and_metrics_do_not_grow_with_clients(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/gateway.db"
        async with Store(DatabasePool(url)) as store:
            key = await store.create_key("momentum", frozenset({Scope.DATA}))
        async with (
            gateway({}, DATABASE_URL=url) as (_, served_by),
            aiohttp.ClientSession(served_by.http_url) as http,
        ):

            async def text(path: str) -> str:
                async with http.get(path) as answer:
                    assert answer.status == 200
                    return await answer.text()

            async with (
                client(served_by, key=key) as one,
                client(served_by),
                connect(served_by.ws_url, user_agent_header="hedger/1.0 " * 30) as third,
            ):
                assert (await Client(third).ask(action="authenticate", api_key=key))["status"] == "success"
                await one.subscribe("INFY")
                async with http.get("/clients") as answer:
                    listed = (await answer.json())["clients"]
                assert [c["key"] for c in listed] == ["momentum", "BROKERPOOL_API_KEY", "momentum"]
                number = listed[0]["client"]
                assert listed[0]["address"] == "127.0.0.1"
                assert "websockets" in listed[0]["user_agent"]
                assert len(listed[2]["user_agent"]) <= LONGEST_AGENT
                assert listed[2]["user_agent"].isprintable()
                async with http.get("/clients", params={"client": number}) as answer:
                    assert (await answer.json())["clients"] == listed[:1]
                for path in ("/stats", "/explain/NSE:INFY", "/journal", "/clients"):
                    assert "momentum" in await text(path), path
                    assert key not in await text(path), path
                    assert KEY not in await text(path), path
                metrics = await text("/metrics")
                samples = [line for line in metrics.splitlines() if line.startswith("brokerpool_gateway_")]
                assert not any("{" in sample for sample in samples), "no label, and so none for each client"
                assert "momentum" not in metrics
            await until(lambda: len(served_by._clients) == 0)
            async with http.get("/clients") as answer:
                assert (await answer.json())["clients"] == []

    asyncio.run(main())


def test_stats_name_a_bounded_number_of_clients_and_the_list_of_clients_all() -> None:
    async def main() -> None:
        most = SLOWEST + 5
        async with gateway() as (_, served_by), aiohttp.ClientSession(served_by.http_url) as http:
            open_ = [await connect(served_by.ws_url) for _ in range(most)]
            for connection in open_:
                await Client(connection).ask(action="authenticate", api_key=KEY)
            async with http.get("/stats") as answer:
                assert len((await answer.json())["gateway"]["slowest_clients"]) == SLOWEST
            async with http.get("/clients") as answer:
                assert len((await answer.json())["clients"]) == most
            for connection in open_:
                await connection.close()

    asyncio.run(main())
