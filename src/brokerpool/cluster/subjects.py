"""The names under which a cluster speaks on its bus; names of people's choice are made safe for it."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

#: The buckets of the bus' store: who holds an account, which nodes and gateways live, and what those want.
LEASES, NODES, GATEWAYS, DEMAND = BUCKETS = ("leases", "nodes", "gateways", "demand")

#: The part of a subject that stands for all of an account that is no symbol's: connections and orders.
NEWS = "news"

_SAFE = re.compile(r"[^A-Za-z0-9-]")


@lru_cache(maxsize=4096)  # asked for with every message
def part(name: str) -> str:
    """Return the name as one part of a subject or key; two names never give the same part."""
    return _SAFE.sub(lambda found: f"_{ord(found.group()):x}_", name)


class Subjects(NamedTuple):
    """The subjects of one cluster; several clusters share a bus under different prefixes."""

    prefix: str = "brokerpool"

    def ticks(self, account: str, shard: int | str) -> str:
        """Batches of one shard, from whoever holds the account to all gateways that need the shard."""
        return f"{self.prefix}.ticks.{part(account)}.{shard}"

    def status(self, account: str) -> str:
        """How the account stands, once a second and after changes."""
        return f"{self.prefix}.status.{part(account)}"

    def answers(self, gateway: str) -> str:
        """What became of a gateway's demand, slice by slice."""
        return f"{self.prefix}.answers.{part(gateway)}"

    def snapshot(self, account: str) -> str:
        """Requests for the last values and open gaps of a shard."""
        return f"{self.prefix}.snapshot.{part(account)}"

    def book(self, account: str) -> str:
        """Requests for a part of the account's instrument list."""
        return f"{self.prefix}.book.{part(account)}"

    def explain(self, account: str) -> str:
        """Requests for what its holder knows of one symbol."""
        return f"{self.prefix}.explain.{part(account)}"

    def rest(self, account: str) -> str:
        """Requests for a call to the account's broker: quotes and candles."""
        return f"{self.prefix}.rest.{part(account)}"

    def hand_over(self, account: str) -> str:
        """Requests of a successor, which is live now, that its predecessor close its sockets."""
        return f"{self.prefix}.handover.{part(account)}"

    def orders(self, account: str) -> str:
        """Orders of an operator: connections to be rotated or drained."""
        return f"{self.prefix}.orders.{part(account)}"


#: Of the cluster that has the bus for itself.
SUBJECTS = Subjects()


def lease_key(account: str) -> str:
    """Return the key of an account's lease in `LEASES`."""
    return part(account)


def node_key(node: str) -> str:
    """Return the key under which a node says in `NODES` that it lives."""
    return f"node.{part(node)}"


def wish_key(account: str) -> str:
    """Return the key under which `NODES` has the node on which an operator wants the account."""
    return f"wish.{part(account)}"


def gateway_key(gateway: str) -> str:
    """Return the key under which a gateway says in `GATEWAYS` that it lives."""
    return part(gateway)


def demand_prefix(account: str) -> str:
    """Return what the keys of all that is wanted of an account begin with, in `DEMAND`."""
    return f"{part(account)}."


def demand_key(account: str, gateway: str, number: int) -> str:
    """Return the key of one slice of what a gateway wants of an account, in `DEMAND`."""
    return f"{demand_prefix(account)}{part(gateway)}.{number}"
