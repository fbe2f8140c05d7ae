"""Every call below /api/v1 that no endpoint of the gateway answers: passed through, for keys that may."""

from __future__ import annotations

import asyncio
import math
from http import HTTPStatus

import starlette.responses
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from brokerpool.errors import BrokerpoolError
from brokerpool.gateway.orders import order_paths
from brokerpool.gateway.orders.api_key import KeyedBody, KeyedQuery
from brokerpool.gateway.orders.forwarding import OrderCarrier, Passage
from brokerpool.gateway.rest.failures import FaultyRequestError, faulty
from brokerpool.gateway.rest.market_data_access import address
from brokerpool.gateway.rest.request_authorization import Access
from brokerpool.gateway.rest.stream import json_response
from brokerpool.http.response import Response
from brokerpool.store.keys import Scope as KeyScope

#: Headers of the broker's answer that its client gets; the others are of the way between the two.
_PASSED_ON = ("Content-Type", "Retry-After", "Content-Disposition")


class OrderEndpoints:
    """An application for what the router knows no endpoint of; what cannot be a call goes `otherwise`.

    A client that is gone before its call has left takes it back; what has left is seen to its end, so that
    log and journal have its outcome.
    """

    def __init__(self, carrier: OrderCarrier, access: Access, otherwise: ASGIApp) -> None:
        self._carrier = carrier
        self._access = access
        self._otherwise = otherwise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _is_call(scope):
            await self._otherwise(scope, receive, send)
            return
        request = Request(scope, receive)
        call = order_paths.order_call(request.method, scope["path"])
        try:
            posted = request.method == "POST"
            content = KeyedBody(await request.body()) if posted else KeyedQuery(scope["query_string"])
        except FaultyRequestError as error:
            self._access.turn_away(address(request))
            response = json_response(faulty(error.fields), HTTPStatus.BAD_REQUEST)
        else:
            caller = self._access.admit(address(request), content.key, KeyScope.ORDERS)
            response = await self._answer(Passage(call, content, caller), receive)
        await response(scope, receive, send)

    async def _answer(self, passage: Passage, receive: Receive) -> starlette.responses.Response:
        try:
            answer = await self._carried(passage, receive)
        except BrokerpoolError as error:
            status, told = order_paths.answer(error, passage.call, passage.tag, passage.sent_at)
            wait = getattr(told, "retry_after", None)
            return json_response(told, status, {"Retry-After": str(wait)} if isinstance(wait, int) else None)
        if answer is None:
            return starlette.responses.Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE)  # read by nobody
        headers = {
            name: text for name in _PASSED_ON if (text := answer.headers.get(name, "")).isascii() and text
        }
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            headers.setdefault("Retry-After", str(max(1, math.ceil(self._carrier.held(passage.call)))))
        return starlette.responses.Response(answer.body, answer.status, headers)

    async def _carried(self, passage: Passage, receive: Receive) -> Response | None:
        """Return the broker's answer, None where the client was gone before the call had left."""
        carrying = asyncio.create_task(self._carrier.carry(passage), name=f"brokerpool {passage.tag}")
        leaving = asyncio.create_task(_gone(receive), name=f"brokerpool {passage.tag} client")
        try:
            await asyncio.wait((carrying, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not carrying.done() and not passage.sent_at:
                return None
            return await carrying
        finally:
            for task in (carrying, leaving):
                task.cancel()
            await asyncio.gather(carrying, leaving, return_exceptions=True)


def _is_call(scope: Scope) -> bool:
    return (
        scope["type"] == "http"
        and scope["method"] in ("GET", "POST")
        # A path that was sent in another spelling means what its reader makes of it.
        and scope.get("raw_path", b"").rstrip(b"/") == scope["path"].encode()
        and order_paths.well_formed(scope["path"])
    )


async def _gone(receive: Receive) -> None:
    """Return when the client is."""
    while (await receive())["type"] != "http.disconnect":
        pass
