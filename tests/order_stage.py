"""A gateway that passes orders through to a scripted upstream, which behaves as OpenAlgo's REST does."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from random import Random
from typing import Any, NamedTuple

import aiohttp

from brokerpool import ZerodhaFeed
from brokerpool.brokers.login import Login
from brokerpool.brokers.zerodha.rest import ZerodhaRest
from brokerpool.gateway.server import Gateway
from brokerpool.instruments import TokenBook
from brokerpool.simulator import KiteSimulator
from tests.gateway_client import KEY, gateway
from tests.http_server import Reply, ScriptedBroker, Seen
from tests.rehearsal import feed

UPSTREAM_KEY = "the-key-of-the-upstream"

#: How many of a thousand calls that change something end so.
ENDINGS = {
    "accepted": 700, "rejected": 221, "reset after accepting": 20, "closed after accepting": 20,
    "502 after accepting": 15, "500 without accepting": 10, "reset without accepting": 10,
    "mute after accepting": 4,
}  # fmt: skip


class Ledger:
    """The orders of an OpenAlgo server, by the `strategy` of the call; `seed` makes some calls end badly."""

    def __init__(self, seed: int | None = None) -> None:
        self._random = Random(seed) if seed is not None else None
        self.orders: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.endings: Counter[str] = Counter()
        self.wrong_keys = 0

    def script(self, seen: Seen) -> Reply:
        """Answer a call; one that changes something is entered whatever the answer is then."""
        if seen.method == "GET":
            return Reply(body=b"{}")
        body = json.loads(seen.body)
        if body["apikey"] != UPSTREAM_KEY:
            self.wrong_keys += 1
            return Reply(403, b'{"status":"error","message":"Invalid openalgo apikey"}')
        if not seen.path.endswith("order"):
            return Reply(body=json.dumps({"status": "success", "data": dict(self.orders)}).encode())
        name, ending = body["strategy"], "accepted"
        self.sent[name] += 1
        if self._random is not None:
            (ending,) = self._random.choices(list(ENDINGS), list(ENDINGS.values()))
        self.endings[ending] += 1
        if ending == "accepted" or ending.endswith("after accepting"):
            self.orders[name] += 1
        return {
            "accepted": Reply(body=json.dumps({"orderid": name, "status": "success"}).encode()),
            "rejected": Reply(400, b'{"status":"error","message":"RMS: margin exceeds"}'),
            "reset": Reply(status=None, then="reset"),
            "closed": Reply(status=None, then="close"),
            "502": Reply(502, b"<html>bad gateway</html>"),
            "500": Reply(500, b'{"status":"error","message":"failed"}'),
            "mute": Reply(status=None, delay=60),
        }[ending.split()[0]]


class OpenAlgoRest(ZerodhaRest):
    """The HTTP API of an account that carries orders."""

    carries_orders = True

    def __init__(self, login: Login, url: str) -> None:
        super().__init__("key", login, book=TokenBook, http_url=url)
        self.limits = replace(self.limits, windows={})

    def order_key(self) -> str:
        return UPSTREAM_KEY


class CarryingFeed(ZerodhaFeed):
    """An account whose ticks are the simulated Kite's, and whose calls go to a URL."""

    url = ""

    def rest(self) -> ZerodhaRest:
        return OpenAlgoRest(self.login, self.url)


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Program:
    """A client of the gateway's REST."""

    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def post(self, name: str, *, key: str = KEY, **body: Any) -> Answer:
        return await self.send("POST", f"/api/v1/{name}", json={"apikey": key, **body})

    async def place(self, strategy: str, *, key: str = KEY, **more: Any) -> Answer:
        order: dict[str, Any] = {
            "symbol": "INFY",
            "exchange": "NSE",
            "action": "BUY",
            "quantity": 1,
            "product": "CNC",
        }
        return await self.post("placeorder", key=key, strategy=strategy, pricetype="MARKET", **order, **more)

    async def send(self, method: str, path: str, **options: Any) -> Answer:
        async with self.http.request(method, path, **options) as answer:
            return Answer(answer.status, await answer.read(), answer.headers)


class Stage(NamedTuple):
    upstream: ScriptedBroker
    gateway: Gateway
    program: Program

    def calls(self) -> list[Seen]:
        """Return what reached the upstream below /api/v1."""
        return [seen for seen in self.upstream.seen if seen.path.startswith("/api/v1/")]

    def audit(self) -> list[str]:
        """Return the journal's lines of calls that may change something."""
        return [e.reason for e in self.gateway.upstream.journal.entries() if e.event.value == "order call"]


@asynccontextmanager
async def passing(*, connections: int = 100, **environ: str) -> AsyncIterator[Stage]:
    """Run all of it; orders are on, also for the key of the settings, and no rate limit is in the way."""

    async with ScriptedBroker() as upstream:
        upstream.script = Ledger().script

        def account(broker: KiteSimulator) -> CarryingFeed:
            known = feed(broker)
            account = CarryingFeed(
                broker.api_key,
                broker.access_token,
                ws_url=broker.ws_url,
                http_url=broker.http_url,
                book=known.book,
                limits=known.limits,
            )
            account.url = upstream.url
            return account

        environ = {
            "BROKERPOOL_ORDERS_ACCOUNT": "zerodha",
            "BROKERPOOL_API_KEY_ORDERS": "yes",
            "API_RATE_LIMIT": "100000 per second",
            "BACKOFF_FACTOR": "0",
            **environ,
        }
        connector = aiohttp.TCPConnector(limit=connections)
        async with (
            gateway({"http_rates": {}}, 60.0, account, **environ) as (_, served_by),
            aiohttp.ClientSession(served_by.http_url, connector=connector) as http,
        ):
            yield Stage(upstream, served_by, Program(http))
