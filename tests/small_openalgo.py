"""A small OpenAlgo on one real port: its WebSocket protocol and the REST that an upstream is asked for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from tests.rehearsal import no_task_dies

KEY = "a-right-key"
QUOTE = {"open": 99.0, "high": 111.0, "low": 98.0, "prev_close": 97.5, "volume": 1200, "oi": 3}


class SmallOpenAlgo:
    """Keeps a subscription for each mode of a symbol, and answers one message after the other."""

    def __init__(self) -> None:
        self.url = ""
        self.key = KEY
        #: Symbols that are refused by name, in these modes.
        self.refused: dict[str, set[int]] = {}
        #: Seconds for which the answer to a key waits for the broker, and whether it comes at all.
        self.auth_seconds = 0.0
        self.answers_keys = True
        #: The instrument list; None where the server has no such endpoint.
        self.rows: list[dict[str, Any]] | None = None
        #: What REST complains of next: status and body.
        self.complaints: list[tuple[int, dict[str, Any]]] = []
        self.candles: list[dict[str, Any]] = []
        self.dials = 0
        self.frames: list[dict[str, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.sockets: list[web.WebSocketResponse] = []
        self.held: dict[str, set[int]] = {}

    # -- the WebSocket ------------------------------------------------------------------------------------

    async def socket(self, request: web.Request) -> web.StreamResponse:
        self.dials += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets.append(socket)
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    await self._heard(socket, json.loads(message.data))
        finally:
            self.sockets.remove(socket)
            self.held.clear()
        return socket

    async def _heard(self, socket: web.WebSocketResponse, said: dict[str, Any]) -> None:
        self.frames.append(said)
        match said["action"]:
            case "authenticate":
                await asyncio.sleep(self.auth_seconds)
                if not self.answers_keys:
                    return
                if said["api_key"] != self.key:
                    text = "Invalid API key"
                    await socket.send_json(
                        {"status": "error", "code": "AUTHENTICATION_ERROR", "message": text}
                    )
                else:
                    await socket.send_json({"type": "auth", "status": "success", "message": "Welcome"})
            case "ping":
                await socket.send_json({"type": "pong", "status": "success", "server_timestamp": 1})
            case "subscribe":
                items = [self._subscribed(entry, said["mode"]) for entry in said.get("symbols") or [said]]
                answer = {"type": "subscribe", "status": "success", "subscriptions": items}
                await socket.send_json({**answer, "request_id": said.get("request_id")})
            case "unsubscribe":
                for entry in said.get("symbols") or [said]:
                    self.held.get(f"{entry['exchange']}:{entry['symbol']}", set()).discard(
                        entry.get("mode", 2)
                    )
                await socket.send_json({"type": "unsubscribe", "status": "success"})
            case "subscribe_orders":
                await socket.send_json({"type": "subscribe_orders", "status": "success", "message": "yes"})

    def _subscribed(self, entry: dict[str, Any], mode: int) -> dict[str, Any]:
        item = {"symbol": entry["symbol"], "exchange": entry["exchange"]}
        token = f"{entry['exchange']}:{entry['symbol']}"
        if mode in self.refused.get(token, ()):
            return {**item, "status": "error", "message": f"{token} is not for you"}
        self.held.setdefault(token, set()).add(mode)
        return {**item, "status": "success", "mode": ("LTP", "Quote", "Depth")[mode - 1], "depth": 5}

    async def push(self, token: str, **data: Any) -> None:
        """Send market data of a symbol as it is subscribed, in its highest mode."""
        exchange, _, symbol = token.partition(":")
        modes = self.held.get(token)
        if modes:
            frame = {"type": "market_data", "symbol": symbol, "exchange": exchange, "mode": max(modes)}
            await self.send({**frame, "data": {"symbol": symbol, **data}, "broker": "dhan"})

    async def send(self, frame: dict[str, Any]) -> None:
        for socket in self.sockets:
            await socket.send_json(frame)

    async def close(self, code: int, reason: str) -> None:
        for socket in list(self.sockets):
            await socket.close(code=code, message=reason.encode())

    # -- REST ---------------------------------------------------------------------------------------------

    async def post(self, request: web.Request) -> web.StreamResponse:
        said = await request.json()
        endpoint = request.match_info["endpoint"]
        self.calls.append((endpoint, said))
        if self.complaints:
            status, body = self.complaints.pop(0)
            return web.json_response(body, status=status)
        if said.get("apikey") != self.key:
            return web.json_response({"status": "error", "message": "Invalid openalgo apikey"}, status=403)
        match endpoint:
            case "ping":
                return _good({"message": "pong", "broker": "dhan"})
            case "history":
                return _good(self.candles)
            case "depth" if said["symbol"] == "NOPE":
                return web.json_response({"status": "error", "message": "Symbol not found"}, status=400)
            case "depth":
                level = {"price": 99.9, "quantity": 50}
                return _good({**QUOTE, "ltp": 100.0, "ltq": 5, "totalbuyqty": 7, "bids": [level], "asks": []})
            case "multiquotes":
                return self._quotes(said["symbols"])
        return web.json_response({"status": "error", "message": "no such thing"}, status=404)

    def _quotes(self, symbols: list[dict[str, str]]) -> web.StreamResponse:
        bad = [{**each, "error": "Symbol not found"} for each in symbols if each["symbol"] == "NOPE"]
        good = [
            {**each, "data": {**QUOTE, "ltp": 100.0 + n, "bid": 99.9, "ask": 0}}
            for n, each in enumerate(symbols)
            if each["symbol"] != "NOPE"
        ]
        if not good:
            said = {"status": "error", "message": "No valid symbols", "invalid_symbols": bad}
            return web.json_response(said, status=400)
        return web.json_response({"status": "success", "results": [*bad, *good]})

    async def instruments(self, request: web.Request) -> web.StreamResponse:
        if self.rows is None:
            return web.json_response({"message": "not found"}, status=404)
        if request.query["apikey"] != self.key:
            return web.json_response({"status": "error", "message": "Invalid openalgo apikey"}, status=403)
        return web.json_response({"status": "success", "message": "all", "data": self.rows})


def _good(data: object) -> web.StreamResponse:
    return web.json_response({"status": "success", "data": data})


@asynccontextmanager
async def small_openalgo() -> AsyncIterator[SmallOpenAlgo]:
    """Give a running server; nothing of it may die."""
    server = SmallOpenAlgo()
    application = web.Application()
    application.router.add_get("/ws", server.socket)
    application.router.add_get("/api/v1/instruments", server.instruments)
    application.router.add_post("/api/v1/{endpoint}", server.post)
    runner = web.AppRunner(application, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server.url = f"127.0.0.1:{runner.addresses[0][1]}"
        async with no_task_dies():
            yield server
    finally:
        await runner.cleanup()
