"""Web pages of allowed origins: browsers are told so in every answer, and before a request (CORS)."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brokerpool.gateway.allowed_origins import RequestOrigin

_METHODS = "GET, HEAD, POST"
#: What a page may read besides the headers that every page may.
_EXPOSED = "Retry-After, ETag"
#: Seconds for which a browser need not ask again.
_MAX_AGE = "600"


class Cors:
    """Stands around the whole application, its failures included: a page must be able to read why.

    Which page may ask is decided by `RequestOrigin`, as for the WebSocket; of a page that may not, nothing is
    said here, and its requests are refused further in.
    """

    def __init__(self, app: ASGIApp, origin_rules: RequestOrigin) -> None:
        self._app = app
        self._origin_rules = origin_rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        origin = self._origin_rules.allowed_origin(asked)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Whatever the page: a cache must not give one the answer to another.
                headers.add_vary_header("Origin")
                if origin is not None:
                    headers.update(self._allowed(origin))
                    headers["Access-Control-Expose-Headers"] = _EXPOSED
            await send(message)

        asks_first = scope["method"] == "OPTIONS" and "access-control-request-method" in asked
        if origin is not None and asks_first:
            await _preflight(asked)(scope, receive, telling)
        else:
            await self._app(scope, receive, telling)

    def _allowed(self, origin: str) -> dict[str, str]:
        if self._origin_rules.only_as_everybody(origin):
            # It may ask with a key of its own, not with what the browser keeps for its user.
            return {"Access-Control-Allow-Origin": "*"}
        return {"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}


def _preflight(asked: Headers) -> Response:
    """Answer the question that a browser asks before a request with a key, a JSON body or the like."""
    headers = {
        "Access-Control-Allow-Methods": _METHODS,
        "Access-Control-Max-Age": _MAX_AGE,
        "Vary": "Access-Control-Request-Headers",
    }
    if names := asked.get("access-control-request-headers"):
        # Nothing here hangs on a header that a page may not send, so it may send what its libraries add.
        headers["Access-Control-Allow-Headers"] = names
    if "access-control-request-private-network" in asked:
        headers["Access-Control-Allow-Private-Network"] = "true"
    return Response(status_code=HTTPStatus.NO_CONTENT, headers=headers)
