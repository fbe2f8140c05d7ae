"""Bodies of requests: of a bounded size, and a large one is looked at only once its key is known."""

from __future__ import annotations

from http import HTTPStatus

import msgspec
from msgspec import UNSET, UnsetType
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from brokerpool.errors import AccessError, BrokerpoolError, ErrorCode
from brokerpool.gateway.rest.failures import FaultyRequestError, RequestRefusedError, failure, faulty
from brokerpool.gateway.rest.request_authorization import Access
from brokerpool.gateway.rest.stream import json_response
from brokerpool.store.keys import Scope as KeyScope

#: About 5,000 symbols of `multiquotes`; reading more would hold up the ticks.
MAX_BODY_BYTES = 256 * 1024
#: What asks for one symbol is smaller. What is larger takes milliseconds to check, and its faults are many.
SMALL_BODY_BYTES = 4 * 1024


class _Keyed(msgspec.Struct):
    apikey: str | UnsetType = UNSET


class Bodies:
    """Reads the body of each request before anything of it is understood, and hands it on whole.

    One of more than MAX_BODY_BYTES is answered with 413. One of more than SMALL_BODY_BYTES for a path that
    takes a key is searched for that key alone, and answered without a look at the rest when it is wrong.
    """

    def __init__(self, app: ASGIApp, access: Access, keyed: str) -> None:
        """`keyed` is what the paths begin with that take a key in the body."""
        self._app = app
        self._access = access
        self._keyed = keyed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        body, more = bytearray(), True  # no list: a body may come in a quarter of a million pieces
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                text = f"The body has more than {MAX_BODY_BYTES} bytes."
                refused = RequestRefusedError(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text, code=ErrorCode.REQUEST_TOO_LARGE
                )
                status, answer = failure(refused)
                await json_response(answer, status)(scope, receive, send)
                return
        if len(body) > SMALL_BODY_BYTES and scope["path"].startswith(self._keyed):
            try:
                self._recognise(scope["client"][0] if scope.get("client") else "nowhere", body)
            except FaultyRequestError as error:
                await json_response(faulty(error.fields), HTTPStatus.BAD_REQUEST)(scope, receive, send)
                return
            except BrokerpoolError as error:
                status, answer = failure(error)
                told = {"Retry-After": str(wait)} if isinstance(wait := answer.retry_after, int) else {}
                await json_response(answer, status, told)(scope, receive, send)
                return
        unread = [bytes(body)]

        async def replayed() -> Message:
            return {"type": "http.request", "body": unread.pop()} if unread else await receive()

        await self._app(scope, replayed, send)

    def _recognise(self, address: str, body: bytearray) -> None:
        try:
            key = msgspec.json.decode(body, type=_Keyed).apikey
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._access.turn_away(address)
            raise FaultyRequestError(body="cannot be read") from None
        if key is UNSET:
            self._access.turn_away(address)
            raise FaultyRequestError(apikey="Field required")
        try:
            self._access.recognise(address, key)
        except AccessError as error:
            if error.code is not ErrorCode.SCOPE_MISSING:
                raise
            self._access.recognise(address, key, KeyScope.ORDERS)  # a basket may be large too
