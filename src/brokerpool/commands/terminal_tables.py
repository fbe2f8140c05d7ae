"""How a gateway's statistics look on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.table import Table


def statistics(stats: Mapping[str, Any]) -> Group:
    """Return what `/stats` says: a row for each broker connection, their last faults, pool and clients."""
    connections = sorted(stats["websocket"]["per_connection"], key=places(stats))
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
    several = accounts_table(stats)
    lines = [pool_line(stats), *clients_sum(stats), *client_lines(stats), *cluster_lines(stats)]
    return Group(*several, table, *faults, *lines)


def accounts_table(stats: Mapping[str, Any]) -> list[Table]:
    """Return a table of the accounts where there are several, in order of preference; nothing for one."""
    accounts = several_accounts(stats)
    if not accounts:
        return []
    table = uncut_table("account", "broker", "state", "at home", "away", "down", "guests", "places")
    for account in accounts:
        table.add_row(
            account["name"],
            account["broker"],
            account_state(account),
            str(account["symbols_home"]),
            str(account["symbols_away"]),
            str(account["symbols_down"]),
            str(account["symbols"] + account["symbols_away"] - account["symbols_home"]),
            str(account["capacity"]),
        )
    return [table]


def several_accounts(stats: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the accounts in order of preference if there are several, else nothing."""
    accounts = stats["websocket"].get("accounts", ())  # an older gateway names none
    return [*accounts] if len(accounts) > 1 else []


def account_state(account: Mapping[str, Any]) -> str:
    """Return how an account stands, in a word or two."""
    if account["login_refused"]:
        return "no login"
    if account["connected"]:
        return "live"
    return "out" if account["symbols"] or account["symbols_home"] else "idle"


def places(stats: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], int]:
    """Return what tells the place of a connection's account in the order of preference."""
    order = {account["name"]: place for place, account in enumerate(several_accounts(stats))}
    return lambda connection: order.get(connection.get("account"), 0)


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


def cluster_lines(stats: Mapping[str, Any]) -> Iterator[str]:
    """Yield how a cluster stands, as the process that tells it sees it; nothing where it is in none."""
    cluster = stats.get("cluster")
    if not cluster:
        return
    bus = cluster["bus"]
    trip = bus["round_trip_seconds"]
    way = "NATS is away" if trip is None else f"NATS is {trip * 1000:.1f} ms away"
    lost = bus["lost"] + bus["overrun"]
    yield (
        f"{cluster['name']} is a {cluster['role']} of a cluster with {len(cluster['nodes'])} feed nodes and"
        f" {cluster['gateways']} gateways; {way}, {lost} messages were dropped."
    )
    for account in cluster["accounts"]:
        holder = account["node"] or "nobody"
        yield f"{account['name']} is held by {holder}, epoch {account['epoch']}{_heard(account)}."


def _heard(account: Mapping[str, Any]) -> str:
    """Return how a gateway hears an account's ticks; nothing of a feed node, or of an older gateway."""
    shards = account.get("shards")
    if not shards:
        return ""
    lag = "" if shards["lag_seconds"] is None else f", {shards['lag_seconds'] * 1000:.1f} ms behind"
    return f"; {shards['heard']} of its shards are heard, {shards['dark']} of them are dark{lag}"


def client_lines(stats: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each client that the gateway names: those that keep up worst."""
    for client in stats.get("gateway", {}).get("slowest_clients", ()):  # an older gateway names none
        behind = f", behind for {client['behind_seconds']:.1f} s" if client["behind_seconds"] else ""
        yield f"client-{client['client']}: {who(client)}; {client['subscriptions']} subscriptions{behind}"


def who(client: Mapping[str, Any]) -> str:
    """Return who a client is: the name of its key, from where, since when, and what it calls itself."""
    since = datetime.fromtimestamp(client["since_ms"] / 1000).astimezone()
    agent = f", user agent {client['user_agent']}" if client["user_agent"] else ""
    return f'key "{client["key"]}" from {client["address"]} since {since:%Y-%m-%d %H:%M:%S %Z}{agent}'


def clients_sum(stats: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the clients got, as a sentence; nothing of a feed node, which has none."""
    gateway = stats.get("gateway")
    if gateway:
        delivered, conflated = gateway["frames_delivered"], gateway["frames_conflated"]
        yield (
            f"{delivered} frames went to clients and {conflated} gave way to newer ones;"
            f" {gateway['clients']} clients are connected, {gateway['slow_clients']} of them slow."
        )
