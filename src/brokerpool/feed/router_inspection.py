"""What a router carries and what ails it, from what its accounts tell: for people who look."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import filterfalse, islice
from typing import Any

from brokerpool.callback_isolation import Fence
from brokerpool.feed.demand import Demand
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import PROGRESS, SymbolState
from brokerpool.feed.pool_inspection import told
from brokerpool.feed.router_accounts import Member
from brokerpool.feed.router_delivery import RouterDelivery
from brokerpool.feed.router_moves import RouterMoves
from brokerpool.feed.routing_table import RoutingTable, Way
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation, Guest, LoginStatus, Owner
from brokerpool.instruments import Instrument

#: Members of a pool's statistics that are added up.
_SUMMED = ("connections", "max_connections", "allowed_connections", "symbols_mute")


class RouterInspection:
    """Answers questions about all accounts; changes nothing, and costs what is asked for and no more."""

    def __init__(
        self,
        members: Sequence[Member],
        table: RoutingTable,
        delivery: RouterDelivery,
        moves: RouterMoves,
        demand: Demand,
        fence: Fence,
    ) -> None:
        self._members = members
        self._table = table
        self._delivery = delivery
        self._moves = moves
        self._demand = demand
        self._fence = fence

    # -- one symbol ---------------------------------------------------------------------------------------

    def state(self, instrument: Instrument) -> SymbolState | None:
        """Tell how far a wanted instrument has come, on the account that serves it best."""
        way = self._table.ways.get(instrument)
        if way is None:
            return None
        states = [self._members[n].inspection.state(instrument) for n in way.carriers]
        known = [state for state in states if state is not None]
        return max(known, key=_progress, default=None)

    def account(self, instrument: Instrument) -> str:
        """Return the account that serves a symbol now, "" when none does."""
        way = self._table.ways.get(instrument)
        if way is None:
            return ""
        for number in way.feeders:
            member = self._members[number]
            if member.inspection.account(instrument):
                return member.name
        return ""

    def explain(self, instrument: Instrument) -> Explanation:
        """Tell all that is known of one instrument, wanted or not."""
        way = self._table.ways.get(instrument)
        owners = self._demand.owners(instrument)
        common: dict[str, Any] = {
            "listed": any(member.lists(instrument) for member in self._members),
            "owners": tuple(Owner(name, tuple(sorted(modes))) for name, modes in owners.items()),
            "gap": self._delivery.gaps.get(instrument),
        }
        if way is None:
            lists = [m for m in self._members if m.lists(instrument)] or [self._members[0]]
            found = [member.inspection.explain(instrument) for member in lists]
            return replace(found[0], fits=any(one.fits for one in found), **common)
        fed = self._members[way.home if way.left else way.feeding]
        home, *others = (self._members[number].inspection.explain(instrument) for number in way.carriers)
        hosted = [c._replace(role="hosted") for other in others for c in other.carriers]
        carriers = [*home.carriers, *hosted]
        return replace(
            fed.inspection.explain(instrument),
            mode=self._demand.mode(instrument),
            priority=self._demand.priority(instrument),
            state=self.state(instrument),
            carriers=tuple(carriers),
            account=self.account(instrument),
            route=route_told(way, [member.name for member in self._members]),
            **common,
        )

    # -- all of them --------------------------------------------------------------------------------------

    async def explained(self, instrument: Instrument) -> Explanation:
        """Tell the same: all of it is known here."""
        return self.explain(instrument)

    def accounts(self) -> Sequence[AccountStatus]:
        """Tell how each account stands."""
        return [self._status(member) for member in self._members]

    def _status(self, member: Member) -> AccountStatus:
        homes, guests = self._table.homes[member.number], self._table.guests[member.number]
        status = member.inspection.status()
        away = self._table.away[member.number]
        return status._replace(
            name=member.name,
            symbols=len(homes) - away + len(guests),
            symbols_home=len(homes),
            symbols_down=max(0, min(status.symbols_down, len(homes)) - away),
            symbols_away=away,
            exchanges=tuple(sorted(member.exchanges)),
        )

    @property
    def symbols_down(self) -> int:
        """Symbols whose connection was lost or refused, and that no other one carries."""
        down = sum(member.pool.symbols_down for member in self._members) - self._moves.down_twice
        return min(max(0, down), len(self._table))

    @property
    def symbols_unserved(self) -> int:
        """Wanted symbols that no live connection carries."""
        unserved = sum(member.pool.symbols_unserved for member in self._members) - self._moves.unserved_twice
        return min(max(0, unserved), len(self._table))

    def stats(self) -> dict[str, Any]:
        """Return the numbers of all: the members of a pool's, and one entry per account."""
        every = [member.inspection.stats() for member in self._members]
        places = sum(member.inspection.status().capacity for member in self._members)
        taken = sum(
            numbers["capacity_used"] * member.inspection.status().capacity
            for numbers, member in zip(every, self._members, strict=True)
        )
        return {
            **every[0],  # for the order of the members
            **{key: sum(numbers[key] for numbers in every) for key in _SUMMED},
            "total_symbols": len(self._table),
            "capacity_used": taken / places,
            "max_symbols_per_connection": max(n["max_symbols_per_connection"] for n in every),
            "symbols_down": self.symbols_down,
            "symbols_degraded": len([*self._degraded()]),
            "gaps_open": len(self._delivery.gaps),
            "gaps_total": self._delivery.gaps_total,
            "faults": dict(sum((Counter(n["faults"]) for n in every), Counter(self._fence.faults))),
            "accounts": [told(status) for status in self.accounts()],
            "per_connection": [
                {**connection, "account": member.name}
                for member, numbers in zip(self._members, every, strict=True)
                for connection in numbers["per_connection"]
            ],
        }

    def degraded(self, most: int) -> list[Instrument]:
        """Return symbols that no connection of any account carries, though they are wanted."""
        return list(islice(self._degraded(), most))

    def guests(self, most: int) -> list[Guest]:
        """Return symbols that another account than their home carries, by account."""
        every = (
            Guest(instrument, self._members[self._table.ways[instrument].home].name, member.name)
            for member in self._members
            for instrument in self._table.guests[member.number]
        )
        return list(islice(every, most))

    def gaps(self, most: int) -> list[Gap]:
        """Return open gaps, in the order in which they were opened."""
        return self._delivery.gaps.first(most)

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted symbols that contain the text in any case, those that begin with it first."""
        return self._demand.search(text, most)

    def login(self) -> LoginStatus:
        """Tell how the first login stands that was refused, else that of the first account."""
        logins = [member.inspection.login() for member in self._members]
        return next((login for login in logins if login.refused), logins[0])

    def some(self, name: str, most: int) -> list[Instrument]:
        """Return a few of the symbols at home on a connection, the eldest first."""
        found = (m.inspection.some(name, most) for m in self._members if name in m.inspection.names())
        return next(found, [])

    def evacuating(self) -> list[str]:
        """Return the connections that are being emptied."""
        return [name for member in self._members for name in member.inspection.evacuating()]

    # -- inside -------------------------------------------------------------------------------------------

    def _degraded(self) -> Iterator[Instrument]:
        for member in self._members:
            unplaced: Iterable[Instrument] = member.inspection.degraded(len(self._table))
            # What two accounts carry is degraded where it is so at the last of them, as a guest.
            for other, guests in enumerate(self._table.guests):
                if other != member.number and guests:
                    unplaced = filterfalse(guests.__contains__, unplaced)
            yield from filter(self._table.ways.__contains__, unplaced)


def route_told(way: Way, names: Sequence[str]) -> str:
    """Return which of the accounts carries a symbol and why, as a sentence."""
    home = names[way.home]
    if way.guest is None:
        if way.at_home.out_since is None:
            return f"Its account is {home}."
        return f"Its account is {home}, which is out; no other one that lists it works and has room."
    guest = names[way.guest]
    out = way.at_home.served_since is None
    why = "is out" if out else "is back, and has it again once that lasts"
    if way.at_home.refused:
        why = "refused it"
    if way.feeding == way.guest:
        return f"Its account is {home}, which {why}; until then it comes from {guest}."
    if out:
        return f"Its account is {home}, which {why}; {guest} has it from its first tick there on."
    return f"Its account is {home}; {guest} carries it as well while {home} may be out again."


def _progress(state: SymbolState) -> int:
    # A symbol that fell silent where it ticked is better off than one that nobody carries.
    return PROGRESS.index(state) if state in PROGRESS else len(PROGRESS)
