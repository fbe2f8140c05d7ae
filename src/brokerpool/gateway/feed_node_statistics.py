"""The numbers of a feed node's broker connections, of all accounts that it holds as of one; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from brokerpool.gateway.summed_statistics import summed

#: Of a node that holds nothing: it is there for others.
_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("connections", "total_symbols", "capacity_used"), 0),
    **dict.fromkeys(("max_connections", "allowed_connections", "max_symbols_per_connection"), 0),
    **dict.fromkeys(("symbols_down", "symbols_degraded", "symbols_mute", "gaps_open", "gaps_total"), 0),
    "faults": {},
    "accounts": [],
    "per_connection": [],
}


def held_connections(each: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what `/stats` says under `websocket`, of what each account's upstream says there."""
    found = summed([_NOTHING, *each])
    places = sum(account["capacity"] for account in found["accounts"])
    return {**found, "capacity_used": found["total_symbols"] / places if places else 0}
