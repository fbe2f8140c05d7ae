"""Router: several accounts, each with its own pool, as one upstream."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Self

from brokerpool import argument_checks
from brokerpool.argument_checks import Instruments
from brokerpool.callback_isolation import Fence
from brokerpool.errors import ErrorCode, PoolClosedError, PoolExhaustedError, Refused
from brokerpool.event_journal import Event, Journal
from brokerpool.feed import refusals
from brokerpool.feed.account_placement import AccountPlacement
from brokerpool.feed.demand import Demand
from brokerpool.feed.first_ticks import arrived
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import Listeners, PoolListener, TickStream, TickStreams
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.refusals import Subscribed
from brokerpool.feed.router_accounts import Member, Route, members
from brokerpool.feed.router_delivery import RouterDelivery, Tap
from brokerpool.feed.router_inspection import RouterInspection
from brokerpool.feed.router_instruments import RouterBook
from brokerpool.feed.router_moves import RouterMoves
from brokerpool.feed.routing_table import RoutingTable
from brokerpool.feed.supervision import Watch
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation
from brokerpool.feed.upstream_interface import Answer, answered
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick

__all__ = ["Route", "Router"]

#: Five times the period of the looks: the unit in which a `Watch` is told.
_WATCH_SECONDS = 2.5


class Router:
    """Makes one upstream of the pools of several accounts, in order of preference.

    A symbol is at home on the first account that may serve its exchange, lists it and has room. While that
    is out for longer than the grace another account carries it, as far as there is room, by priority; once
    the home is back for good the symbol goes home without a hole. At no moment is it fed by two. All methods
    belong to the event loop on which the router was made; the pools are its own from then on.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        grace: float = 5.0,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Take over the pools, which nobody else may ask for anything; `grace` is in seconds.

        Raises ValueError for no routes, for names that come twice, and for pools of the same name, TypeError
        for what is no route.
        """
        self._members = members(routes)
        argument_checks.seconds("grace", grace)
        self.journal = Journal(wall_clock=wall_clock)
        self._fence = Fence("router", lambda reason: self.journal.note(Event.FAULT, reason=reason))
        self._listeners = Listeners(self._fence)
        self._demand = Demand()
        self._table = table = RoutingTable(len(self._members))
        self._delivery = RouterDelivery(self._members, table, self._listeners, self.journal, wall_clock)
        self._moves = RouterMoves(self._members, table, self._delivery, self.journal, grace=grace)
        self._placement = AccountPlacement(self._members, table, self._moves)
        #: Where single symbols are and what ails them; to be asked by people, not for every tick.
        self.inspection = RouterInspection(
            self._members, table, self._delivery, self._moves, self._demand, self._fence
        )
        for member in self._members:
            member.pool.journal.pass_on(self.journal, member.name)
            news = self._nowhere_else, partial(self._delisted, member)
            member.pool.listen(Tap(member, table, self._delivery, self._listeners, *news))
        self._book = RouterBook([member.listing for member in self._members])
        self._watch = Watch(self._look, _WATCH_SECONDS, self._fence)
        self._streams = TickStreams(self)
        self._closed = False

    # -- demand -------------------------------------------------------------------------------------------

    def subscribe(
        self,
        instruments: Instruments,
        mode: Mode = Mode.QUOTE,
        *,
        owner: str = "default",
        priority: int = 0,
        partial: bool = False,
    ) -> Subscribed:
        """Want the instruments in the mode, in the name of the owner; see `WebSocketPool.subscribe`.

        A refusal for want of room means that no account has any, and has the numbers of each.
        Raises PoolExhaustedError or UnknownInstrumentError (nothing has changed then), PoolClosedError,
        TypeError, and ValueError for a text that is not EXCHANGE:SYMBOL.
        """
        self._check_open()
        wanted = argument_checks.instruments(instruments)
        argument_checks.mode(mode)
        argument_checks.text("owner", owner)
        argument_checks.whole("priority", priority)
        refused = {i: self._unknown(i) for i in wanted if i not in self._table.ways and not self._listed(i)}
        if refused and not partial:
            raise refusals.unknown_error(self._names(), [*refused.values()])
        asked = [i for i in wanted if i not in refused]
        if not partial and (unplaced := self._placement.unplaced(asked, mode)):
            raise self._exhausted(unplaced)
        full = self._placement.place(asked, mode, priority)
        if full and not partial:  # what guests left was less than it looked
            self._align(i for i in asked if i not in full)
            raise self._exhausted(full)
        refused |= self._no_place(full)
        accepted = tuple(i for i in wanted if i not in refused)
        for instrument in accepted:
            self._demand.want(owner, instrument, mode, priority)
        self._align(accepted)
        self._watch.start()
        return Subscribed(accepted, tuple(refused.values()))

    def want(self, owner: str, instruments: Instruments, mode: Mode, priority: int = 0) -> Answer:
        """Subscribe to what there is room for, as an `Upstream` does; the answer is done already."""
        return answered(self.subscribe(instruments, mode, owner=owner, priority=priority, partial=True))

    def unsubscribe(
        self, instruments: Instruments, mode: Mode | None = None, *, owner: str = "default"
    ) -> tuple[Instrument, ...]:
        """Give up the mode (all modes by default) and return the instruments that the owner did hold.

        The places are free at once. Raises TypeError, and ValueError for a text that is not EXCHANGE:SYMBOL.
        """
        given = argument_checks.instruments(instruments)
        modes = tuple(Mode) if mode is None else (argument_checks.mode(mode),)
        argument_checks.text("owner", owner)
        given_up = tuple(i for i in given if self._demand.release(owner, i, modes))
        self._align(given_up)
        return given_up

    def release(self, owner: str, instruments: Instruments | None = None, mode: Mode | None = None) -> int:
        """Give up what the owner holds of these (all by default); return how many instruments that were."""
        argument_checks.text("owner", owner)
        held = self._demand.instruments(owner) if instruments is None else instruments
        return len(self.unsubscribe(held, mode, owner=owner))

    def hold_open(self, on: bool) -> None:
        """Keep one connection of each account open that tells of orders; see `WebSocketPool.hold_open`."""
        if on:
            self._check_open()
        for member in self._members:
            member.pool.hold_open(on)

    @property
    def demand(self) -> Demand:
        """Who wants what; to be read only."""
        return self._demand

    # -- what comes of it ---------------------------------------------------------------------------------

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of every tick and change from now on. Raises TypeError for one that cannot be."""
        self._listeners.add(listener)

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        self._listeners.remove(listener)

    def ticks(self, size: int = 10_000) -> AbstractContextManager[TickStream]:
        """Give an asynchronous iterator over all ticks that holds up to `size`; see `WebSocketPool.ticks`."""
        self._check_open()
        return self._streams.stream(size)

    def gap(self, instrument: Instrument | str) -> Gap | None:
        """Return the instrument's open gap, in which its last value is stale; None when there is none."""
        return self._delivery.gaps.get(argument_checks.instrument(instrument))

    def state(self, instrument: Instrument | str) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        return self.inspection.state(argument_checks.instrument(instrument))

    def explain(self, instrument: Instrument | str) -> Explanation:
        """Tell all that is known of one instrument, wanted or not; nothing is changed."""
        return self.inspection.explain(argument_checks.instrument(instrument))

    async def wait_live(self, instruments: Instruments, timeout: float = 10.0) -> None:
        """Return once each instrument has had a tick from an account; cancelling it changes nothing.

        Raises NotLiveError after `timeout` seconds, with the state of each that has had none, and at once
        UnknownInstrumentError for one that is not wanted and that no account lists.
        """
        await arrived(self, instruments, timeout, name=self._names(), loads=self._loads)

    def fresh(self, instrument: Instrument | str, within: float) -> Tick | None:
        """Return the last tick if it came within so many seconds and no gap is open, else None."""
        known = argument_checks.instrument(instrument)
        way = self._table.ways.get(known)
        if way is None or known in self._delivery.gaps:
            return None
        return self._members[way.feeding].pool.fresh(known, within)

    def broker(self, instrument: Instrument) -> str:
        """Return the broker that feeds the instrument; of one not wanted, the first that lists it."""
        way = self._table.ways.get(instrument)
        if way is not None:
            return self._members[way.feeding].pool.name
        return next((m.pool.name for m in self._members if m.lists(instrument)), self.name)

    def account(self, instrument: Instrument) -> str:
        """Return the account that serves the instrument now, "" when none does."""
        return self.inspection.account(instrument)

    def accounts(self) -> Sequence[AccountStatus]:
        """Tell how each account stands, in order of preference."""
        return self.inspection.accounts()

    # -- how it stands ------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The broker of the first account as clients see it, in lower case."""
        return self._members[0].pool.name

    @property
    def depth_levels(self) -> int:
        """The most levels of the order book that any of them carries on each side."""
        return max(member.pool.depth_levels for member in self._members)

    @property
    def book(self) -> RouterBook:
        """What the accounts list; another one once one of them uses a newer list."""
        listings = [member.listing for member in self._members]
        if not self._book.shows(listings):
            self._book = RouterBook(listings)
        return self._book

    @property
    def connected(self) -> bool:
        """True while at least one connection of any account is live."""
        return any(member.pool.connected for member in self._members)

    @property
    def symbols_down(self) -> int:
        """Symbols whose connection was lost or refused and that no other one carries, of any account."""
        return self.inspection.symbols_down

    @property
    def symbols_unserved(self) -> int:
        """Wanted symbols that no live connection carries, those of a first dial included."""
        return self.inspection.symbols_unserved

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of all pools in one, those of each account besides, under `websocket`."""
        return {"websocket": self.inspection.stats()}

    # -- orders of an operator, and the end ---------------------------------------------------------------

    def rotate(self, name: str) -> int:
        """Replace a connection and return how many symbols are to move; see `WebSocketPool.rotate`."""
        return self._pool_of(name).rotate(name)

    def drain(self, name: str) -> int:
        """Do the same with the connections of its account that are open, so that there is one less."""
        return self._pool_of(name).drain(name)

    def relist(self) -> int:
        """Ask every account for wanted instruments by their present tokens; see `WebSocketPool.relist`."""
        return sum(member.pool.relist() for member in self._members)

    def renew(self) -> None:
        """Dial at once wherever a dial is waiting for better times: the operator says that all is well."""
        for member in self._members:
            member.pool.renew()

    async def close(self) -> None:
        """Close all pools within seconds, also when cancelled; a closed router refuses new demand."""
        # All of it is begun before the first wait: a caller that is cancelled leaves nothing open.
        self._closed = True
        self._watch.stop()
        for member in self._members:
            member.pool.end()
        self._delivery.end()
        self._streams.end()
        for member in self._members:
            await member.pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Router {self._loads()}>"

    # -- inside -------------------------------------------------------------------------------------------

    def _look(self, now: float, stalled: float) -> Iterator[None]:
        yield from self.book.count()
        if not stalled:  # what was asked of the sockets meanwhile is still to be heard
            yield from self._moves.look(now)

    def _align(self, instruments: Iterable[Instrument]) -> None:
        """Bring what the accounts were asked for into line with the demand."""
        gone: list[Instrument] = []
        changed: defaultdict[tuple[Mode, int], list[Instrument]] = defaultdict(list)
        for instrument in instruments:
            mode = self._demand.mode(instrument)
            if mode is None:
                gone.append(instrument)
            else:
                changed[mode, self._demand.priority(instrument)].append(instrument)
        for (mode, priority), some in changed.items():
            self._placement.adapt(some, mode, priority)
        self._placement.remove(gone)
        self._delivery.forget(gone)

    def _delisted(self, member: Member, instruments: list[Instrument]) -> None:
        """Find another home for what an account has given up, or give it up for all owners."""
        lost = self._placement.delisted(member, instruments)
        for instrument in lost:
            for owner in list(self._demand.owners(instrument)):
                self._demand.release(owner, instrument)
        self._delivery.forget(lost)
        if lost:
            self._listeners.delisted(lost)

    def _nowhere_else(self, instruments: list[Instrument]) -> list[Instrument]:
        return [i for i in instruments if sum(member.lists(i) for member in self._members) < 2]

    def _listed(self, instrument: Instrument) -> bool:
        return any(member.lists(instrument) for member in self._members)

    def _unknown(self, instrument: Instrument) -> Refused:
        text = f"{self._names()}: no account of these lists {instrument}"
        return Refused(instrument, ErrorCode.SYMBOL_NOT_FOUND, text)

    def _no_place(self, full: Iterable[Instrument]) -> dict[Instrument, Refused]:
        message = f"no place left at any account: {self._loads()}" if full else ""
        return {i: Refused(i, ErrorCode.MAX_CAPACITY_REACHED, message) for i in full}

    def _exhausted(self, full: Sequence[Instrument]) -> PoolExhaustedError:
        text = f"{len(full)} symbols do not fit and nothing was changed: {self._loads()}"
        return PoolExhaustedError(text, [*self._no_place(full).values()])

    def _names(self) -> str:
        return ", ".join(member.name for member in self._members)

    def _loads(self) -> str:
        return " ".join(f"{member.name}: {member.inspection.load()}" for member in self._members)

    def _pool_of(self, name: str) -> WebSocketPool:
        argument_checks.text("name", name)
        found = (m.pool for m in self._members if name in m.inspection.names())
        if (pool := next(found, None)) is None:
            raise refusals.no_connection(n for m in self._members for n in m.inspection.names())
        return pool

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosedError(f"the router of {self._names()} is closed.")
