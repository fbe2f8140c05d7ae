"""For the operator: statistics, metrics and the journal."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from brokerpool.event_journal import Journal
from brokerpool.gateway.rest.clients import ClientTold
from brokerpool.gateway.rest.stream import sliced
from brokerpool.monitor.prometheus_text import CONTENT_TYPE, Exposition


def operations(
    stats: Callable[[], dict[str, Any]],
    journal: Journal,
    slowest: Callable[[], list[ClientTold]] = list,
) -> APIRouter:
    """Return the endpoints /stats, /metrics and /journal, which the guard keeps for the operator.

    `slowest` gives those clients that keep up worst, for people: they are no metric.
    """
    router = APIRouter()
    exposition = Exposition()

    @router.get("/stats")
    async def _stats() -> dict[str, Any]:
        """The numbers of `get_pool_stats()` and of the gateway."""
        told = stats()
        if "gateway" in told:  # a feed node has no clients
            told["gateway"]["slowest_clients"] = msgspec.to_builtins(slowest())
        return told

    text = {"text/plain": {"schema": {"type": "string"}}}

    @router.get("/metrics", response_class=Response, responses={200: {"content": text}})
    async def _metrics() -> Response:
        """The same numbers in the text format of Prometheus."""
        # Numbers of one moment, written down a piece at a time: the ticks of all clients pass in between.
        await asyncio.sleep(0)
        pieces = exposition.pieces(stats())
        await asyncio.sleep(0)
        text = b"".join([b"".join(few) async for few in sliced(pieces, 1)])
        return Response(text, media_type=CONTENT_TYPE)

    @router.get("/journal")
    async def _journal(after: int = 0) -> dict[str, list[dict[str, Any]]]:
        """What happened to the connections, oldest first: the entries with a number above `after`."""
        entries = [{**entry._asdict(), "event": entry.event.value} for entry in journal.entries(after)]
        return {"entries": entries}

    return router
