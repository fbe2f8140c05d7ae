"""What may be wrong with a cluster as one of its processes sees it, in words; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple


class ClusterFacts(NamedTuple):
    """What is known of the cluster at one moment."""

    #: Whether this process holds accounts; else it serves clients.
    feed: bool
    #: Whether a NATS server is connected.
    connected: bool
    #: Feed nodes that live, and the accounts that none of them holds.
    nodes: int = 0
    unheld: tuple[str, ...] = ()


def cluster_facts(stats: Mapping[str, Any] | None) -> ClusterFacts | None:
    """Return what `/stats` says under `cluster` as facts; None for a process that is in none."""
    if stats is None:
        return None
    unheld = tuple(account["name"] for account in stats["accounts"] if not account["held"])
    return ClusterFacts(stats["role"] == "feed", stats["bus"]["connected"], len(stats["nodes"]), unheld)


def bus_away(facts: ClusterFacts) -> str:
    """Say that no NATS server is connected, and what becomes of accounts or clients."""
    if facts.feed:
        return (
            "No NATS server is connected: before their leases run out the broker connections of all accounts"
            " that were held here are closed, and clients are told that their symbols are stale."
        )
    return (
        "No NATS server is connected: clients keep their connections and are told that every symbol is stale;"
        " new symbols are refused."
    )


def unheld(facts: ClusterFacts) -> str:
    """Say which accounts no feed node holds."""
    names: Sequence[str] = facts.unheld
    accounts = f"the account {names[0]}" if len(names) == 1 else f"the accounts {' and '.join(names)}"
    live = "none lives" if not facts.nodes else f"{facts.nodes} live" if facts.nodes > 1 else "one lives"
    return f"No feed node holds {accounts}; {live}."


def unable(account: str) -> str:
    """Say that this node could not take an account over."""
    return (
        f"The login that this node has of the account {account} is refused or over: whoever holds the account"
        " serves it, and this node could not take its place."
    )
