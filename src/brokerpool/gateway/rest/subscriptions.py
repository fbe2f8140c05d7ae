"""GET /subscriptions: what every client holds just now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from brokerpool.feed.demand import Demand
from brokerpool.gateway.clients import client_name, client_number
from brokerpool.gateway.rest.stream import rows_response


class SubscriptionTold(msgspec.Struct):
    """One symbol of one client, by the number that it has in the log; 0 for what is held for nobody yet."""

    client: int
    symbol: str
    exchange: str
    modes: list[str]


def subscriptions(demand: Demand) -> APIRouter:
    """Return the endpoint /subscriptions, which the guard keeps for the operator."""
    router = APIRouter(tags=["operations"])
    good = {"application/json": {"schema": {"type": "object", "required": ["status", "subscriptions"]}}}
    responses: dict[int | str, dict[str, Any]] = {200: {"content": good}}

    @router.get("/subscriptions", response_class=Response, responses=responses)
    async def _subscriptions(client: int | None = None) -> Response:
        """What clients hold, each in the order in which it came; of one client with its number."""
        owners = demand.holders() if client is None else (client_name(client),)
        count = sum(map(demand.count, owners))
        return await rows_response(b'{"status":"success","subscriptions":', _told(demand, owners), count)

    return router


def _told(demand: Demand, owners: Iterable[str]) -> Iterator[SubscriptionTold]:
    """Yield what is held when its turn comes: between two slices clients come, change and go."""
    for owner in owners:
        number = client_number(owner)
        for instrument in demand.instruments(owner):
            modes = [mode.label for mode in sorted(demand.held(owner, instrument))]
            if modes:
                yield SubscriptionTold(number, instrument.symbol, instrument.exchange, modes)
