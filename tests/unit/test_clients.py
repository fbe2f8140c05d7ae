"""A client's number leads to its key, its address and its program, in every place that names it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import aiohttp
import pytest
from websockets.asyncio.client import connect

from brokerpool.commands.explain import lines
from brokerpool.commands.terminal_tables import client_lines
from brokerpool.db.pool import DatabasePool
from brokerpool.event_journal import Event, Journal
from brokerpool.gateway.clients import LONGEST_AGENT, TOLD_A_MINUTE, Clients
from brokerpool.gateway.server import SLOWEST
from brokerpool.store.gateway_store import Store
from brokerpool.store.keys import Scope
from tests.gateway_client import KEY, Client, client, gateway, pool_of
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


def test_a_client_that_shows_another_key_is_somebody_else_from_then_on(tmp_path: Path) -> None:
    async def main() -> None:
        url = f"sqlite:///{tmp_path}/gateway.db"
        async with Store(DatabasePool(url)) as store:
            key = await store.create_key("hedger", {Scope.DATA})
        async with gateway({}, DATABASE_URL=url) as (_, served_by), client(served_by) as session:
            assert [c.key for c in served_by._clients] == ["BROKERPOOL_API_KEY"]
            await session.ask(action="authenticate", api_key=KEY)
            await session.ask(action="authenticate", api_key=key)
            assert [c.key for c in served_by._clients] == ["hedger"]
            came = [e for e in served_by.upstream.journal.entries() if e.event is Event.CLIENT_CAME]
            assert len(came) == 2, "the same key again is no news"

    asyncio.run(main())


def test_the_log_names_whose_key_had_a_connection_moved(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "brokerpool.gateway")

    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by) as session:
            await session.subscribe("INFY")
            await pool_of(served_by).wait_live(served_by.upstream.demand.instruments())
            path = f"{served_by.http_url}/dashboard/connections/zerodha-1/rotate"
            headers = {"Authorization": f"Bearer {KEY}"}
            async with aiohttp.ClientSession(headers=headers) as http, http.post(path) as answer:
                assert answer.status == 200

    asyncio.run(main())
    who = 'the operator with the key "BROKERPOOL_API_KEY" from 127.0.0.1'
    assert f"zerodha-1: rotate ordered by {who}" in caplog.text
    assert KEY not in caplog.text


def test_explain_and_stats_say_on_the_terminal_who_a_client_is() -> None:
    client = {
        "client": 7,
        "key": "momentum",
        "address": "10.0.0.9",
        "user_agent": "websockets/15.0",
        "since_ms": 1_764_300_000_000,
        "subscriptions": 3,
        "behind_seconds": 0.0,
    }
    (line,) = client_lines({"gateway": {"slowest_clients": [client]}})
    assert line.startswith('client-7: key "momentum" from 10.0.0.9 since 2025-11-2')
    assert line.endswith("user agent websockets/15.0; 3 subscriptions")
    told = {"instrument": "NSE:INFY", "state": "live", "why": "It ticks.", "mode": "LTP", "priority": 0}
    nobody = {"client": 0, "modes": ["LTP"], "key": "", "address": "", "user_agent": "", "since_ms": None}
    told |= {"owners": [{**client, "modes": ["LTP"]}, nobody], "connections": [], "gap": None}
    said = list(lines(told | {"last_tick_age_seconds": 1.0, "usual_pause_seconds": 0}))
    assert said[1].startswith('wanted by:    client-7 (LTP), key "momentum" from 10.0.0.9 since 2025-11-2')
    assert said[2] == "wanted by:    no client that is connected (LTP)"
