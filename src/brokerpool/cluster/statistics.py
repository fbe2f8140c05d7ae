"""The numbers of a cluster as one of its processes sees it; see `monitor.metric_vocabulary`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.nodes_and_holders import Directory


def cluster_statistics(
    name: str,
    role: str,
    bus: NatsBus,
    directory: Directory,
    hearing: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
) -> dict[str, Any]:
    """Return what `/stats` says under `cluster`; `role` is "feed" or "gateway".

    `hearing` gives, at a gateway, how the shards of each account are heard.
    """
    nodes, holders, heard = directory.nodes, directory.holders(), hearing()
    return {
        "name": name,
        "role": role,
        "bus": {
            "connected": bus.connected,
            "round_trip_seconds": bus.round_trip,
            **asdict(bus.counts),
        },
        "nodes": [
            {"name": node, "accounts": sum(holder.node == node for holder in holders)} for node in nodes
        ],
        "gateways": len(directory.gateways),
        "accounts": [
            {
                "name": holder.account,
                "node": holder.node,
                "held": bool(holder.node),
                "epoch": holder.epoch,
                "renewal_age_seconds": None if holder.age is None else round(holder.age, 3),
                **({"shards": heard[holder.account]} if holder.account in heard else {}),
            }
            for holder in holders
        ],
    }
