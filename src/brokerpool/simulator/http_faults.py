"""What every HTTP request meets at the simulated broker: it is counted, delayed, refused or broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

from brokerpool.simulator.fault_switches import Faults, Refuse
from brokerpool.simulator.http_listener import break_off
from brokerpool.simulator.traffic_ledger import Ledger

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class HttpFaults:
    """Stands in front of a broker's endpoints; `failure` makes an error of status, text and Retry-After."""

    def __init__(
        self, faults: Faults, ledger: Ledger, failure: Callable[[int, str, int | None], web.Response]
    ) -> None:
        self._faults = faults
        self._ledger = ledger
        self._failure = failure

    @web.middleware
    async def middleware(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Count the request, and let it meet the faults that are on."""
        resource = request.match_info.route.resource
        endpoint = resource.canonical if resource else "unknown"
        self._ledger.http_requests[
            endpoint if request.method == "GET" else f"{request.method} {endpoint}"
        ] += 1
        if self._faults.latency_ms:
            await asyncio.sleep(self._faults.latency_ms / 1000.0)
        answer = await self._met(request, handler)
        self._ledger.http_answers[answer.status] += 1
        broken = self._faults.broken_answer(request.method, request.path)
        if broken is not None:
            self._ledger.http_broken += 1
            return await break_off(broken, request, answer)
        return answer

    async def _met(self, request: web.Request, handler: _Handler) -> web.Response:
        if self._faults.down:
            return self._failure(503, "The simulated broker is down.", None)
        refuse = self._faults.http_refusal(request.method, request.path)
        if refuse is None:
            return await self._answered(request, handler)
        if refuse.carried_out:
            await self._answered(request, handler)
        return self._refused(refuse)

    async def _answered(self, request: web.Request, handler: _Handler) -> web.Response:
        try:
            answer = await handler(request)
        except web.HTTPException as error:
            # No such route, or not with this method, or a body that is too long.
            return self._failure(error.status, error.reason, None)
        assert isinstance(answer, web.Response)
        return answer

    def _refused(self, refuse: Refuse) -> web.Response:
        if refuse.text is not None:
            answer = web.Response(status=refuse.status, text=refuse.text)
        else:
            answer = self._failure(refuse.status, "Refused on command.", refuse.retry_after)
        if refuse.retry_after is not None:
            answer.headers["Retry-After"] = str(refuse.retry_after)
        return answer
