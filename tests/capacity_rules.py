"""The rules of seven brokers; their figures stand in the file beside this one, as in a `limits.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from brokerpool.brokers.capacity import Capacity, mode_rule


def _capacity(table: dict[str, Any]) -> Capacity:
    symbols, sockets = table["symbols"]["value"], table["sockets"]["value"]
    return Capacity(symbols, sockets, mode_rule(table.get("capacity", {}), symbols))


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
#: By broker.
RULES = {name: _capacity(table) for name, table in _TABLES.items()}


def scaled(rule: Capacity, to: int, sockets: int = 3) -> Capacity:
    """Return the rule with room for `to` instruments a socket, all of its limits in proportion."""
    modes = rule.modes
    if modes is not None:
        limits = [limit._replace(most=max(1, limit.most * to // rule.symbols)) for limit in modes.limits]
        modes = modes._replace(limits=tuple(limits))
    return Capacity(to, min(rule.sockets, sockets), modes)
