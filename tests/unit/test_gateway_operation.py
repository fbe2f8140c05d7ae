"""What runs a gateway meets: its limits, its journal and statistics, a port that is taken, its end."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import connect

from brokerpool import BrokerpoolError, ErrorCode
from tests.gateway_client import client, gateway
from tests.rehearsal import served, until


def test_limits_on_clients_symbols_and_message_size_are_told() -> None:
    async def main() -> None:
        limits = {
            "BROKERPOOL_MAX_CLIENTS": "2",
            "BROKERPOOL_MAX_SYMBOLS_PER_CLIENT": "2",
            "BROKERPOOL_MAX_MESSAGE_BYTES": "4096",
        }
        async with gateway(**limits) as (_, served_by), client(served_by) as one, client(served_by) as two:
            with pytest.raises(websockets.InvalidStatus) as caught:
                await connect(served_by.ws_url)
            assert caught.value.response.status_code == 503
            assert caught.value.response.headers["Retry-After"] == "5"
            reply = await one.subscribe("INFY", "SBIN", "TCS")
            assert [item.get("code") for item in reply["subscriptions"]] == [
                None,
                None,
                "CLIENT_SYMBOL_LIMIT",
            ]
            assert (await one.subscribe("INFY", mode=3))["status"] == "success", (
                "another mode is no new symbol"
            )
            await two.connection.send("x" * 5000)
            with pytest.raises(websockets.ConnectionClosed):
                async with asyncio.timeout(2):
                    await two.connection.recv()
            assert two.connection.close_code == 1009
            await until(lambda: served_by.clients == 1)
            assert (await one.ask(action="ping"))["type"] == "pong", "no other client notices"

    asyncio.run(main())


def test_the_journal_is_served_over_http_and_can_be_followed() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY")
            await until(lambda: served(broker))
            async with aiohttp.ClientSession(served_by.http_url) as http:
                async with http.get("/journal") as response:
                    entries = (await response.json())["entries"]
                assert [(e["event"], e["connection"]) for e in entries] == [
                    ("key used", ""),
                    ("client came", ""),
                    ("dialled", "zerodha-1"),
                    ("live", "zerodha-1"),
                ]
                async with http.get("/journal", params={"after": entries[0]["number"]}) as response:
                    assert (await response.json())["entries"] == entries[1:]

    asyncio.run(main())


def test_stopping_tells_clients_to_come_back_and_leaves_no_broker_socket() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY")
            await until(lambda: broker.sockets())
            await served_by.close()
            with pytest.raises(websockets.ConnectionClosed):
                await session.drain()
            assert session.connection.close_code == 1001
            assert "reconnect in" in (session.connection.close_reason or "")
            await until(lambda: not broker.sockets())

    asyncio.run(main())


def test_a_port_that_is_taken_gives_a_clear_error() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by):
            port = served_by.ws_url.rpartition(":")[2]
            with pytest.raises(BrokerpoolError, match="WEBSOCKET_PORT") as caught:
                async with gateway(WEBSOCKET_PORT=port):
                    pass
            assert caught.value.code is ErrorCode.ADDRESS_IN_USE

    asyncio.run(main())


def test_the_statistics_are_served_over_http() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by), client(served_by) as session:
            await session.subscribe("INFY", "SBIN")
            await until(lambda: len(served(broker)) == 2)
            async with aiohttp.ClientSession() as http:
                async with http.get(f"{served_by.http_url}/stats") as response:
                    stats = await response.json()
                async with http.get(f"{served_by.http_url}/health/live") as response:
                    assert await response.json() == {"status": "live"}
            assert stats["websocket"]["total_symbols"] == 2
            assert stats["gateway"]["clients"] == 1

    asyncio.run(main())
