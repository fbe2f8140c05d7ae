"""A program of a user's that asks the REST endpoints of a gateway, the simulated broker behind it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

from brokerpool.gateway.server import Gateway
from brokerpool.simulator import KiteSimulator
from tests.gateway_client import KEY, gateway

INFY = {"symbol": "INFY", "exchange": "NSE"}


NOPE = {"symbol": "NOPE", "exchange": "NSE"}


class Answer(NamedTuple):
    status: int
    text: str
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Program:
    """A client of the REST endpoints."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self._http = http

    async def post(self, name: str, *, key: str = KEY, **body: Any) -> Answer:
        return await self.send("POST", f"/api/v1/{name}", json={"apikey": key, **body})

    async def get(self, name: str, **query: str) -> Answer:
        return await self.send("GET", f"/api/v1/{name}", params={"apikey": KEY, **query})

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        async with self._http.request(method, path, **options) as answer:
            return Answer(answer.status, await answer.text(), answer.headers)


@asynccontextmanager
async def serving(
    *, symbols: int = 30, **environ: str
) -> AsyncIterator[tuple[KiteSimulator, Gateway, Program]]:
    # Without the broker's rates and without pauses between repeats: no test waits for either.
    environ = {"BACKOFF_FACTOR": "0", **environ}
    async with (
        gateway({"http_rates": {}, "symbols": symbols}, **environ) as (broker, served_by),
        aiohttp.ClientSession(served_by.http_url) as http,
    ):
        yield broker, served_by, Program(http)


def asked(broker: KiteSimulator, path: str = "/quote") -> int:
    return int(broker.stats()["http_requests"].get(path, 0))
