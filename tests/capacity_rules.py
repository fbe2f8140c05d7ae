"""The rules of seven brokers; their figures stand in the file beside this one, as in a `limits.toml`."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from brokerpool.brokers.capacity import Capacity, Limit, ModeRule, mode_rule


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


def mixed(size: int, full: int, less_price: int, less_full: int, sockets: int) -> Capacity:
    """Return a rule that allows fewer prices, and fewer of the other modes, where both are on a socket."""
    price, book = (0, 1, 0, 0), (0, 0, 1, 1)
    limits = Limit(full, book), Limit(less_price, price, mixed=True), Limit(less_full, book, mixed=True)
    return Capacity(size, sockets, ModeRule(limits, (0, 0, 1, 1)))


def weighed(size: int, quote: int, depth: int, sockets: int) -> Capacity:
    """Return a rule by which a quote takes so many places, and an order book so many more."""
    return Capacity(size, sockets, ModeRule((Limit(size, (0, 1, quote, quote + depth)),)))


_sockets = st.integers(1, 3)
#: Rules for a few instruments: those of the brokers, and others that are as narrow in other places.
small_rules = st.one_of(
    st.builds(scaled, st.sampled_from(list(RULES.values())), st.integers(3, 8), _sockets),
    st.builds(mixed, st.integers(3, 6), st.integers(3, 6), st.integers(1, 3), st.integers(1, 2), _sockets),
    st.builds(weighed, st.integers(3, 9), st.integers(1, 2), st.integers(0, 2), _sockets),
)
