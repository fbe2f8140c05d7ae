"""The paths of the dashboard, and who may use them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus

import msgspec
from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from brokerpool.errors import AccessError, ErrorCode
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.dashboard.broadcast import Broadcast, Stream
from brokerpool.gateway.dashboard.pages import SECURITY_HEADERS, Pages
from brokerpool.gateway.dashboard.snapshot import explained
from brokerpool.gateway.gatekeeper import Caller
from brokerpool.gateway.rest.failures import RequestRefusedError
from brokerpool.gateway.rest.market_data_access import address
from brokerpool.gateway.rest.request_authorization import Access
from brokerpool.instruments import Instrument
from brokerpool.store.keys import Scope

logger = logging.getLogger("brokerpool.gateway")

#: Symbols that a search suggests.
SUGGESTED = 20
_MOST_LETTERS = 100
_BEARER = "bearer "
_LIVE_HEADERS = {**SECURITY_HEADERS, "Cache-Control": "no-store"}

_encode = msgspec.json.Encoder().encode


def admit_operator(access: Access, request: Request) -> Caller:
    """Let an operator in, whose key has the scope "admin": who sees everything and may move connections.

    The key comes in the header `Authorization: Bearer ...`, which no form and no link of another site can
    send. Raises AccessError, and RequestRefusedError (429).
    """
    header = request.headers.get("authorization", "")
    key = header[len(_BEARER) :].strip() if header[: len(_BEARER)].lower() == _BEARER else ""
    if not key:
        access.turn_away(address(request))
        raise AccessError("No API key was sent.", code=ErrorCode.AUTHENTICATION_ERROR)
    return access.admit(address(request), key, Scope.ADMIN)


def dashboard(upstream: Upstream, broadcast: Broadcast, access: Access) -> APIRouter:
    """Return the page at `/dashboard`, and below it its files, its stream and the operator's orders."""
    router = APIRouter(prefix="/dashboard", include_in_schema=False)
    pages = Pages()
    orders: dict[str, Callable[[str], int]] = {"rotate": upstream.rotate, "drain": upstream.drain}

    @router.get("")
    async def _page(request: Request) -> Response:
        return file("index.html", request)

    @router.get("/static/{name:path}")
    async def _file(name: str, request: Request) -> Response:
        return file(name, request)

    @router.get("/stream")
    async def _stream(request: Request) -> Response:
        caller = admit_operator(access, request)
        who = f'with the key "{caller.name}" at {address(request)}'
        return Stream(broadcast, _LIVE_HEADERS, lambda: access.holds(caller), who)

    @router.get("/symbols")
    async def _search(request: Request, q: str = "") -> Response:
        admit_operator(access, request)
        text = q.strip()[:_MOST_LETTERS]
        found = upstream.inspection.search(text, SUGGESTED) if text else []
        return live({"symbols": [str(instrument) for instrument in found]})

    @router.get("/symbols/{name:path}")
    async def _symbol(name: str, request: Request) -> Response:
        admit_operator(access, request)
        try:
            found = await upstream.inspection.explained(Instrument.parse(name))
        except ValueError:
            found = None
        if found is None or found.state is None:
            raise RequestRefusedError(
                HTTPStatus.NOT_FOUND, "Nobody wants a symbol of this name.", code=ErrorCode.SYMBOL_NOT_FOUND
            )
        return live(explained(found))

    @router.post("/connections/{name}/{order}")
    async def _order(name: str, order: str, request: Request) -> Response:
        caller = admit_operator(access, request)
        if order not in orders:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        symbols = orders[order](name)
        who = (caller.name, address(request))
        logger.info('%s: %s ordered by the operator with the key "%s" from %s', name, order, *who)
        return live({"status": "success", "symbols": symbols})

    def file(name: str, request: Request) -> Response:
        answer = pages.answer(name, request.headers.get("if-none-match", ""))
        if answer is None:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return answer

    def live(answer: object) -> Response:
        return Response(_encode(answer), headers=_LIVE_HEADERS, media_type="application/json")

    return router
