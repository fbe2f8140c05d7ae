"""Promises of /explain: who wants a symbol, who carries it, and why it is not served."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp

from brokerpool import Instrument
from brokerpool.gateway.clients import client_number
from brokerpool.gateway.server import Gateway
from tests.gateway_client import KEY, client, gateway
from tests.rehearsal import until


async def explained(served_by: Gateway, name: str) -> tuple[int, dict[str, Any]]:
    async with (
        aiohttp.ClientSession(served_by.http_url) as http,
        http.get(f"/explain/{name}") as answer,
    ):
        return answer.status, await answer.json()


def test_a_symbol_that_ticks_is_told_with_its_owners_modes_connection_and_last_tick() -> None:
    async def main() -> None:
        async with (
            gateway({"rate": 200}) as (_, served_by),
            client(served_by) as one,
            client(served_by) as other,
        ):
            await one.subscribe("INFY", mode=1)
            await other.subscribe("INFY", mode=3)
            await other.take(2)
            status, told = await explained(served_by, "nse:INFY")
            assert status == 200
            assert (told["instrument"], told["state"], told["mode"]) == ("NSE:INFY", "live", "Depth")
            assert sorted(owner["modes"] for owner in told["owners"]) == [["Depth"], ["LTP"]]
            assert all(owner["client"] > 0 for owner in told["owners"])
            assert {(owner["key"], owner["address"]) for owner in told["owners"]} == {
                ("BROKERPOOL_API_KEY", "127.0.0.1")
            }
            assert all("websockets" in owner["user_agent"] for owner in told["owners"])
            assert all(time.time() - owner["since_ms"] / 1000 < 60 for owner in told["owners"])
            (carrier,) = told["connections"]
            assert (carrier["name"], carrier["role"], carrier["state"]) == ("zerodha-1", "home", "live")
            assert 0 <= told["last_tick_age_seconds"] < 5
            assert told["gap"] is None
            assert KEY not in str(told)

    asyncio.run(main())


def test_a_symbol_whose_broker_is_gone_is_told_with_its_gap_and_the_fault_of_its_connection() -> None:
    async def main() -> None:
        async with gateway({"rate": 200}) as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY")
            await session.take(2)
            await broker.down()
            await until(lambda: served_by.upstream.gap(Instrument("NSE", "INFY")))
            _, told = await explained(served_by, "NSE:INFY")
            assert told["state"] in ("accepted", "degraded")
            assert told["connections"][0]["last_fault"]
            assert "zerodha-1 is" in told["why"]
            assert told["gap"]["from"] > 0
            assert told["gap"]["reason"]

    asyncio.run(main())


def test_a_symbol_that_nobody_wants_is_told_with_the_room_for_it() -> None:
    async def main() -> None:
        limits = {"MAX_SYMBOLS_PER_WEBSOCKET": "1", "MAX_WEBSOCKET_CONNECTIONS": "1"}
        async with gateway({}, **limits) as (_, served_by), client(served_by) as session:
            _, told = await explained(served_by, "NSE:INFY")
            assert (told["state"], told["owners"], told["mode"]) == ("not wanted", [], None)
            assert "there is room" in told["why"]
            await session.subscribe("RELIANCE")
            inspection = served_by.upstream.inspection  # of which a cluster's hears a moment later
            await until(lambda: not inspection.explain(Instrument("NSE", "INFY")).fits)
            _, told = await explained(served_by, "NSE:INFY")
            assert "every connection is full" in told["why"]

    asyncio.run(main())


def test_what_is_no_symbol_gets_400_and_what_the_broker_does_not_list_404() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            status, told = await explained(served_by, "INFY")
            assert (status, told["code"]) == (400, "INVALID_PARAMETERS")
            status, told = await explained(served_by, "NSE:NOPE")
            assert (status, told["code"]) == (404, "SYMBOL_NOT_FOUND")

    asyncio.run(main())


def test_an_owner_that_is_no_client_of_the_gateway_has_no_number() -> None:
    assert [client_number(name) for name in ("client-12", "default", "client-x", "12")] == [12, 0, 0, 0]
