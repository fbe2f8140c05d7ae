"""How a gateway's statistics look on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table


def statistics(stats: Mapping[str, Any]) -> Group:
    """Return what `/stats` says: a row for each broker connection, then a line for pool and clients."""
    table = Table("connection", "state", "symbols", "ticks", "last tick", "dials", "refusals", "last fault")
    for connection in stats["websocket"]["per_connection"]:
        age = connection["last_tick_age_seconds"]
        table.add_row(
            connection["name"],
            connection["state"],
            str(connection["symbols"]),
            str(connection["ticks"]),
            "none yet" if age is None else f"{age:.1f} s ago",
            str(connection["dials"]),
            str(connection["refusals"]),
            connection["last_fault"],
        )
    return Group(table, pool_line(stats), clients_line(stats))


def pool_line(stats: Mapping[str, Any]) -> str:
    """Return how full the pool is, as a sentence."""
    pool = stats["websocket"]
    return (
        f"{pool['connections']} of at most {pool['max_connections']} connections"
        f" carry {pool['total_symbols']} symbols, {pool['capacity_used']:.1%} of the pool's capacity."
    )


def clients_line(stats: Mapping[str, Any]) -> str:
    """Return what the clients got, as a sentence."""
    gateway = stats["gateway"]
    return (
        f"{gateway['frames_delivered']} frames went to clients and {gateway['frames_conflated']} gave way"
        f" to newer ones; {gateway['clients']} clients are connected, {gateway['slow_clients']} of them slow."
    )
