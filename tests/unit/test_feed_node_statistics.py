"""The numbers of a feed node: of all accounts that it holds as of one, also when it holds none."""

from __future__ import annotations

from typing import Any

from brokerpool.gateway.feed_node_statistics import held_connections


def account(name: str, symbols: int, capacity: int, size: int) -> dict[str, Any]:
    return {
        "connections": 1,
        "total_symbols": symbols,
        "capacity_used": symbols / capacity,
        "max_connections": capacity // size,
        "max_symbols_per_connection": size,
        "gaps_open": 2,
        "faults": {"adapter": 1},
        "accounts": [{"name": name, "capacity": capacity}],
        "per_connection": [{"name": f"{name}-1", "account": name}],
    }


def test_several_accounts_are_added_up_and_shares_are_those_of_all_places() -> None:
    told = held_connections([account("a", 90, 100, 50), account("b", 30, 300, 100)])
    assert (told["connections"], told["total_symbols"], told["max_connections"]) == (2, 120, 5)
    assert told["capacity_used"] == 0.3
    assert told["max_symbols_per_connection"] == 100
    assert (told["gaps_open"], told["faults"]) == (4, {"adapter": 2})
    assert [each["name"] for each in told["accounts"]] == ["a", "b"]
    assert [each["account"] for each in told["per_connection"]] == ["a", "b"]


def test_a_node_that_holds_nothing_has_all_numbers_of_one_that_does() -> None:
    nothing, held = held_connections([]), held_connections([account("a", 90, 100, 50)])
    assert nothing.keys() == held.keys()
    assert (nothing["connections"], nothing["capacity_used"], nothing["accounts"]) == (0, 0, [])
