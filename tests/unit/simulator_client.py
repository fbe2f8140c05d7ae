"""A client of the simulated Kite that is not ours: the `websockets` library, and what tests ask of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from brokerpool.simulator import KiteSimulator
from brokerpool.simulator.zerodha.wire import packet_token, packets

DEADLINE = 5.0


def run(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(scenario(), 30))


def dialling(broker: KiteSimulator, **changed: str) -> connect:
    query = {"api_key": broker.api_key, "access_token": broker.access_token, **changed}
    url = broker.ws_url + "?" + "&".join(f"{name}={value}" for name, value in query.items())
    return connect(url, max_size=None, ping_interval=None)


async def refusal(broker: KiteSimulator, **changed: str) -> InvalidStatus:
    with pytest.raises(InvalidStatus) as refused:
        await dialling(broker, **changed)
    return refused.value


async def ask(client: ClientConnection, action: str, value: object) -> None:
    await client.send(json.dumps({"a": action, "v": value}))


async def answer(client: ClientConnection) -> bytes | str:
    """The next message that is not a heartbeat."""
    async with asyncio.timeout(DEADLINE):
        while (message := await client.recv()) == b"\x00":
            pass
    return message


async def error(client: ClientConnection) -> str:
    message = await answer(client)
    assert isinstance(message, str)
    notice = json.loads(message)
    assert notice["type"] == "error"
    return str(notice["data"])


async def shape(client: ClientConnection) -> list[tuple[int, int]]:
    """Token and length of every packet in the next binary message."""
    message = await answer(client)
    assert isinstance(message, bytes)
    return [(packet_token(packet) or 0, len(packet)) for packet in packets(message)]


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if condition():
            return
        await asyncio.sleep(DEADLINE / 1_000)
    raise TimeoutError("the condition did not come true in time")


def tokens_of(broker: KiteSimulator, count: int | None = None) -> list[int]:
    return [listing.token for listing in broker.listings[:count]]
