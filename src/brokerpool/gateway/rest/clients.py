"""GET /clients: who is connected, whose key each has shown, from where, since when, and how it keeps up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from brokerpool.gateway.clients import Client, Clients
from brokerpool.gateway.fanout import Fanout
from brokerpool.gateway.rest.stream import rows_response
from brokerpool.gateway.slow_clients import Standing


class ClientTold(msgspec.Struct):
    """One client that has authenticated."""

    #: Its number: 7 is `client-7` in the log.
    client: int
    #: The name of its key, never the key.
    key: str
    address: str
    user_agent: str
    #: Epoch milliseconds at which it authenticated.
    since_ms: int
    #: Symbols times modes.
    subscriptions: int
    #: For how long nothing has been written to it, because it does not read; 0 while it keeps up.
    behind_seconds: float
    delivered: int
    conflated: int


def clients(known: Clients, fanout: Fanout) -> APIRouter:
    """Return the endpoint /clients, which the guard keeps for the operator."""
    router = APIRouter(tags=["operations"])
    good = {"application/json": {"schema": {"type": "object", "required": ["status", "clients"]}}}
    responses: dict[int | str, dict[str, Any]] = {200: {"content": good}}

    @router.get("/clients", response_class=Response, responses=responses)
    async def _clients(client: int | None = None) -> Response:
        """Every client that is connected, or the one with this number."""
        standings = fanout.slow_clients.standings(None if client is None else {client})
        return await rows_response(
            b'{"status":"success","clients":', clients_told(standings, known.get), len(known)
        )

    return router


def clients_told(standings: Iterable[Standing], who: Callable[[int], Client | None]) -> Iterator[ClientTold]:
    """Yield who each is and how it keeps up; one that is gone meanwhile is left out."""
    for s in standings:
        if (client := who(s.number)) is not None:
            behind = round(s.behind_seconds, 3)
            yield ClientTold(
                client.number,
                client.key,
                client.address,
                client.user_agent,
                client.since_ms,
                s.subscriptions,
                behind,
                s.delivered,
                s.conflated,
            )
