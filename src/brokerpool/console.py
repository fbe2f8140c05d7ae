"""How a gateway's statistics look on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.table import Table


def statistics(stats: Mapping[str, Any]) -> Group:
    """Return what `/stats` says: a row for each broker connection, their last faults, pool and clients."""
    connections = stats["websocket"]["per_connection"]
    table = uncut_table("connection", "state", "symbols", "ticks", "last tick", "dials", "refusals")
    for connection in connections:
        age = connection["last_tick_age_seconds"]
        table.add_row(
            connection["name"],
            connection["state"],
            str(connection["symbols"]),
            str(connection["ticks"]),
            "none yet" if age is None else f"{age:.1f} s ago",
            str(connection["dials"]),
            str(connection["refusals"]),
        )
    faults = fault_lines((c["name"], c["last_fault"]) for c in connections)
    return Group(table, *faults, pool_line(stats), clients_line(stats))


def uncut_table(*titles: str) -> Table:
    """Return a table whose names and numbers are whole, also on a terminal of 80 columns."""
    table = Table(pad_edge=False)
    for title in titles:
        table.add_column(title, no_wrap=True)
    return table


def fault_lines(faults: Iterable[tuple[str, str]]) -> list[str]:
    """Return a line for each connection that has had a fault; a column would be too narrow for its words."""
    return [f"{name}, last fault: {fault}" for name, fault in faults if fault]


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
