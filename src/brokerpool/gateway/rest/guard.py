"""Stands before every endpoint: the right host, no stranger's web page, and the operator's part shut."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from brokerpool.errors import AccessError, BrokerpoolError, ErrorCode
from brokerpool.gateway.request_origin import RequestOrigin
from brokerpool.gateway.rest.access import Access
from brokerpool.gateway.rest.failures import failure
from brokerpool.gateway.rest.stream import json_response
from brokerpool.store import keys

#: Signs of life and the description of the endpoints show nothing of the account.
_OPEN = ("/health", "/docs", "/openapi.json")
#: What a Prometheus may have that may have nothing else.
_METRICS = "/metrics"


class Guard:
    """Lets requests through to the application whose way is the right one.

    What is neither below `keyed`, where each endpoint asks for the key itself, nor open to everybody is the
    operator's: it takes a key with the scope "admin", for /metrics also "metrics", unless the listener serves
    this machine only and the request began on it.
    """

    def __init__(self, app: ASGIApp, door: Access, approach: RequestOrigin, keyed: Sequence[str]) -> None:
        self._app = app
        self._door = door
        self._approach = approach
        self._keyed = keyed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        came = self._approach.came(peer, headers)
        try:
            self._approach.check(headers)
            if not came.here and not self._is_for_all(scope["path"]):
                needed = keys.Scope.METRICS if scope["path"] == _METRICS else keys.Scope.ADMIN
                self._door.admit_operator(came.address, headers, needed)
        except BrokerpoolError as error:
            status, answer = failure(error)
            more: dict[str, str] = {}
            if isinstance(answer.retry_after, int):
                more["Retry-After"] = str(answer.retry_after)
            if _asks_for_key(error):
                # So that a browser asks for it; programs send X-API-KEY.
                status, more["WWW-Authenticate"] = HTTPStatus.UNAUTHORIZED, 'Basic realm="brokerpool"'
            await json_response(answer, status, more)(scope, receive, send)
            return
        await self._app({**scope, "client": (came.address, 0)}, receive, send)

    def _is_for_all(self, path: str) -> bool:
        return any(path == way or path.startswith(f"{way}/") for way in (*self._keyed, *_OPEN))


def _asks_for_key(error: BrokerpoolError) -> bool:
    return isinstance(error, AccessError) and error.code is ErrorCode.AUTHENTICATION_ERROR
