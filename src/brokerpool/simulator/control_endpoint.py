"""The control endpoint: what a test or a rehearsal sees of the simulated broker, and how it makes it fail.

| request | does |
| --- | --- |
| `GET /sockets` | every open socket with its tokens and counters |
| `GET /stats` | counters since the start |
| `GET /orders` | how many orders exist: in all, by status and by tag |
| `GET /orders/accepted` | every order that was accepted, in time: when, and what its client sent |
| `GET /faults` | the switches as they stand |
| `POST /faults` | throws switches: a JSON object as in `faults.FaultOrder`; null turns one off |
| `POST /sockets/N/kill` | drops the TCP connection |
| `POST /sockets/N/close` | closes with the WebSocket handshake |
| `POST /step` | `{"ticks": n}`: lets the market trade n times now |
| `GET /toxics` | what the fault proxy does to connections |
| `POST /toxics` | adds a toxic: a JSON object as in `toxics.ToxicOrder` |
| `DELETE /toxics/NAME` | removes it |
| `POST /proxy` | `{"enabled": false}`: the proxy refuses connections and cuts the open ones |

The last four answer 404 when no fault proxy stands in front of the broker. It has no login: it
listens on loopback only, and answers 403 to the pages of other hosts that a browser shows on this machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, ClassVar, Protocol

import msgspec
from aiohttp import web

from brokerpool.errors import AccessError
from brokerpool.gateway.allowed_origins import RequestOrigin
from brokerpool.simulator.exchange import Market
from brokerpool.simulator.fault_proxy.proxy import FaultProxy
from brokerpool.simulator.fault_proxy.toxics import ProxyOrder, ToxicOrder, describe
from brokerpool.simulator.fault_switches import FaultOrder, Faults
from brokerpool.simulator.orders import OrderBook

#: Larger steps are sent as several requests, so that none of them runs for minutes.
MAX_STEP = 1_000_000

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Step(msgspec.Struct, forbid_unknown_fields=True):
    ticks: Annotated[int, msgspec.Meta(ge=1, le=MAX_STEP)]


class Controlled(Protocol):
    """What is shown and steered: a simulated broker; see `SimulatedBroker` for what each does."""

    order_type: ClassVar[type[FaultOrder]]
    faults: Faults
    orders: OrderBook
    market: Market

    @property
    def proxy(self) -> FaultProxy | None: ...

    def sockets(self) -> list[dict[str, Any]]: ...
    def stats(self) -> dict[str, Any]: ...
    async def step(self, ticks: int) -> None: ...
    async def throw(self, order: FaultOrder) -> None: ...
    def kill(self, number: int) -> None: ...
    def close_socket(self, number: int) -> None: ...


def control_app(simulator: Controlled) -> web.Application:
    """Return the application that shows and steers the simulator."""
    control = _Control(simulator)
    app = web.Application(middlewares=[_refusing_strangers, _telling_errors])
    app.router.add_get("/sockets", control.sockets)
    app.router.add_get("/stats", control.stats)
    app.router.add_get("/orders", control.orders)
    app.router.add_get("/orders/accepted", control.accepted)
    app.router.add_get("/faults", control.faults)
    app.router.add_post("/faults", control.throw)
    app.router.add_post("/sockets/{number:[0-9]+}/kill", control.kill)
    app.router.add_post("/sockets/{number:[0-9]+}/close", control.close)
    app.router.add_post("/step", control.step)
    app.router.add_get("/toxics", control.toxics)
    app.router.add_post("/toxics", control.add_toxic)
    app.router.add_delete("/toxics/{name}", control.remove_toxic)
    app.router.add_post("/proxy", control.enable)
    return app


_APPROACH = RequestOrigin("127.0.0.1")


@web.middleware
async def _refusing_strangers(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        _APPROACH.check(request.headers)
    except AccessError as error:
        return web.json_response({"error": str(error)}, status=403)
    return await handler(request)


@web.middleware
async def _telling_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except LookupError as error:
        return web.json_response({"error": str(error.args[0])}, status=404)
    except ValueError as error:
        return web.json_response({"error": str(error)}, status=400)
    except OSError as error:
        return web.json_response({"error": f"the listener could not be opened: {error}"}, status=503)


class _Control:
    def __init__(self, simulator: Controlled) -> None:
        self._simulator = simulator

    async def sockets(self, request: web.Request) -> web.Response:
        return web.json_response(self._simulator.sockets())

    async def stats(self, request: web.Request) -> web.Response:
        return web.json_response(self._simulator.stats())

    async def orders(self, request: web.Request) -> web.Response:
        return web.json_response(self._simulator.orders.report())

    async def accepted(self, request: web.Request) -> web.Response:
        return web.json_response(self._simulator.orders.accepted())

    async def faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._simulator.faults.report())

    async def throw(self, request: web.Request) -> web.Response:
        await self._simulator.throw(self._simulator.order_type.parse(await request.read()))
        return web.json_response(self._simulator.faults.report())

    async def kill(self, request: web.Request) -> web.Response:
        self._simulator.kill(int(request.match_info["number"]))
        return web.json_response({})

    async def close(self, request: web.Request) -> web.Response:
        self._simulator.close_socket(int(request.match_info["number"]))
        return web.json_response({})

    async def step(self, request: web.Request) -> web.Response:
        try:
            order = msgspec.json.decode(await request.read(), type=_Step)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ValueError(f'{error}. Send {{"ticks": n}} with n from 1 to {MAX_STEP}.') from None
        await self._simulator.step(order.ticks)
        return web.json_response({"ticks": self._simulator.market.ticks})

    async def toxics(self, request: web.Request) -> web.Response:
        return web.json_response(self._proxy.toxics())

    async def add_toxic(self, request: web.Request) -> web.Response:
        name, toxic = ToxicOrder.parse(await request.read())
        self._proxy.add(name, toxic)
        return web.json_response(describe(name, toxic))

    async def remove_toxic(self, request: web.Request) -> web.Response:
        self._proxy.remove(request.match_info["name"])
        return web.json_response({})

    async def enable(self, request: web.Request) -> web.Response:
        order = ProxyOrder.parse(await request.read())
        await (self._proxy.up() if order.enabled else self._proxy.down())
        return web.json_response(self._proxy.report())

    @property
    def _proxy(self) -> FaultProxy:
        if self._simulator.proxy is None:
            raise LookupError("no fault proxy stands in front of the broker; start it with `--faults none`")
        return self._simulator.proxy
