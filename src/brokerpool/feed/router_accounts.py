"""The accounts of a router: their pools, what each carries of what, and what they are asked in its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from brokerpool import argument_checks
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.router_instruments import Listing
from brokerpool.feed.routing_table import Service, Steadiness
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick

#: In whose name each pool is asked.
OWNER = "router"


class Route(NamedTuple):
    """One account: its name, its pool, and the exchanges that it serves; without any all that it lists."""

    name: str
    pool: WebSocketPool
    exchanges: frozenset[str] = frozenset()


class RoutedAccount(Protocol):
    """All that the ways of symbols between accounts depend on, whoever has an account's connections."""

    #: Its place in the routing table, which never changes.
    number: int
    name: str
    steadiness: Steadiness
    #: Whether its symbols have to be looked at one by one.
    troubled: bool
    #: Whether it was told that symbols of it have no other place.
    told_stuck: bool

    @property
    def broker(self) -> str:
        """Its broker's name as clients see it."""
        ...

    @property
    def connected(self) -> bool:
        """True while at least one of its connections is live."""
        ...

    @property
    def works(self) -> bool:
        """True unless its login was refused, or connections were lost and none is live."""
        ...

    @property
    def symbols_unserved(self) -> int:
        """Symbols that are wanted of it and that no live connection of it carries."""
        ...

    def service(self, instrument: Instrument) -> Service:
        """Tell how it serves a symbol at this moment."""
        ...

    def unserved(self, instrument: Instrument) -> bool:
        """Tell whether no live connection of it carries the symbol."""
        ...

    def down(self, instrument: Instrument) -> bool:
        """Tell whether the symbol's connection was lost or refused, and no other one of it carries it."""
        ...

    def delivers(self, instrument: Instrument) -> bool:
        """Tell whether a live connection of it has brought a tick of it, and no gap is open."""
        ...

    def last(self, instrument: Instrument) -> tuple[Tick, float] | None:
        """Return the last tick that it brought of a symbol that it carries, and when that came."""
        ...

    def lists(self, instrument: Instrument) -> bool:
        """Tell whether it may carry the instrument, and its book has it."""
        ...

    def may_have_room(self, mode: Mode) -> bool:
        """Tell whether anything has changed since it had no room in this mode."""
        ...

    def offer(self, instruments: Sequence[Instrument], mode: Mode, priority: int) -> dict[Instrument, None]:
        """Ask it for these, and return what it takes, in their order."""
        ...

    def let_go(self, instruments: Sequence[Instrument]) -> None:
        """Want these of it no more."""
        ...


class Member:
    """One account of a router, and what is known of it besides its pool."""

    def __init__(self, number: int, route: Route) -> None:
        self.number = number
        self.name = route.name
        self.pool = route.pool
        self.inspection = route.pool.inspection
        #: Those that it serves; all that it lists where there are none.
        self.exchanges = frozenset(route.exchanges)
        self.steadiness = Steadiness()
        #: Whether its symbols have to be looked at one by one.
        self.troubled = False
        #: Whether it was told that symbols of it have no other place.
        self.told_stuck = False
        self._full: dict[Mode, tuple[int, int]] = {}
        self._listing = Listing(route.pool.book, self.exchanges)

    @property
    def broker(self) -> str:
        """Its broker's name as clients see it."""
        return self.pool.name

    @property
    def connected(self) -> bool:
        """True while at least one of its connections is live."""
        return self.inspection.connected

    @property
    def works(self) -> bool:
        """True unless its login was refused, or connections were lost and none is live."""
        return self.inspection.works

    @property
    def symbols_unserved(self) -> int:
        """Symbols that are wanted of it and that no live connection of it carries."""
        return self.pool.symbols_unserved

    def service(self, instrument: Instrument) -> Service:
        """Tell how it serves a symbol at this moment."""
        return self.inspection.service(instrument)

    def unserved(self, instrument: Instrument) -> bool:
        """Tell whether no live connection of it carries the symbol."""
        return self.inspection.lacks(instrument, lambda c: not c.live)

    def down(self, instrument: Instrument) -> bool:
        """Tell whether the symbol's connection was lost or refused, and no other one of it carries it."""
        return self.inspection.lacks(instrument, lambda c: c.down)

    @property
    def listing(self) -> Listing:
        """What it carries, by its present book."""
        if self._listing.book is not self.pool.book:
            self._listing = Listing(self.pool.book, self.exchanges)
        return self._listing

    def lists(self, instrument: Instrument) -> bool:
        """Tell whether the rules let it carry the instrument, and its book has it."""
        return self.listing.token(instrument) is not None

    def offer(self, instruments: Sequence[Instrument], mode: Mode, priority: int) -> dict[Instrument, None]:
        """Ask the pool for these, and return what it has room for, in their order."""
        if not instruments:
            return {}
        done = self.pool.subscribe(instruments, mode, owner=OWNER, priority=priority, partial=True)
        if done.refused:
            self._full[mode] = self._fill()
        return dict.fromkeys(done.accepted)

    def may_have_room(self, mode: Mode) -> bool:
        """Tell whether anything has changed since the pool had no room in this mode."""
        return self._full.get(mode) != self._fill()

    def let_go(self, instruments: Sequence[Instrument]) -> None:
        """Want these no more."""
        self.pool.unsubscribe(instruments, owner=OWNER)

    def lower(self, instruments: Sequence[Instrument], mode: Mode) -> None:
        """Want these in no higher mode than this one, which they have."""
        for higher in Mode:
            if higher > mode:
                self.pool.unsubscribe(instruments, higher, owner=OWNER)

    def delivers(self, instrument: Instrument) -> bool:
        """Tell whether a live connection of it has brought a tick of it, and no gap is open."""
        return self.inspection.ticks(instrument) and self.pool.gap(instrument) is None

    def last(self, instrument: Instrument) -> tuple[Tick, float] | None:
        """Return the last tick that it brought of a symbol that it carries, and when that came."""
        return self.inspection.last(instrument)

    def _fill(self) -> tuple[int, int]:
        return self.pool.demand.changes, self.inspection.allowed


def members(routes: Sequence[Route]) -> tuple[Member, ...]:
    """Return the accounts, in order of preference.

    Raises TypeError and ValueError for what is no list of routes, each with a name and a pool of its own.
    """
    for route in routes:
        argument_checks.instance("route", route, Route)
        argument_checks.text("name", route.name)
        argument_checks.instance("pool", route.pool, WebSocketPool)
    if not routes or len({route.name for route in routes}) < len(routes):
        raise ValueError("give one route at least, and each a name of its own")
    called = [route.pool.account_name for route in routes]
    if len(set(called)) < len(called):
        told = ", ".join(called)
        raise ValueError(f"the pools are called {told}; give each a name of its own: WebSocketPool(name=...)")
    return tuple(Member(number, route) for number, route in enumerate(routes))
