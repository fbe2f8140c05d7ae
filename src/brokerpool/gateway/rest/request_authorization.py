"""Who may ask, and how often: a key that allows it, and a moving window for each address."""

from __future__ import annotations

import base64
import math
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as HttpScope

from brokerpool.errors import AccessError, BrokerpoolError, ErrorCode
from brokerpool.gateway.allowed_origins import RequestOrigin
from brokerpool.gateway.gatekeeper import Caller, Gatekeeper
from brokerpool.gateway.rest.failures import RequestRefusedError, failure
from brokerpool.gateway.rest.stream import json_response
from brokerpool.http.recent_sum import SlidingSum
from brokerpool.store.keys import Scope

#: Addresses whose requests are remembered; the one that was silent longest is forgotten first.
MAX_ADDRESSES = 10_000


class Access:
    """Lets requests with a key in that allows them, at most so many of each address in any window.

    Requests that are turned away count by themselves: however many wrong keys an address tries, they take
    nothing from those of its programs that have a right one.
    """

    def __init__(self, gatekeeper: Gatekeeper, most: int, seconds: float, clock: Callable[[], float]) -> None:
        self._gatekeeper = gatekeeper
        self._most = most
        self._seconds = seconds
        self._clock = clock
        self._visits: OrderedDict[tuple[str, bool], SlidingSum] = OrderedDict()

    def admit(self, address: str, key: str, scope: Scope = Scope.DATA) -> Caller:
        """Return who asks, for a request that may be answered.

        Raises AccessError for a key that is wrong, does not allow this, or has had its share, and
        RequestRefusedError (429) for one request of the address too many.
        """
        caller = self.recognise(address, key, scope)
        self._count(address, known=True)
        self._gatekeeper.spend(caller)
        return caller

    def holds(self, caller: Caller) -> bool:
        """Tell whether what was admitted may go on: the key has not been revoked since."""
        return self._gatekeeper.holds(caller)

    def recognise(self, address: str, key: str, scope: Scope = Scope.DATA) -> Caller:
        """Return whose key it is, without counting a request with a right one. Raises as `admit` does."""
        try:
            return self._gatekeeper.admit(address, key, scope)
        except AccessError as error:
            if error.code is ErrorCode.AUTHENTICATION_ERROR:
                self.turn_away(address)
            raise

    def admit_operator(self, address: str, headers: Mapping[str, str], scope: Scope = Scope.ADMIN) -> None:
        """Return for a request that may see what is the operator's: its key, in a header, has the scope.

        Raises as `admit` does, and AccessError with AUTHENTICATION_ERROR where there is no key.
        """
        key = _key(headers)
        if key is None:
            self.turn_away(address)
            raise AccessError("No API key was sent.", code=ErrorCode.AUTHENTICATION_ERROR)
        self.admit(address, key, scope)

    def turn_away(self, address: str) -> None:
        """Count a request that is not answered. Raises RequestRefusedError (429) for one too many."""
        self._count(address, known=False)

    def _count(self, address: str, *, known: bool) -> None:
        now = self._clock()
        visits = self._visits.get((address, known))
        if visits is None:
            visits = self._visits[address, known] = SlidingSum(self._seconds)
            if len(self._visits) > MAX_ADDRESSES:
                self._visits.popitem(last=False)
        self._visits.move_to_end((address, known))
        if visits.total(now) >= self._most:
            raise RequestRefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"{self._most} requests came from {address} within {self._seconds:g} s.",
                code=ErrorCode.API_RATE_LIMIT_REACHED,
                retry_after=max(1, math.ceil(visits.frees(1, now))),
            )
        visits.add(1, now)


def _key(headers: Mapping[str, str]) -> str | None:
    """Return the key of X-API-KEY, of a bearer, or the password that a browser asked its user for."""
    if "x-api-key" in headers:
        return headers["x-api-key"]
    kind, _, value = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""


#: Signs of life and the description of the endpoints show nothing of the account.
_OPEN = ("/health", "/docs", "/openapi.json")
#: What a Prometheus may have that may have nothing else.
_METRICS = "/metrics"


class AccessMiddleware:
    """Lets requests through to the application whose way is the right one.

    What is neither below `keyed`, where each endpoint asks for the key itself, nor open to everybody is the
    operator's: it takes a key with the scope "admin", for /metrics also "metrics", unless the listener serves
    this machine only and the request began on it.
    """

    def __init__(
        self, app: ASGIApp, access: Access, origin_rules: RequestOrigin, keyed: Sequence[str]
    ) -> None:
        self._app = app
        self._access = access
        self._origin_rules = origin_rules
        self._keyed = keyed

    async def __call__(self, scope: HttpScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        peer = scope["client"][0] if scope.get("client") else ""
        came = self._origin_rules.came(peer, headers)
        try:
            self._origin_rules.check(headers)
            if not came.here and not self._is_for_all(scope["path"]):
                needed = Scope.METRICS if scope["path"] == _METRICS else Scope.ADMIN
                self._access.admit_operator(came.address, headers, needed)
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
