"""What `brokerpool top` shows: connections in an order of one's choice, and what is wrong; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Group, RenderableType

from brokerpool.commands.terminal_tables import (
    accounts_table,
    client_lines,
    clients_sum,
    cluster_lines,
    fault_lines,
    places,
    pool_line,
    uncut_table,
)

_NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class Row:
    """One connection."""

    #: The place of its account in the order of preference.
    place: int
    name: str
    state: str
    symbols: int
    #: Ticks a second since the last look.
    rate: float
    #: Seconds since the last tick, infinite before the first.
    age: float
    dials: int
    refusals: int
    last_fault: str


#: The orders through which the key c goes; each puts what asks for attention, or is largest, on top.
ORDERS: dict[str, Callable[[Row], Any]] = {
    "name": lambda row: (row.place, len(row.name), row.name),
    "symbols": lambda row: -row.symbols,
    "rate": lambda row: -row.rate,
    "age": lambda row: -row.age,
    "refusals": lambda row: -row.refusals,
}


class ConnectionTable:
    """Turns one answer of /stats after the other into rows; rates come from two of them."""

    def __init__(self) -> None:
        self.order = next(iter(ORDERS))
        self._before: dict[str, int] = {}
        self._at: float | None = None
        self._rates: dict[str, float] = {}
        self._stats: Mapping[str, Any] = {}

    def turn(self) -> None:
        """Sort by the next order."""
        names = list(ORDERS)
        self.order = names[(names.index(self.order) + 1) % len(names)]

    def take(self, stats: Mapping[str, Any], now: float) -> None:
        """Note an answer of /stats and the monotonic seconds at which it came."""
        ticks = {c["name"]: c["ticks"] for c in stats["websocket"]["per_connection"]}
        seconds = now - self._at if self._at is not None else 0.0
        if seconds > 0:
            # A gateway that was started anew counts from 0 again.
            self._rates = {
                name: max(0, count - self._before.get(name, 0)) / seconds for name, count in ticks.items()
            }
        self._before, self._at, self._stats = ticks, now, stats

    def rows(self) -> list[Row]:
        """Return the connections in the present order."""
        place = places(self._stats)
        found = [
            Row(
                place(c),
                c["name"],
                c["state"],
                c["symbols"],
                self._rates.get(c["name"], 0.0),
                _NEVER if c["last_tick_age_seconds"] is None else c["last_tick_age_seconds"],
                c["dials"],
                c["refusals"],
                c["last_fault"],
            )
            for c in self._stats["websocket"]["per_connection"]
        ]
        return sorted(found, key=ORDERS[self.order])

    def view(self, note: str = "") -> RenderableType:
        """Return the whole as it is printed, with a note below it."""
        rows = self.rows()
        table = uncut_table("connection", "state", "symbols", "ticks/s", "last tick", "dials", "refusals")
        for row in rows:
            table.add_row(
                row.name,
                row.state,
                str(row.symbols),
                f"{row.rate:.0f}",
                "none yet" if row.age == _NEVER else f"{row.age:.1f} s ago",
                str(row.dials),
                str(row.refusals),
            )
        http, process = self._stats["http"], self._stats["process"]
        wrong = [name for name, holds in self._stats["health"]["reasons"].items() if holds]
        health = f"health: {self._stats['health']['status']}" + (f" ({', '.join(wrong)})" if wrong else "")
        lines = [
            *fault_lines((row.name, row.last_fault) for row in rows),
            pool_line(self._stats),
            *clients_sum(self._stats),
            *client_lines(self._stats),
            *cluster_lines(self._stats),
            f"{http['requests']} calls to the broker, {sum(http['queued'].values())} wait,"
            f" {sum(http['refused'].values())} were refused; the event loop came"
            f" {process['loop_lag_max_seconds'] * 1000:.0f} ms late at most within a minute.",
            health,
        ]
        return Group(*accounts_table(self._stats), table, *lines, *([note] if note else []))
