"""What a pool carries and what ails it: for people who look, so that ticks pay nothing for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from brokerpool import argument_checks
from brokerpool.brokers.account import Account
from brokerpool.feed import refusals
from brokerpool.feed.connection import Connection
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.demand import Demand
from brokerpool.feed.demand_replica import Replica
from brokerpool.feed.dial_permits import DialBudget
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import PROGRESS, SymbolState
from brokerpool.feed.routing_table import Service
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation, Guest, LoginStatus, Owner
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick


class Inspection:
    """Answers questions about a pool; changes nothing, and costs what is asked for and no more."""

    def __init__(
        self,
        feed: Account,
        replicas: Sequence[Replica],
        delivery: Delivery,
        demand: Demand,
        budget: DialBudget,
        name: str,
    ) -> None:
        self._name = name
        self._feed = feed
        self._replicas = replicas
        self._delivery = delivery
        self._demand = demand
        self._budget = budget
        self._monotonic = asyncio.get_running_loop().time

    # -- one symbol ---------------------------------------------------------------------------------------

    def state(self, instrument: Instrument | str) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        instrument = argument_checks.instrument(instrument)
        if self._demand.mode(instrument) is None:
            return None
        state = max((replica.state(instrument) for replica in self._replicas), key=PROGRESS.index)
        mute = state is SymbolState.LIVE and self._delivery.cadence.mute(instrument)
        return SymbolState.STALE if mute else state

    def explain(self, instrument: Instrument | str) -> Explanation:
        """Tell all that is known of one instrument, wanted or not."""
        instrument = argument_checks.instrument(instrument)
        first = self._replicas[0]
        owners = self._demand.owners(instrument)
        seen = self._delivery.cadence.seen(instrument)
        carriers = [c for replica in self._replicas for c in replica.carried_by(instrument)] if owners else []
        return Explanation(
            instrument,
            listed=self._feed.book.token(instrument) is not None,
            fits=not first.plan([instrument]).unplaced,
            owners=tuple(Owner(name, tuple(sorted(modes))) for name, modes in owners.items()),
            mode=self._demand.mode(instrument),
            priority=self._demand.priority(instrument),
            state=self.state(instrument),
            carriers=tuple(carriers),
            last=self._delivery.cadence.last(instrument),
            last_tick_age=None if seen is None else self._monotonic() - seen,
            usual_pause=self._delivery.cadence.usual(instrument),
            gap=self._delivery.gaps.get(instrument),
            account=self.account(instrument),
        )

    async def explained(self, instrument: Instrument) -> Explanation:
        """Tell the same: all of it is known here."""
        return self.explain(instrument)

    def service(self, instrument: Instrument) -> Service:
        """Tell how the account serves a symbol at this moment, as well as on its best connection."""
        served = [replica.service(instrument) for replica in self._replicas]
        return served[0] if len(served) == 1 else max(served, key=list(Service).index)

    def account(self, instrument: Instrument) -> str:
        """Return the account's name where it serves the symbol, else ""."""
        return self._name if self.service(instrument) in (Service.OPENED, Service.SERVED) else ""

    def ticks(self, instrument: Instrument) -> bool:
        """Tell whether a live connection has brought a tick of the symbol."""
        return any(replica.serving(instrument) for replica in self._replicas)

    def last(self, instrument: Instrument) -> tuple[Tick, float] | None:
        """Return the symbol's last tick and the monotonic seconds at which it came, None before the first."""
        cadence = self._delivery.cadence
        tick, seen = cadence.last(instrument), cadence.seen(instrument)
        return None if tick is None or seen is None else (tick, seen)

    def lacks(self, instrument: Instrument, fails: Callable[[Connection], bool]) -> bool:
        """Tell whether the symbol's home fails in every replica, and no live connection carries it."""
        return all(replica.lacks(instrument, fails) for replica in self._replicas)

    # -- the pool -----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, Any]:
        """Return the numbers of the pool: the seed's three members first, one entry per connection last."""
        placement, budget = self._replicas[0].placement, self._budget
        return {
            "connections": sum(len(replica.connections) for replica in self._replicas),
            "total_symbols": len(placement),
            "capacity_used": placement.taken / placement.capacity,
            "max_connections": budget.max_sockets,
            "allowed_connections": budget.cap,
            "max_symbols_per_connection": placement.slot_size,
            "symbols_down": self.cut_off(),
            "symbols_degraded": len([*self._unplaced()]),
            "symbols_mute": self._delivery.cadence.mute_symbols,
            "gaps_open": len(self._delivery.gaps),
            "gaps_total": self._delivery.gaps_total,
            "faults": dict(self._delivery.fence.faults + self._feed.login.fence.faults),
            "accounts": [told(self.status())],
            "per_connection": [
                {**replica.stats(name), "account": self._name}
                for replica in self._replicas
                for name in replica.connections
            ],
        }

    def status(self) -> AccountStatus:
        """Tell how the account stands."""
        placement = self._replicas[0].placement
        symbols = len(placement)
        return AccountStatus(
            self._name,
            self._feed.name,
            self.login(),
            self.connected,
            symbols,
            symbols,
            placement.capacity,
            self.cut_off(),
            symbols_away=0,
            max_connections=self._budget.max_sockets,
            max_symbols_per_connection=placement.slot_size,
            exchanges=(),
        )

    @property
    def connected(self) -> bool:
        """True while at least one connection is live."""
        return any(c.live for replica in self._replicas for c in replica.connections.values())

    @property
    def works(self) -> bool:
        """True unless the login was refused, or connections were lost and none is live."""
        if self._feed.login.refused:
            return False
        connections = [c for replica in self._replicas for c in replica.connections.values()]
        return any(c.live for c in connections) or not any(c.down for c in connections)

    @property
    def allowed(self) -> int:
        """How many connections the broker lets the account have at present."""
        return self._budget.cap

    def load(self) -> str:
        """Say how full the connections are."""
        return refusals.load(self._replicas[0].placement)

    def cut_off(self) -> int:
        """Return how many symbols' connection was lost or refused, and no other one carries them."""
        return self._without(lambda connection: connection.down)

    def unserved(self) -> int:
        """Return how many wanted symbols no live connection carries, those of a first dial included."""
        return self._without(lambda connection: not connection.live)

    def degraded(self, most: int) -> list[Instrument]:
        """Return symbols that no connection carries, though they are wanted."""
        return list(islice(self._unplaced(), most))

    def guests(self, most: int) -> list[Guest]:
        """Return nothing: every symbol is at home."""
        return []

    def gaps(self, most: int) -> list[Gap]:
        """Return open gaps, in the order in which they were opened."""
        return self._delivery.gaps.first(most)

    def search(self, text: str, most: int) -> list[Instrument]:
        """Return wanted symbols that contain the text in any case, those that begin with it first."""
        return self._demand.search(text, most)

    def login(self) -> LoginStatus:
        """Tell how the login at the broker stands."""
        login = self._feed.login
        known = login.credentials
        return LoginStatus(
            known.user, login.refused, login.version, login.failures, login.rest, known.expires_at
        )

    # -- its connections ----------------------------------------------------------------------------------

    def some(self, name: str, most: int) -> list[Instrument]:
        """Return a few of the symbols at home on a connection, the eldest first."""
        replica = next((replica for replica in self._replicas if name in replica.connections), None)
        return list(islice(replica.placement.homes(name), most)) if replica else []

    def names(self) -> list[str]:
        """Return the connections that there are."""
        return [name for replica in self._replicas for name in replica.connections]

    def evacuating(self) -> list[str]:
        """Return the connections that are being emptied."""
        return [
            name for replica in self._replicas for name in replica.connections if replica.evacuating(name)
        ]

    # -- inside -------------------------------------------------------------------------------------------

    def _unplaced(self) -> Iterable[Instrument]:
        """Return what has no place in any replica."""
        first, last = self._replicas[0].unplaced, self._replicas[-1].unplaced
        return first if first is last else filter(last.__contains__, first)

    def _without(self, fails: Callable[[Connection], bool]) -> int:
        """Return how many symbols lack a connection in every replica; counted where one tells it all."""
        first, *others = self._replicas
        fewest = min(replica.without(fails) for replica in self._replicas)
        if not fewest or not others:
            return fewest
        homes = [name for name, connection in first.connections.items() if fails(connection)]
        symbols = (i for name in homes for i in first.placement.homes(name))
        return sum(self.lacks(i, fails) for i in symbols)


def told(status: AccountStatus) -> dict[str, Any]:
    """Return how an account stands as statistics show it."""
    fields = status._asdict()
    del fields["login"]
    return {**fields, "login_refused": status.login.refused, "exchanges": ",".join(status.exchanges)}
