"""What the pools of a router bring, on its way to the listeners: each symbol from one account at a time."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from brokerpool.event_journal import Event, Journal
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import Listeners, PoolListener
from brokerpool.feed.router_accounts import RoutedAccount
from brokerpool.feed.routing_table import Order, RoutingTable, Way, order
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick


class RouterDelivery:
    """Lets each symbol's ticks pass from the account that feeds it, and tells each gap once.

    Which account that is changes with a tick: of its home, once that is back for good; of any other that
    carries it, while nothing else delivers. The first tick of the new one is never older than the last one
    of the other, nor the same, as far as its volume or its time tells. Ticks of symbols that one account
    alone carries are not looked at.
    """

    def __init__(
        self,
        members: Sequence[RoutedAccount],
        table: RoutingTable,
        listeners: Listeners,
        journal: Journal,
        wall_clock: Callable[[], float],
    ) -> None:
        self.gaps = GapBook()
        #: Gaps since the start.
        self.gaps_total = 0
        #: Symbols that have come home since it was told: from one account to another -> how many.
        self.came_home: Counter[tuple[int, int]] = Counter()
        self._members = members
        self._table = table
        self._listeners = listeners
        self._journal = journal
        self._wall_clock = wall_clock
        self._monotonic = asyncio.get_running_loop().time

    # -- ticks --------------------------------------------------------------------------------------------

    def passing(self, member: RoutedAccount, ticks: list[Tick]) -> list[Tick]:
        """Return those ticks of an account's message that pass, and tell what they change."""
        judged, now = self._table.judged[member.number], self._monotonic()
        passing: list[Tick] = []
        ending: list[Instrument] = []
        moved: dict[Instrument, None] = {}
        for tick in ticks:
            instrument = tick.instrument
            way = judged.get(instrument)  # asked now, for one that moves may not have to be judged any more
            if way is not None:
                lies = Order.NEWER
                dark = instrument in self.gaps
                if way.feeding != member.number:
                    last = self.last_passed(instrument, way)
                    lies = self._takes_over(instrument, way, member, tick, now)
                    if lies is Order.OLDER:
                        continue
                    if member.number == way.home and way.guest is not None:
                        self.came_home[way.guest, way.home] += 1
                    moved[instrument] = None
                    self._table.feed(instrument, member.number)
                    if lies is Order.SAME and not dark and last is not None:
                        self._table.keep_floor(instrument, *last)  # what passed last, and where a gap begins
                elif way.floor is not None or way.left:
                    lies = self._to_floor(way, tick, self._received(member, instrument, now))
                    if lies is Order.OLDER:
                        continue
                    if lies is Order.NEWER or dark:
                        self._table.feed(instrument, member.number)
                if dark:
                    ending.append(instrument)
                elif lies is Order.SAME:
                    continue  # passed already; what comes next is new
            passing.append(tick)
        if moved:
            self._listeners.rerouted([*moved], member.name, member.broker)
        self._close(ending)
        if moved:
            self._listeners.symbols_changed([*moved], SymbolState.LIVE)
        return passing

    def last_passed(self, instrument: Instrument, way: Way) -> tuple[Tick, float] | None:
        """Return the last tick that passed, from whichever account, and when; None where nobody has it.

        Who feeds the symbol may have brought the same trade later, which did not pass.
        """
        if way.floor is not None:
            return way.floor, way.floor_at
        return self._feeders_last(instrument, way)

    def _takes_over(
        self, instrument: Instrument, way: Way, member: RoutedAccount, tick: Tick, now: float
    ) -> Order:
        """Return how the tick lies to the last one that passed; older as well where it may not take over."""
        last = self._feeders_last(instrument, way)
        dark = last is None or instrument in self.gaps
        if not way.takes_over(member.number, dark=dark, now=now, hold=member.steadiness.hold):
            return Order.OLDER
        received = self._received(member, instrument, now)
        lies = self._to_floor(way, tick, received)
        if last is None or lies is Order.OLDER:
            return lies
        before, at = last
        return order(tick, before, received - at)

    def _to_floor(self, way: Way, tick: Tick, received: float) -> Order:
        """Return how the tick lies to the last one of an account that feeds the symbol no longer."""
        return Order.NEWER if way.floor is None else order(tick, way.floor, received - way.floor_at)

    def _received(self, member: RoutedAccount, instrument: Instrument, now: float) -> float:
        """Return when what the account tells of the symbol at present was received, wherever that was."""
        last = member.last(instrument)
        return now if last is None else last[1]

    def _feeders_last(self, instrument: Instrument, way: Way) -> tuple[Tick, float] | None:
        """Return the last tick of the account that feeds the symbol, None where it carries it no longer."""
        return None if way.left else self._members[way.feeding].last(instrument)

    # -- gaps ---------------------------------------------------------------------------------------------

    def gaps_opened(self, member: RoutedAccount, gaps: list[Gap]) -> None:
        """Tell of the gaps of those symbols that the account feeds, or that it alone delivered."""
        by_reason: defaultdict[str, dict[Instrument, int]] = defaultdict(dict)
        for gap in gaps:
            if self._feeds(member, gap.instrument) or self._leaves_dark(member, gap.instrument):
                by_reason[gap.reason][gap.instrument] = self._edge(gap)
        for reason, edges in by_reason.items():
            self._tell_opened(self.gaps.open(edges, reason))

    def gaps_closed(self, member: RoutedAccount, gaps: list[Gap]) -> None:
        """Tell that these are over, where the account feeds the symbol and its next tick passes."""
        by_end: defaultdict[int, list[Instrument]] = defaultdict(list)
        for gap in gaps:
            way = self._table.ways.get(gap.instrument)
            if gap.instrument not in self.gaps or (way is not None and way.floor is not None):
                continue
            if way is None or self._feeds(member, gap.instrument):
                by_end[gap.to_ms or gap.from_ms].append(gap.instrument)
        for to_ms, instruments in by_end.items():
            self._listeners.gaps_closed(self.gaps.close(instruments, to_ms))

    def interrupted(self, edges: dict[Instrument, float], reason: str) -> None:
        """Open gaps of symbols that nothing delivers any more, with the monotonic time of each last tick."""
        opened = self.gaps.open({i: self._ms(at) for i, at in edges.items()}, reason)
        if opened:
            self._journal.note(Event.GAP, symbols=len(opened), reason=reason)
            self._tell_opened(opened)

    def forget(self, instruments: Iterable[Instrument]) -> None:
        """Close the gaps of symbols that nobody wants any more."""
        self._close([i for i in instruments if i in self.gaps])

    def end(self) -> None:
        """Close what is open: nothing more will come."""
        self._close(self.gaps.instruments())

    def _leaves_dark(self, member: RoutedAccount, instrument: Instrument) -> bool:
        """Tell whether a symbol that nobody feeds since its feeder let go of it had this account alone."""
        way = self._table.ways.get(instrument)
        if way is None or not way.left:
            return False
        others = (self._members[number] for number in way.carriers if number != member.number)
        return not any(other.delivers(instrument) for other in others)

    def _edge(self, gap: Gap) -> int:
        """Return when the last tick before the gap passed, which may be one of another account."""
        way = self._table.ways[gap.instrument]
        return gap.from_ms if way.floor is None else self._ms(way.floor_at)

    def _ms(self, at: float) -> int:
        """Return a monotonic time as epoch milliseconds, rounded into a gap that begins there."""
        return math.ceil((self._wall_clock() - self._monotonic() + at) * 1000)

    def _tell_opened(self, gaps: list[Gap]) -> None:
        if gaps:
            self.gaps_total += len(gaps)
            self._listeners.gaps_opened(gaps)

    def _close(self, instruments: Sequence[Instrument]) -> None:
        closed = self.gaps.close(instruments, math.floor(self._wall_clock() * 1000))
        if closed:
            self._listeners.gaps_closed(closed)

    # -- other news ---------------------------------------------------------------------------------------

    def fed(self, member: RoutedAccount, instruments: list[Instrument]) -> list[Instrument]:
        """Return those that the account feeds."""
        if not self._table.judged[member.number]:
            return instruments
        return [i for i in instruments if self._feeds(member, i)]

    def fill(self, member: RoutedAccount, ticks: list[Tick]) -> None:
        """Pass on snapshots of symbols that the account feeds and whose gap is open."""
        inside = [t for t in ticks if self._feeds(member, t.instrument) and self.gaps.fill(t.instrument)]
        if inside:
            self._listeners.filled(inside)

    def _feeds(self, member: RoutedAccount, instrument: Instrument) -> bool:
        way = self._table.ways.get(instrument)
        if way is None:
            return False
        # What was let go of where it was fed is its home's from then on, though no tick has come there.
        return member.number == (way.home if way.left else way.feeding)


class Tap(PoolListener):
    """Listens to one pool of a router."""

    def __init__(
        self,
        member: RoutedAccount,
        table: RoutingTable,
        delivery: RouterDelivery,
        listeners: Listeners,
        nowhere_else: Callable[[list[Instrument]], list[Instrument]],
        delisted: Callable[[list[Instrument]], None],
    ) -> None:
        """`nowhere_else` returns those that no other account lists."""
        self._member = member
        self._judged = table.judged[member.number]  # looked at with every message; never replaced
        self._delivery = delivery
        self._listeners = listeners
        self._nowhere_else = nowhere_else
        self._delisted = delisted

    def ticked(self, ticks: list[Tick]) -> None:
        if self._judged:
            ticks = self._delivery.passing(self._member, ticks)
        if ticks:
            self._listeners.ticked(ticks)

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if fed := self._delivery.fed(self._member, instruments):
            self._listeners.symbols_changed(fed, state)

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        self._member.troubled = True  # the next look tries others
        if nowhere := self._nowhere_else(self._delivery.fed(self._member, instruments)):
            self._listeners.refused(nowhere, reason)

    def order_updated(self, update: str | bytes) -> None:
        self._listeners.order_updated(update)

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._listeners.connection_changed(name, state, reason)

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self._delivery.gaps_opened(self._member, gaps)

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self._delivery.gaps_closed(self._member, gaps)

    def delisted(self, instruments: list[Instrument]) -> None:
        self._delisted(instruments)

    def filled(self, ticks: list[Tick]) -> None:
        self._delivery.fill(self._member, ticks)
