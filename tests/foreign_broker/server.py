"""Acme's side, on loopback: logins, lists, quotes, and a feed that ticks ten times a second."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections import Counter
from typing import Any, Self

from aiohttp import WSMsgType, web

SYMBOLS = {"A-INFY": "INFY", "A-SBIN": "SBIN", "A-SECRET": "SECRET"}
REFUSED, WHY = "A-SECRET", "not part of your plan"
ENDS_AT = 4_000_000_000
PRICE = 1500.25
_DAY = {"open": 1490.0, "high": 1510.0, "low": 1480.0, "close": 1495.0, "volume": 700}
_BOOK = {"buy": [[1500.2, 10, 1]], "sell": [[1500.3, 20, 2]]}
_DETAILS: dict[str, dict[str, Any]] = {"last": {}, "day": {"day": _DAY}, "book": {"day": _DAY, "book": _BOOK}}


class AcmeBroker:
    """Runs from `start` to `close`; what it has heard stands in `heard`, by what was asked."""

    def __init__(self) -> None:
        self.app, self.secret = "acme-app", "acme-app-secret"
        self.access_token, self.feed_token = "token-of-the-api", "token-of-the-feed"
        self.heard: Counter[str] = Counter()
        self._code = ""
        app = web.Application(client_max_size=4096)
        app.router.add_get("/feed", self._feed)
        app.router.add_post("/session", self._session)
        for path, answer in (("/me", self._me), ("/symbols", self._symbols), ("/quotes", self._quotes)):
            app.router.add_get(path, answer)
        app.router.add_get("/candles", self._candles)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)

    @property
    def settings(self) -> dict[str, str]:
        """What a person writes down to use this broker, but for the tokens of a login."""
        host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return {
            "BROKERPOOL_BROKER": "acme",
            "BROKERPOOL_BROKER_API_KEY": self.app,
            "BROKERPOOL_BROKER_API_SECRET": self.secret,
            "BROKERPOOL_BROKER_WS_URL": f"ws://{host}/feed",
            "BROKERPOOL_BROKER_HTTP_URL": f"http://{host}",
            "BROKERPOOL_BROKER_LOGIN_URL": f"http://{host}/login",
        }

    def log_in(self) -> str:
        """Do what a person does on the login page, and return the address to which that leads."""
        self._code = "code-of-this-login"
        return f"https://my.app.example/back?code={self._code}&state="

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    # -- HTTP ---------------------------------------------------------------------------------------------

    async def _session(self, request: web.Request) -> web.Response:
        asked = await request.json()
        code, self._code = self._code, ""  # works once
        proof = hashlib.sha256(f"{self.app}/{code}/{self.secret}".encode()).hexdigest()
        if not code or asked != {"app": self.app, "code": code, "proof": proof}:
            return _complaint(401, "no such login")
        return web.json_response({"access_token": self.access_token, "feed_token": self.feed_token})

    async def _me(self, request: web.Request) -> web.Response:
        return self._answer(request, {"user": "AC1", "name": "Wile E. Coyote", "ends_at": ENDS_AT})

    async def _symbols(self, request: web.Request) -> web.Response:
        listed = [{"id": id_, "exchange": "NSE", "symbol": symbol} for id_, symbol in SYMBOLS.items()]
        return self._answer(request, listed)

    async def _quotes(self, request: web.Request) -> web.Response:
        ids = request.query.get("ids", "").split(",")
        return self._answer(request, [_price(id_, "book") for id_ in ids if id_ in SYMBOLS])

    async def _candles(self, request: web.Request) -> web.Response:
        return self._answer(request, [[int(request.query["from"]), 1490.0, 1510.0, 1480.0, PRICE, 700]])

    def _answer(self, request: web.Request, answer: object) -> web.Response:
        self.heard[request.path] += 1
        if request.headers.get("Authorization") != f"Bearer {self.access_token}":
            return _complaint(401, "log in first")
        return web.json_response(answer)

    # -- the feed -----------------------------------------------------------------------------------------

    async def _feed(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=64 * 1024)
        await socket.prepare(request)
        wanted: dict[str, str] = {}
        ticking: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                asked = message.json() if message.type is WSMsgType.TEXT else {"do": "binary"}
                self.heard[asked["do"]] += 1
                if asked["do"] == "hello":
                    if asked["token"] != self.feed_token:
                        await socket.send_json({"is": "denied", "why": "this token is not of today"})
                        break
                    await socket.send_json({"is": "ready"})
                    ticking = asyncio.create_task(_tick(socket, wanted))
                elif ticking is not None:
                    await _changed(socket, wanted, asked)
        finally:
            if ticking is not None:
                ticking.cancel()
        return socket


async def _changed(socket: web.WebSocketResponse, wanted: dict[str, str], asked: dict[str, Any]) -> None:
    if asked["do"] == "add":
        if refused := [id_ for id_ in asked["ids"] if id_ == REFUSED]:
            await socket.send_json({"is": "no", "ids": refused, "why": WHY})
        wanted |= {id_: asked["detail"] for id_ in asked["ids"] if id_ != REFUSED}
    for id_ in asked["ids"] if asked["do"] == "drop" else ():
        wanted.pop(id_, None)


async def _tick(socket: web.WebSocketResponse, wanted: dict[str, str]) -> None:
    with contextlib.suppress(ConnectionError):  # gone: whoever reads it ends this
        while True:
            if prices := [_price(id_, detail) for id_, detail in wanted.items()]:
                await socket.send_json({"is": "prices", "prices": prices})
            await asyncio.sleep(0.1)


def _price(id_: str, detail: str) -> dict[str, Any]:
    return {"id": id_, "last": PRICE, "at": time.time_ns() // 1_000_000, **_DETAILS[detail]}


def _complaint(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)
