"""A client of the simulated OpenAlgo that is not ours (`websockets` and aiohttp), and what tests ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from websockets.asyncio.client import ClientConnection, connect

from brokerpool.simulator import OpenAlgoSimulator

DEADLINE = 5.0
INFY = {"symbol": "INFY", "exchange": "NSE"}
SBIN = {"symbol": "SBIN", "exchange": "NSE"}

#: A small order far from the market: it rests.
ORDER: dict[str, Any] = {
    **INFY,
    "strategy": "mine",
    "action": "BUY",
    "quantity": "10",
    "pricetype": "LIMIT",
    "product": "MIS",
    "price": "1300",
}


class Client:
    """One socket; ticks and answers come in the order in which they were sent."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **request: object) -> None:
        await self.socket.send(json.dumps(request))

    async def message(self) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            received = await self.socket.recv()
        assert isinstance(received, str), "OpenAlgo sends text"
        message: dict[str, Any] = json.loads(received)
        return message

    async def ask(self, **request: object) -> dict[str, Any]:
        """Return the next message, for nothing else is expected before the answer."""
        await self.say(**request)
        return await self.message()

    async def nothing_more(self) -> None:
        """Fail when anything came before the answer to a ping that is sent now."""
        assert (await self.ask(action="ping"))["type"] == "pong"


def broker(**options: Any) -> OpenAlgoSimulator:
    """Return a server with three symbols whose market stands still."""
    return OpenAlgoSimulator(symbols=3, rate=0, **options)


async def tick(server: OpenAlgoSimulator, client: Client) -> dict[str, Any]:
    """Let every instrument trade once, and return the next message of the client."""
    await server.step(3)
    return await client.message()


@contextlib.asynccontextmanager
async def stranger(broker: OpenAlgoSimulator, path: str = "") -> AsyncIterator[Client]:
    async with connect(broker.ws_url + path, ping_interval=None) as socket:
        yield Client(socket)


@contextlib.asynccontextmanager
async def logged_in(broker: OpenAlgoSimulator) -> AsyncIterator[Client]:
    async with stranger(broker) as client:
        assert (await client.ask(action="authenticate", api_key=broker.api_key))["status"] == "success"
        yield client


async def post(
    broker: OpenAlgoSimulator, call: str, key: str | None = None, **body: Any
) -> tuple[int, dict[str, Any]]:
    """Return status and members of the answer."""
    async with (
        aiohttp.ClientSession(broker.http_url) as http,
        http.post(f"/api/v1/{call}", json={"apikey": key or broker.api_key, **body}) as answer,
    ):
        return answer.status, await answer.json()
