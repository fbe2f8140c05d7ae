"""GET /explain: what the gateway knows of one symbol, and why it is not served."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import APIRouter
from starlette.responses import Response

from brokerpool.errors import ErrorCode
from brokerpool.feed.symbol_explanation import Explanation, Owner
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.clients import Clients, client_number
from brokerpool.gateway.rest.failures import RequestRefusedError
from brokerpool.gateway.rest.market_data_access import unknown
from brokerpool.gateway.rest.stream import json_response
from brokerpool.instruments import Instrument


class OwnerTold(msgspec.Struct):
    """One client, by the number that it has in the log, and who that is; 0 and empty for no client."""

    client: int
    modes: list[str]
    key: str
    address: str
    user_agent: str
    #: Epoch milliseconds at which it authenticated, null for no client.
    since_ms: int | None


class CarrierTold(msgspec.Struct):
    """One connection that is to carry the symbol; `role` is home or hosted."""

    name: str
    role: str
    state: str
    symbol_state: str
    last_fault: str


class GapTold(msgspec.Struct, rename={"from_ms": "from"}):
    """An open hole in the data; `from` is in epoch milliseconds."""

    from_ms: int
    reason: str
    filled: bool


class DeepBookTold(msgspec.Struct):
    """How the symbol's deeper order book stands, which has connections of its own."""

    levels: int
    state: str
    why: str
    connections: list[CarrierTold]
    last_tick_age_seconds: float | None
    gap: GapTold | None


class ExplainAnswer(msgspec.Struct):
    """What is known of one symbol; times in seconds, null where nothing is known."""

    instrument: str
    state: str
    why: str
    owners: list[OwnerTold]
    mode: str | None
    priority: int
    connections: list[CarrierTold]
    last_tick_age_seconds: float | None
    usual_pause_seconds: float
    gap: GapTold | None
    #: The account that serves it now, empty when none does.
    account: str
    #: Where there are several accounts: which of them carries it and why; it is a part of `why`.
    route: str
    #: Where there is a feed of deeper books that has the symbol.
    deep_book: DeepBookTold | None


def explanations(upstream: Upstream, deep_feed: Upstream | None, clients: Clients) -> APIRouter:
    """Return the endpoint /explain/{name}, which the guard keeps for the operator."""
    router = APIRouter(tags=["operations"])
    good = {"application/json": {"schema": {"type": "object", "required": ["instrument", "state", "why"]}}}
    bad = {"application/json": {"schema": {"type": "object", "required": ["status", "message", "code"]}}}
    responses: dict[int | str, dict[str, Any]] = {
        200: {"content": good},
        400: {"description": "The name is not EXCHANGE:SYMBOL.", "content": bad},
        404: {"description": "The broker lists no such symbol.", "content": bad},
    }

    @router.get("/explain/{name:path}", response_class=Response, responses=responses)
    async def _explain(name: str) -> Response:
        """Who wants a symbol, which connection carries it, and why it is not served."""
        try:
            instrument = Instrument.parse(name)
        except ValueError as error:
            code = ErrorCode.INVALID_PARAMETERS
            raise RequestRefusedError(HTTPStatus.BAD_REQUEST, f"{error}.", code=code) from None
        found = await upstream.inspection.explained(instrument)
        if not found.listed and found.state is None:
            raise unknown(instrument, HTTPStatus.NOT_FOUND)
        return json_response(_told(found, clients, await _deep_book(deep_feed, instrument)))

    return router


async def _deep_book(feed: Upstream | None, instrument: Instrument) -> DeepBookTold | None:
    if feed is None or feed.book.token(instrument) is None:
        return None
    found = await feed.inspection.explained(instrument)
    return DeepBookTold(
        feed.depth_levels,
        _state(found),
        found.why,
        _carriers(found),
        _age(found),
        _gap(found),
    )


def _told(found: Explanation, clients: Clients, deep_book: DeepBookTold | None) -> ExplainAnswer:
    return ExplainAnswer(
        str(found.instrument),
        _state(found),
        found.why,
        [_owner_told(owner, clients) for owner in found.owners],
        found.mode.label if found.mode else None,
        found.priority,
        _carriers(found),
        _age(found),
        round(found.usual_pause, 3),
        _gap(found),
        found.account,
        found.route,
        deep_book,
    )


def _state(found: Explanation) -> str:
    return found.state.value if found.state else "not wanted"


def _carriers(found: Explanation) -> list[CarrierTold]:
    return [
        CarrierTold(c.name, c.role, c.connection.value, c.symbol.value, c.last_fault) for c in found.carriers
    ]


def _age(found: Explanation) -> float | None:
    return None if found.last_tick_age is None else round(found.last_tick_age, 3)


def _gap(found: Explanation) -> GapTold | None:
    return None if found.gap is None else GapTold(found.gap.from_ms, found.gap.reason, found.gap.filled)


def _owner_told(owner: Owner, clients: Clients) -> OwnerTold:
    number, modes = client_number(owner.name), [mode.label for mode in owner.modes]
    client = clients.get(number)
    if client is None:
        return OwnerTold(number, modes, "", "", "", None)
    return OwnerTold(number, modes, client.key, client.address, client.user_agent, client.since_ms)
