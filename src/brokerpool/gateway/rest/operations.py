"""For the operator: statistics, the journal and a sign of life."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

from brokerpool.monitor.journal import Journal


def operations(stats: Callable[[], dict[str, Any]], journal: Journal) -> APIRouter:
    """Return the endpoints /stats and /journal, which the guard keeps for the operator, and /health/live."""
    router = APIRouter()

    @router.get("/stats")
    async def _stats() -> dict[str, Any]:
        """The numbers of `get_pool_stats()` and of the gateway."""
        return stats()

    @router.get("/journal")
    async def _journal(after: int = 0) -> dict[str, list[dict[str, Any]]]:
        """What happened to the connections, oldest first: the entries with a number above `after`."""
        entries = [{**entry._asdict(), "event": entry.event.value} for entry in journal.entries(after)]
        return {"entries": entries}

    @router.get("/health/live")
    async def _live() -> dict[str, str]:
        """Answers as long as the event loop turns."""
        return {"status": "live"}

    return router
