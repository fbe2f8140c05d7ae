"""Which requests are answered when many come: so many at the same time, and signs of life always."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brokerpool.errors import ErrorCode
from brokerpool.gateway.connection_slots import ConnectionSlots
from brokerpool.gateway.rest.failures import RequestRefusedError, failure
from brokerpool.gateway.rest.http_connection import BODY_SECONDS, Connection
from brokerpool.gateway.rest.stream import json_response

#: Where the state of a request has its connection.
CONNECTION = "brokerpool.connection"

_REFUSED = RequestRefusedError(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "As many requests are being answered as BROKERPOOL_MAX_CLIENTS allows.",
    code=ErrorCode.GATEWAY_BUSY,
    retry_after=1,
)


class Admission:
    """Tells a request's connection whose turn it is, and refuses with 503 what is beyond the slots."""

    def __init__(self, app: ASGIApp, slots: ConnectionSlots[Connection]) -> None:
        self._app = app
        self._slots = slots

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope["state"][CONNECTION]
        deadline = asyncio.get_running_loop().time() + BODY_SECONDS
        whole = False

        async def timely() -> Message:
            nonlocal whole
            if whole:  # what is asked for then is whether the client is still there
                return await receive()
            with connection.reading(deadline):
                message = await receive()
            whole = not message.get("more_body", False)
            return message

        with connection.request():
            if self._slots.full and not _asks_for_life(scope["path"]):
                status, answer = failure(_REFUSED)
                headers = {"Retry-After": str(answer.retry_after)}
                await json_response(answer, status, headers)(scope, receive, send)
            else:
                await self._app(scope, timely, send)


def _asks_for_life(path: str) -> bool:
    return path == "/health" or path.startswith("/health/")
