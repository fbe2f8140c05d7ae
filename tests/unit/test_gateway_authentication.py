"""A client of the gateway says who it is: answered at once, refused with a reason, closed in time."""

from __future__ import annotations

import asyncio
import json

import pytest
import websockets
from websockets.asyncio.client import connect

from brokerpool.brokers.registry import names
from tests.gateway_client import KEY, client, gateway
from tests.rehearsal import served, until


def test_authentication_answers_at_once_while_the_broker_is_down() -> None:
    async def main() -> None:
        async with gateway() as (broker, served_by):
            await broker.down()
            began = asyncio.get_running_loop().time()
            async with client(served_by) as session:
                reply = await session.subscribe("INFY")
                assert reply["status"] == "success", "accepted; the broker connects in the background"
                assert (await session.ask(action="get_broker_info"))["adapter_status"] == "disconnected"
                assert asyncio.get_running_loop().time() - began < 5, "it waits for no dial"
                await broker.up()
                await until(lambda: served(broker))
                assert (await session.ask(action="get_broker_info"))["adapter_status"] == "connected"

    asyncio.run(main())


@pytest.mark.parametrize("key", ["wrong-key", "", KEY[:-1], KEY + "x", "schlüssel"])
def test_a_wrong_key_is_refused_and_nothing_else_is_allowed(key: str) -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), client(served_by, key=None) as session:
            reply = await session.ask(action="authenticate", api_key=key)
            assert (reply["type"], reply["status"]) == ("auth", "error")
            for action in (
                "subscribe",
                "unsubscribe",
                "unsubscribe_all",
                "get_broker_info",
                "subscribe_orders",
            ):
                refusal = await session.ask(action=action, symbol="INFY", exchange="NSE")
                assert refusal["code"] == "NOT_AUTHENTICATED"
            assert (await session.ask(action="ping"))["type"] == "pong"
            assert (await session.ask(action="get_supported_brokers"))["brokers"] == names()

    asyncio.run(main())


def test_who_does_not_authenticate_is_closed_with_4401() -> None:
    async def main() -> None:
        async with (
            gateway(WS_AUTH_GRACE_SECONDS="0.2") as (_, served_by),
            client(served_by) as authenticated,
            client(served_by, key=None) as stranger,
        ):
            with pytest.raises(websockets.ConnectionClosed):
                async with asyncio.timeout(2):
                    await stranger.connection.recv()
            assert stranger.connection.close_code == 4401
            assert stranger.connection.close_reason == "auth timeout"
            assert (await authenticated.ask(action="ping"))["type"] == "pong"

    asyncio.run(main())


def test_a_client_may_send_everything_behind_its_authentication_without_waiting() -> None:
    async def main() -> None:
        async with gateway() as (_, served_by), connect(served_by.ws_url) as connection:
            await connection.send(json.dumps({"action": "authenticate", "api_key": KEY}))
            await connection.send(json.dumps({"action": "subscribe", "symbol": "INFY", "exchange": "NSE"}))
            assert json.loads(await connection.recv())["type"] == "auth", "the first frame is the reply"
            assert json.loads(await connection.recv())["type"] == "subscribe"

    asyncio.run(main())
