"""WebSocketPool: few broker sockets that carry what many owners want."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import product
from random import Random
from typing import Any, Self

from brokerpool import argument_checks, open_pools
from brokerpool.argument_checks import Instruments
from brokerpool.brokers.account import Account
from brokerpool.egress import Egress
from brokerpool.errors import PoolClosedError
from brokerpool.event_journal import Event, Journal
from brokerpool.feed import refusals
from brokerpool.feed.account_limits import AccountLimits
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.batch_plan import Plan
from brokerpool.feed.connection_rotation import Rotation
from brokerpool.feed.connections import Connections
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.demand import Demand
from brokerpool.feed.demand_replica import Replica, holding, planned
from brokerpool.feed.dial import Dial, dialling
from brokerpool.feed.first_ticks import arrived
from brokerpool.feed.gap_snapshots import Filler, Filling
from brokerpool.feed.gaps import Gap
from brokerpool.feed.instrument_changes import relisting
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener, TickStream, TickStreams
from brokerpool.feed.placement import POLICIES, Placement
from brokerpool.feed.pool_argument_checks import COPIES, NO_FEED, check, check_parts
from brokerpool.feed.pool_inspection import Inspection
from brokerpool.feed.refusals import Subscribed
from brokerpool.feed.sending_permission import ALONE, Permission
from brokerpool.feed.supervision import Supervision, Watch
from brokerpool.feed.symbol_explanation import AccountStatus, Explanation
from brokerpool.feed.upstream_interface import Answer, answered
from brokerpool.fork_guard import ForkGuard
from brokerpool.instruments import Instrument, Token, TokenBook
from brokerpool.market_calendar import ALWAYS_OPEN, MarketHours
from brokerpool.running_loop import running
from brokerpool.ticks import Mode, Tick


class WebSocketPool:
    """Spreads instruments over as few broker connections as possible and keeps those alive.

    `subscribe`, `unsubscribe` and `release` never wait for the network: they change what is wanted, and
    the connections bring the broker's side into line. All methods belong to the event loop on which the
    pool was made; `brokerpool.sync` has the blocking twin for other threads. Arguments are understood whole
    before anything changes: a wrong one raises TypeError or ValueError, which says what is right.
    """

    def __init__(
        self,
        feed: Account = NO_FEED,
        *,
        name: str = "",
        max_symbols: int = 1000,
        max_connections: int = 3,
        linger: float = 30.0,
        placement: str = "fill-first",
        redundancy: int = 1,
        grace: float = 5.0,
        hours: MarketHours = ALWAYS_OPEN,
        filler: Filler | None = None,
        random: Random | None = None,
        egress: Egress | None = None,
        dial: Dial | None = None,
        permission: Permission = ALONE,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """Make a pool for one account; nothing is dialled before the first subscribe.

        `name` is the account's, by default the broker's: connections and errors have it. A connection stays
        open for `linger` seconds after its last symbol has gone; `placement` is "fill-first" (as few
        connections as possible) or "least-loaded" (evenly over all of them).
        With a `redundancy` of 2 each symbol is on two connections, and the first copy of a tick passes. After
        `grace` seconds without its connection a symbol moves to one that has room. Outside `hours` silence is
        normal. The `filler` gives snapshots for holes. Dials leave as `egress` and `permission` say.
        Raises ValueError for another placement, for limits below 1, and for more redundancy than connections,
        TypeError without a feed, and RuntimeError where no event loop runs.
        """
        sizes = {"max_symbols": max_symbols, "max_connections": max_connections, "redundancy": redundancy}
        capacity = check(feed, **sizes, linger=linger, grace=grace, placement=placement)
        check_parts(hours, filler, egress)
        running("WebSocketPool")
        #: The broker's name as clients see it, and the account's own.
        self.name, self.account_name = feed.name, name or feed.name
        #: The broker's side, and what happened; to be read only.
        self.feed = feed
        self.journal = Journal(wall_clock=wall_clock)
        random = random or Random()
        self._demand = Demand()
        self._tokens: dict[Instrument, Token] = {}
        named = self.journal, wall_clock, self.account_name, permission
        self._account = AccountLimits(feed.login, feed.limits, capacity.sockets, random, *named)
        self._replicas: list[Replica] = []
        self._delivery = Delivery(self._replicas, self.journal, wall_clock, self._account.fence)
        shared = (self._account.budget, self._demand, self._tokens, self._delivery, self.journal)
        timing = linger, random, dialling(dial, egress, permission), wall_clock
        for number in range(redundancy):
            prefix = self.account_name + (f"-{COPIES[number - 1]}" if number else "")
            places = Placement(prefix, capacity.divided(redundancy), POLICIES[placement])
            rotation = Rotation(places, feed.login, life=feed.limits.socket_life_seconds, linger=linger)
            sockets = Connections(feed, self._account, self._delivery, *timing)
            self._replicas.append(Replica(places, sockets, rotation, *shared, grace=grace))
        self._placement = self._replicas[0].placement
        #: Where single symbols are and what ails them; to be asked by people, not for every tick.
        inspected = self._replicas, self._delivery, self._demand, self._account.budget
        self.inspection = Inspection(feed, *inspected, self.account_name)
        filling = Filling(filler, self._delivery, Backoff(random)) if filler else None
        watched = self._replicas, self._delivery, hours, filling, self.journal, wall_clock
        self._supervision = Supervision(*watched)
        self._watch = Watch(self._supervision.look, feed.limits.silence_seconds, self._account.fence)
        #: What was wanted at the last `relist`, is listed no more, and keeps its place; to be read only.
        self.unlisted: list[Instrument] = []
        self._streams = TickStreams(self)
        self._closed, self._guard = False, ForkGuard(self, f"pool {self.account_name}")
        open_pools.add("websocket", self, self._numbers, self._guard)

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
        """Want the instruments in the mode, in the name of the owner.

        Without `partial` the batch is taken whole or not at all; with it, what fits is taken, and the rest
        comes back in `refused`, each with its reason, and keeps the mode that it has, if any. While
        connections are out, symbols with a higher `priority` get what room there is; the highest counts.

        Raises PoolExhaustedError or UnknownInstrumentError (nothing has changed then), PoolClosedError,
        TypeError, and ValueError for a text that is not EXCHANGE:SYMBOL.
        """
        self._check_open()
        wanted = argument_checks.instruments(instruments)
        argument_checks.mode(mode)
        argument_checks.text("owner", owner)
        argument_checks.whole("priority", priority)
        listed = {i: token for i in wanted if (token := self.feed.book.token(i)) is not None}
        strangers = sorted(set(wanted).difference(listed)) if len(listed) < len(wanted) else []
        plans, unplaced = planned(self._replicas, [*listed], mode)
        refused = refusals.judge(self.account_name, self._placement, strangers, unplaced, partial=partial)
        accepted = tuple(i for i in wanted if i not in refused) if refused else tuple(wanted)
        for instrument in accepted:
            self._demand.want(owner, instrument, mode, priority)
            self._tokens.setdefault(instrument, listed[instrument])
        for replica, plan in zip(self._replicas, plans, strict=True):
            replica.commit(plan)
        for instrument in accepted:
            self._carry(instrument)
        refused |= refusals.no_place(self._placement, unplaced)  # now that the others have theirs
        self._watch.start()
        return Subscribed(accepted, tuple(refused.values()))

    def unsubscribe(
        self, instruments: Instruments, mode: Mode | None = None, *, owner: str = "default"
    ) -> tuple[Instrument, ...]:
        """Give up the mode (all modes by default) and return the instruments that the owner did hold.

        The place is free at once. Raises TypeError, and ValueError for a text that is not EXCHANGE:SYMBOL.
        """
        given = argument_checks.instruments(instruments)
        modes = tuple(Mode) if mode is None else (argument_checks.mode(mode),)
        argument_checks.text("owner", owner)
        given_up = tuple(i for i in given if self._demand.release(owner, i, modes))
        for instrument in given_up:
            if self._demand.mode(instrument) is not None:
                self._carry(instrument)
                continue
            for replica in self._replicas:
                replica.drop(instrument)
            del self._tokens[instrument]
            self._delivery.forget(instrument)
        return given_up

    def want(self, owner: str, instruments: Instruments, mode: Mode, priority: int = 0) -> Answer:
        """Subscribe to what there is room for, as an `Upstream` does; the answer is done already."""
        return answered(self.subscribe(instruments, mode, owner=owner, priority=priority, partial=True))

    def release(self, owner: str, instruments: Instruments | None = None, mode: Mode | None = None) -> int:
        """Give up what the owner holds of these (all by default); return how many instruments that were."""
        argument_checks.text("owner", owner)
        held = self._demand.instruments(owner) if instruments is None else instruments
        return len(self.unsubscribe(held, mode, owner=owner))

    def hold_open(self, on: bool) -> None:
        """Keep one connection open for what it tells of orders, also while nobody wants a symbol, or no more.

        It is one like any other: symbols that are wanted later go onto it. An account whose sockets tell
        nothing of orders opens none for that. Raises PoolClosedError.
        """
        if on:
            self._check_open()
        if self.feed.tells_orders and not self._closed:
            self._replicas[0].hold_open(on)
            self._watch.start()

    def plan(self, instruments: Instruments, mode: Mode = Mode.QUOTE) -> Plan:
        """Tell where a batch would go in the mode, without changing anything."""
        wanted = argument_checks.instruments(instruments)
        return planned(self._replicas, wanted, argument_checks.mode(mode))[0][0]

    @property
    def demand(self) -> Demand:
        """Who wants what; to be read only."""
        return self._demand

    # -- what comes of it ---------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while at least one connection to the broker is live."""
        return self.inspection.connected

    def broker(self, instrument: Instrument) -> str:
        """Return the broker that feeds an instrument: always the same one."""
        return self.name

    def account(self, instrument: Instrument) -> str:
        """Return the account's name while it serves the instrument, else ""."""
        return self.inspection.account(instrument)

    def accounts(self) -> Sequence[AccountStatus]:
        """Tell how the account stands."""
        return (self.inspection.status(),)

    @property
    def symbols_down(self) -> int:
        """Symbols whose connection was lost or refused and that no other one carries."""
        return self.inspection.cut_off()

    @property
    def symbols_unserved(self) -> int:
        """Wanted symbols that no live connection carries, those of a first dial included."""
        return self.inspection.unserved()

    @property
    def book(self) -> TokenBook:
        """What the broker lists at present."""
        return self.feed.book

    @property
    def depth_levels(self) -> int:
        """Levels of the order book on each side that the broker's feed carries."""
        return self.feed.limits.depth_levels

    def state(self, instrument: Instrument | str) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        return self.inspection.state(argument_checks.instrument(instrument))

    def gap(self, instrument: Instrument | str) -> Gap | None:
        """Return the instrument's open gap, in which its last value is stale; None when there is none."""
        return self._delivery.gaps.get(argument_checks.instrument(instrument))

    def explain(self, instrument: Instrument | str) -> Explanation:
        """Tell all that is known of one instrument, wanted or not; nothing is changed."""
        return self.inspection.explain(argument_checks.instrument(instrument))

    async def wait_live(self, instruments: Instruments, timeout: float = 10.0) -> None:
        """Return once each instrument has had a tick on its present socket; cancelling it changes nothing.

        Raises NotLiveError after `timeout` seconds, with the state of each that has had none, and at once
        UnknownInstrumentError for one that is not wanted and that the broker does not list.
        """
        await arrived(self, instruments, timeout, name=self.account_name, loads=self.inspection.load)

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of every tick and change from now on. Raises TypeError for one that cannot be."""
        self._delivery.listen(listener)

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        self._delivery.unlisten(listener)

    def ticks(self, size: int = 10_000) -> AbstractContextManager[TickStream]:
        """Give an asynchronous iterator over all ticks that holds up to `size` of them.

        Use as `with pool.ticks() as ticks: async for tick in ticks: ...`.
        """
        self._check_open()
        return self._streams.stream(size)

    def fresh(self, instrument: Instrument | str, within: float) -> Tick | None:
        """Return the last tick if it came within so many seconds and no gap is open, else None."""
        return self._delivery.fresh(
            argument_checks.instrument(instrument), argument_checks.seconds("within", within)
        )

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of the pool: the seed's three members first, then one entry per connection."""
        return {"websocket": self.inspection.stats()}

    def _numbers(self) -> dict[str, Any]:
        return {"name": self.account_name, "capacity": self._placement.capacity, **self.inspection.stats()}

    # -- orders of an operator ----------------------------------------------------------------------------

    def rotate(self, name: str) -> int:
        """Replace a connection and return how many symbols are to move; returns at once.

        The symbols are served by other connections, a new one if the open ones have no room, before this
        one lets go of them and is closed; the journal tells when. What is not through after a minute is
        given up, and the connection goes on with the rest.
        Raises BrokerpoolError: CONNECTION_UNKNOWN, or CONNECTION_NOT_MOVABLE; nothing has changed then.
        """
        return holding(self._replicas, name).order_out(name, "an operator has it rotated", opens=True)

    def drain(self, name: str) -> int:
        """Do the same with the connections that are open, so that there is one less; see `rotate`."""
        return holding(self._replicas, name).order_out(name, "an operator has it drained", opens=False)

    # -- credentials and end ------------------------------------------------------------------------------

    def relist(self) -> int:
        """Ask for wanted instruments by their present tokens; return how many have another one now.

        To be called when the feed's book was replaced: brokers give the tokens of expired contracts to new
        ones, and a tick must never be shown under the wrong name. An expired contract whose token is another
        one's now is given up for all owners, and listeners are told; any other that is gone keeps its token.
        """
        found = relisting(self._tokens, self.feed.book)
        self.unlisted = found.unlisted
        for symbols, reason in found.news():
            self.journal.note(Event.DELISTED, symbols=symbols, reason=reason)
        for instrument in found.expired:
            for owner in list(self._demand.owners(instrument)):
                self.unsubscribe(instrument, owner=owner)
        for instrument, replica in product(found.moved, self._replicas):
            replica.forget(instrument)
        self._tokens.update(found.moved)
        for instrument in found.moved:
            self._carry(instrument)
        self._delivery.delisted(found.expired)
        return len(found.moved)

    def renew(self) -> None:
        """Dial at once wherever a dial is waiting for better times: the operator says that all is well.

        A credentials provider that rests after failures is asked again as well. New credentials need no call:
        `feed.login.renew` reaches the pool by itself.
        """
        self.feed.login.ask_again()
        self._account.forgive()

    async def close(self) -> None:
        """Close every connection within seconds, also when cancelled; a closed pool refuses new demand."""
        if self._guard.elsewhere:
            return  # a forked child: all of it is the parent's
        self.end()
        for replica in self._replicas:
            await replica.ended()
        await self._account.ended()
        await self._supervision.ended()

    def end(self) -> None:
        """Begin to close everything; `close` waits for it, and it goes on though nobody waits."""
        # All of it is begun before the first wait: a caller that is cancelled leaves nothing open.
        self._closed = True
        open_pools.remove(self)
        self._watch.stop()
        self._delivery.end()
        self._streams.end()
        for replica in self._replicas:
            replica.end()
        self._account.end()
        self._supervision.end()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<WebSocketPool {self.account_name}: {refusals.load(self._placement)}>"

    # -- inside -------------------------------------------------------------------------------------------

    def _carry(self, instrument: Instrument) -> None:
        for replica in self._replicas:
            replica.carry(instrument)
        if len(self._replicas) > 1:
            self._delivery.carriers_changed(instrument)

    def _check_open(self) -> None:
        self._guard.enter()
        if self._closed:
            raise PoolClosedError(f"pool {self.account_name} is closed.")
