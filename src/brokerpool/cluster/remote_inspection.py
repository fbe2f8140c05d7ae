"""What a gateway knows of symbols and accounts that other processes hold: for people who look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from brokerpool.cluster.remote_accounts import RemoteAccounts
from brokerpool.cluster.routed_account import RemoteMember
from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.pool_inspection import told
from brokerpool.feed.router_inspection import route_told
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation, Guest, LoginStatus, Owner
from brokerpool.instruments import Instrument

_NO_LOGIN = LoginStatus("", refused=False, version=0, failures=0, rest_seconds=0.0, expires_at=None)
#: Members of an account's statistics that are added up.
_SUMMED = ("connections", "max_connections", "allowed_connections", "symbols_mute", "symbols_degraded")
#: Of an account of which nothing was heard yet.
_NOTHING: dict[str, Any] = {
    **dict.fromkeys(("connections", "total_symbols", "capacity_used"), 0),
    **dict.fromkeys(("max_connections", "allowed_connections", "max_symbols_per_connection"), 0),
    **dict.fromkeys(("symbols_down", "symbols_degraded", "symbols_mute", "gaps_open", "gaps_total"), 0),
    "faults": {},
    "accounts": [],
    "per_connection": [],
}


class RemoteInspection:
    """Answers from what was told; which connection carries a symbol its feed node is asked."""

    def __init__(self, accounts: RemoteAccounts, demand: Demand, wall_clock: Callable[[], float]) -> None:
        self._accounts = accounts
        self._placement, self._table = accounts.placement, accounts.table
        self._delivery = accounts.delivery
        self._demand = demand
        self._wall_clock = wall_clock

    def login(self) -> LoginStatus:
        """Tell how the first login stands that was refused, else that of the first account."""
        logins = [status.login for status in self.accounts()]
        return next((login for login in logins if login.refused), logins[0] if logins else _NO_LOGIN)

    def explain(self, instrument: Instrument) -> Explanation:
        """Tell all that is known of one instrument, wanted or not."""
        feeding = self._placement.feeding(instrument)
        account = feeding.account
        held = account.held(instrument)
        owners = self._demand.owners(instrument)
        seen = None if held is None or held.tick is None else held.received_ms
        return Explanation(
            instrument,
            listed=any(member.lists(instrument) for member in self._accounts.preferred),
            fits=any(member.has_room for member in self._accounts.preferred if member.lists(instrument)),
            owners=tuple(Owner(name, tuple(sorted(modes))) for name, modes in owners.items()),
            mode=self._demand.mode(instrument),
            priority=self._demand.priority(instrument),
            state=self.state(instrument),
            carriers=(),
            last=None if held is None else held.tick,
            last_tick_age=None if seen is None else max(0.0, self._wall_clock() - seen / 1000),
            usual_pause=0.0,
            gap=self._delivery.gaps.get(instrument),
            account=self.account(instrument),
            route=self._route(instrument, feeding),
        )

    async def explained(self, instrument: Instrument) -> Explanation:
        """Tell the same, with what the feed nodes know of it: they are asked which connections carry it."""
        here = self.explain(instrument)
        feeding, way = self._placement.feeding(instrument), self._table.ways.get(instrument)
        carrying = [feeding] if way is None else [self._accounts.members[number] for number in way.carriers]
        asked = [member for member in carrying if member.account.heard]
        answers = await asyncio.gather(*(member.account.explained(instrument) for member in asked))
        routes, carriers = [here.route], list(here.carriers)
        for member, found in zip(asked, answers, strict=True):
            if found is None:
                routes.append(f"{member.name} was asked which connection carries it, and has not answered.")
                continue
            guest = way is not None and member.number == way.guest
            carriers += [c._replace(role="hosted") if guest else c for c in found.carriers]
            if member is feeding:
                if len(member.account.statuses()) > 1:
                    routes.append(found.route)
                here = replace(
                    here, usual_pause=found.usual_pause, state=here.state and (found.state or here.state)
                )
            if len(self._accounts.preferred) == 1:
                here = replace(here, fits=found.fits)
        return replace(here, carriers=tuple(carriers), route=" ".join(routes))

    def _route(self, instrument: Instrument, member: RemoteMember) -> str:
        """Return which account carries a symbol and why, and who holds that account."""
        status = member.account.status
        node = status.node if status is not None and member.account.heard else ""
        holder = f"The feed node {node} holds" if node else "No feed node is heard that holds"
        told = [f"{holder} {member.name}."]
        way = self._table.ways.get(instrument)
        if way is not None and len(self._accounts.preferred) > 1:
            told.insert(0, route_told(way, [m.name for m in self._accounts.members]))
            full = [m.name for m in self._accounts.preferred if m.has_no_place(instrument)]
            if full:
                told.insert(1, f"No room for it at {', '.join(full)}.")
        return " ".join(told)

    def state(self, instrument: Instrument) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        if self._demand.mode(instrument) is None:
            return None
        held = self._placement.feeding(instrument).account.held(instrument)
        return (held.state if held is not None else None) or SymbolState.ACCEPTED

    def account(self, instrument: Instrument) -> str:
        """Return the account that serves a symbol now, "" when none does."""
        way = self._table.ways.get(instrument)
        for number in () if way is None else way.feeders:
            member = self._accounts.members[number]
            if not member.unserved(instrument):
                held = member.account.held(instrument)
                return (held.account if held is not None else "") or member.name
        return ""

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted symbols that contain the text in any case, those that begin with it first."""
        return self._demand.search(text, most)

    def degraded(self, most: int) -> list[Instrument]:
        """Return symbols that no connection carries, though they are wanted."""
        found = (i for i in self._table.ways if self.state(i) is SymbolState.DEGRADED)
        return list(islice(found, most))

    def guests(self, most: int) -> list[Guest]:
        """Return symbols that another account than their home carries, by account."""
        members = self._accounts.members
        every = (
            Guest(instrument, members[self._table.ways[instrument].home].name, member.name)
            for member in members
            for instrument in self._table.guests[member.number]
        )
        return list(islice(every, most))

    def gaps(self, most: int) -> list[Gap]:
        """Return open gaps, in the order in which they were opened."""
        return self._delivery.gaps.first(most)

    def some(self, name: str, most: int) -> list[Instrument]:
        """Return nothing: what is on a connection is known to its feed node."""
        return []

    def evacuating(self) -> list[str]:
        """Return nothing: it is known to their feed node."""
        return []

    # -- all of them --------------------------------------------------------------------------------------

    def accounts(self) -> list[AccountStatus]:
        """Tell how each account stands, in order of preference; `symbols_away` are those wanted here."""
        return [
            status._replace(symbols_away=self._table.away[member.number])
            for member in self._accounts.preferred
            for status in member.account.statuses()
        ]

    @property
    def symbols_down(self) -> int:
        """Symbols wanted here whose connection or feed node was lost, and that no other account delivers."""
        return self._lacking(lambda member: member.account.symbols_down)

    @property
    def symbols_unserved(self) -> int:
        """Symbols wanted here that no live connection carries, as far as is known here."""
        return self._lacking(lambda member: member.account.symbols_unserved)

    def _lacking(self, count: Callable[[RemoteMember], int]) -> int:
        """Return the sum over all accounts, less those that another account delivers."""
        members, lacking = self._accounts.members, 0
        for member in members:
            if number := count(member):
                carried = (*self._table.homes[member.number], *self._table.guests[member.number])
                ways = (self._table.ways[instrument] for instrument in carried)
                elsewhere = sum(
                    any(n != member.number and members[n].delivers(i) for n in way.carriers)
                    for i, way in zip(carried, ways, strict=True)
                    if way.guest is not None
                )
                lacking += max(0, number - elsewhere)
        return min(lacking, len(self._table))

    def connections(self) -> Iterator[dict[str, Any]]:
        """Give the numbers of each connection."""
        for member in self._accounts.preferred:
            yield from member.account.statistics().get("per_connection", ())

    def stats(self) -> dict[str, Any]:
        """Return the numbers of all accounts as those of one, with what is wanted here."""
        every = [{**_NOTHING, **m.account.statistics()} for m in self._accounts.preferred] or [_NOTHING]
        statuses = self.accounts()
        capacity = sum(status.capacity for status in statuses) or 1
        return {
            **every[0],  # for the order of the members
            **{key: sum(numbers[key] for numbers in every) for key in _SUMMED},
            "total_symbols": len(self._demand),
            "capacity_used": sum(status.symbols for status in statuses) / capacity,
            "max_symbols_per_connection": max(n["max_symbols_per_connection"] for n in every),
            "symbols_down": self.symbols_down,
            "gaps_open": len(self._delivery.gaps),
            "gaps_total": self._delivery.gaps_total,
            "faults": {name: count for numbers in every for name, count in numbers["faults"].items()},
            "accounts": [told(status) for status in statuses],
            "per_connection": [connection for numbers in every for connection in numbers["per_connection"]],
        }
