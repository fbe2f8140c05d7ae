"""Signs of life for supervisors: whether the process turns, whether demand is served, and what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from brokerpool.gateway.rest.stream import json_response
from brokerpool.monitor.health_timing import Verdict


class ReasonTold(msgspec.Struct, omit_defaults=True):
    """One thing that is wrong."""

    #: One of `monitor.conditions.Code`.
    code: str
    text: str
    #: What to do about it.
    action: str
    #: Epoch seconds since when it holds.
    since: float
    #: The account that it is about; left out where there is one only, and for the gateway as a whole.
    account: str = ""


class HealthAnswer(msgspec.Struct):
    """`status` is ok, degraded or down."""

    status: str
    reasons: list[ReasonTold]


class ReadyAnswer(msgspec.Struct):
    """`status` is ready or "not ready"."""

    status: str
    reasons: list[ReasonTold]


_OBJECT = {"application/json": {"schema": {"type": "object", "required": ["status", "reasons"]}}}


def health(verdict: Callable[[], Verdict]) -> APIRouter:
    """Return the endpoints /health, /health/live and /health/ready, which need no key."""
    router = APIRouter(tags=["operations"])

    @router.get("/health", response_class=Response, responses={200: {"content": _OBJECT}})
    async def _health() -> Response:
        """The whole in one word, and what is wrong."""
        found = verdict()
        return json_response(HealthAnswer(found.status.value, told(found)))

    @router.get("/health/live")
    async def _live() -> dict[str, str]:
        """Answers as long as the event loop turns."""
        return {"status": "live"}

    not_ready = {"description": "Something that is wanted is not served.", "content": _OBJECT}

    @router.get(
        "/health/ready",
        response_class=Response,
        responses={200: {"content": _OBJECT}, 503: not_ready},
    )
    async def _ready() -> Response:
        """200 while everything that is wanted is served, else 503 with what is wrong."""
        found = verdict()
        if found.ready:
            return json_response(ReadyAnswer("ready", told(found)))
        return json_response(ReadyAnswer("not ready", told(found)), HTTPStatus.SERVICE_UNAVAILABLE)

    return router


def told(verdict: Verdict) -> list[ReasonTold]:
    """Return what is wrong, as `/health` and the dashboard say it."""
    return [ReasonTold(r.code.value, r.text, r.action, round(r.since, 3), r.account) for r in verdict.reasons]
