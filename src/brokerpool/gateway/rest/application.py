"""The application: every endpoint, one shape for every failure, and what holds for all requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.gateway.allowed_origins import RequestOrigin
from brokerpool.gateway.rest import api_docs
from brokerpool.gateway.rest.bodies import Bodies
from brokerpool.gateway.rest.clients import ClientTold
from brokerpool.gateway.rest.failures import (
    Failure,
    FaultyRequestError,
    RequestRefusedError,
    failure,
    faults,
    faulty,
)
from brokerpool.gateway.rest.history import history
from brokerpool.gateway.rest.market_data_access import Market, address
from brokerpool.gateway.rest.operator_endpoints import operations
from brokerpool.gateway.rest.quotes import quotes
from brokerpool.gateway.rest.request_authorization import AccessMiddleware
from brokerpool.gateway.rest.stream import json_response
from brokerpool.gateway.rest.symbols import symbols
from brokerpool.untrusted_text import remembered

logger = logging.getLogger("brokerpool.gateway")

PREFIX = "/api/v1"
#: Its page is open, and what it shows asks for the key as the market data does.
DASHBOARD = "/dashboard"


def application(
    market: Market,
    stats: Callable[[], dict[str, Any]],
    journal: Journal,
    origin_rules: RequestOrigin,
    slowest: Callable[[], list[ClientTold]] = list,
) -> FastAPI:
    """Return the application that serves one broker account's market data; see `operations`."""
    app = FastAPI(title="brokerpool", openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    app.include_router(operations(stats, journal, slowest), tags=["operations"])
    for router in (quotes(market), history(market), symbols(market)):
        app.include_router(router, prefix=PREFIX, tags=["market data"])

    @app.get("/openapi.json", include_in_schema=False)
    async def _openapi() -> dict[str, Any]:
        return await asyncio.to_thread(api_docs.describe, app)

    @app.get("/docs", include_in_schema=False)
    async def _docs() -> HTMLResponse:
        return HTMLResponse(api_docs.page(await asyncio.to_thread(api_docs.describe, app)))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        return _turned_away(market, request, faults(error.errors()))

    @app.exception_handler(FaultyRequestError)
    async def _faulty(request: Request, error: FaultyRequestError) -> Response:
        return json_response(faulty(error.fields), HTTPStatus.BAD_REQUEST)

    @app.exception_handler(BrokerpoolError)
    async def _failed(request: Request, error: BrokerpoolError) -> Response:
        status, answer = failure(error)
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            logger.warning("%s is answered with %d: %s", request.url.path, status, error)
        return _failure(status, answer)

    @app.exception_handler(HTTPException)
    async def _elsewhere(request: Request, error: HTTPException) -> Response:
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # Neither JSON nor something that is nearly JSON: no text at all, or nested without an end.
            return _turned_away(market, request, {"body": ["cannot be read"]})
        text = f"{request.method} {remembered(request.url.path)} is not served."
        refused = RequestRefusedError(HTTPStatus(error.status_code), text, code=ErrorCode.UNKNOWN_ENDPOINT)
        headers = dict(error.headers or {})
        if "GET" in headers.get("Allow", "").split(", "):
            headers["Allow"] += ", HEAD"
        return _failure(*failure(refused), headers)

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> Response:
        # The text of the exception goes to the log only.
        text = f"{request.url.path} failed with {type(error).__name__}."
        refused = RequestRefusedError(HTTPStatus.INTERNAL_SERVER_ERROR, text, code=ErrorCode.GATEWAY_FAULT)
        return _failure(*failure(refused))

    app.add_middleware(_Threshold)
    app.add_middleware(Bodies, access=market.access, keyed=PREFIX)
    app.add_middleware(
        AccessMiddleware, access=market.access, origin_rules=origin_rules, keyed=(PREFIX, DASHBOARD)
    )
    return app


class _Threshold:
    """What holds for every request: a slash at the end is optional, HEAD is as GET."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        if path.startswith(PREFIX) and path.endswith("/"):
            scope = {**scope, "path": path.rstrip("/")}
        if scope["method"] == "HEAD":
            scope, send = {**scope, "method": "GET"}, _only_head(send)
        await self._app(scope, receive, send)


def _only_head(send: Send) -> Send:
    """Return what sends the head of an answer and ends it there: its body is not even made to its end.

    The server then says that the client is gone, which ends a stream.
    """

    async def only_head(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body"})

    return only_head


def _turned_away(market: Market, request: Request, fields: dict[str, list[str]]) -> Response:
    try:
        market.access.turn_away(address(request))
    except RequestRefusedError as refused:
        return _failure(*failure(refused))
    return json_response(faulty(fields), HTTPStatus.BAD_REQUEST)


def _failure(status: int, answer: Failure, headers: Mapping[str, str] | None = None) -> Response:
    told = dict(headers or {})
    if isinstance(answer.retry_after, int):
        told["Retry-After"] = str(answer.retry_after)
    return json_response(answer, status, told)
