"""Symbols on their way between the accounts of a router: away from one that is out, and home again."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from brokerpool.event_journal import Event, Journal
from brokerpool.feed.router_accounts import RoutedAccount
from brokerpool.feed.router_delivery import RouterDelivery
from brokerpool.feed.routing_table import FAILOVER_SECONDS, Due, RoutingTable, Way, due
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

#: Symbols that are looked at in one turn of the event loop, and those that are moved: about a millisecond.
_SHARE = 100
_MOVED = 20


class RouterMoves:
    """Looks at the accounts that have trouble, and brings their symbols where they are served.

    A symbol's home goes on carrying it while another account does so as well; guests have what room the
    symbols at home leave, by priority.
    """

    def __init__(
        self,
        members: Sequence[RoutedAccount],
        table: RoutingTable,
        delivery: RouterDelivery,
        journal: Journal,
        *,
        grace: float,
    ) -> None:
        self._members = members
        self._table = table
        self._delivery = delivery
        self._journal = journal
        self._grace = grace
        self._monotonic = asyncio.get_running_loop().time
        #: How often symbols are counted twice where those of the accounts are added up.
        self.down_twice = 0
        self.unserved_twice = 0

    # -- the look -----------------------------------------------------------------------------------------

    def look(self, now: float) -> Iterator[None]:
        """See who has to move; does a share at each step, so that ticks pass between them."""
        for member in self._members:
            if member.troubled or not member.works or member.symbols_unserved:
                member.troubled = True
                yield from self._look_at(member, now)
        self._tell_homecomings(now)

    def _look_at(self, member: RoutedAccount, now: float) -> Iterator[None]:
        """Judge all as of one time: what went out together has to leave together, the first by priority."""
        leaving: list[Instrument] = []
        returning: list[Instrument] = []
        well = member.works
        for part in _parts([*self._table.homes[member.number]], _SHARE):
            for instrument in part:
                way = self._table.ways.get(instrument)
                if way is None or way.home != member.number:
                    continue  # gone between two steps
                match self._judge(instrument, way, member, now):
                    case Due.LEND:
                        leaving.append(instrument)
                    case Due.COME_HOME:
                        returning.append(instrument)
                well = well and way.at_home.out_since is None and way.guest is None
            yield
        member.troubled = not well
        for part in _parts(returning, _MOVED):
            self.come_home(i for i in part if i in self._table.ways)
            yield
        if leaving:
            yield from self._lend_all(member, leaving)
        else:
            member.told_stuck = False

    def _judge(self, instrument: Instrument, way: Way, member: RoutedAccount, now: float) -> Due:
        way.at_home.saw(member.service(instrument), now)
        hold, ticks_at_home = member.steadiness.hold, False
        if way.guest is not None:
            guest = self._members[way.guest]
            way.at_guest.saw(guest.service(instrument), now)
            self._count(instrument, way)
            waits_at_home = way.fed_by != way.home and member.delivers(instrument)
            last = member.last(instrument) if waits_at_home else None
            # A tick since its symbols may go home has not taken over: it was older than what had passed.
            ticks_at_home = last is not None and last[1] >= (way.at_home.served_since or now) + hold
        return due(way, now, grace=self._grace_at(member), hold=hold, ticks_at_home=ticks_at_home)

    def _grace_at(self, member: RoutedAccount) -> float:
        """Return the grace; other connections of the account that work are to take its symbols first."""
        return self._grace + FAILOVER_SECONDS if member.connected else self._grace

    def _count(self, instrument: Instrument, way: Way) -> None:
        """Note how often the symbol is counted too much, now that two accounts carry it."""
        assert way.guest is not None
        home, guest = (self._members[n] for n in (way.home, way.guest))
        unserved = home.unserved(instrument), guest.unserved(instrument)
        down = home.down(instrument), guest.down(instrument)
        twice = sum(down) - (down[0] and unserved[1])
        self.down_twice += twice - way.down_twice
        way.down_twice = twice
        twice = sum(unserved) - all(unserved)
        self.unserved_twice += twice - way.unserved_twice
        way.unserved_twice = twice

    # -- away ---------------------------------------------------------------------------------------------

    def _lend_all(self, member: RoutedAccount, leaving: list[Instrument]) -> Iterator[None]:
        """Bring symbols to other accounts, by priority; told once it is done."""
        lent: Counter[int] = Counter()
        lowest: dict[int, int] = {}
        stuck = 0
        ranked = self._table.by_priority(leaving)
        yield
        for part in _parts(ranked, _MOVED):
            waiting = [i for i in part if self._is_due(i, member)]
            for account, some in self.lend(waiting).items():
                lent[account] += len(some)
                waiting = [i for i in waiting if i not in some]
            for account, some in self._displace(waiting, lowest).items():
                lent[account] += len(some)
                waiting = [i for i in waiting if i not in some]
            stuck += len(waiting)
            yield
        if lent:
            member.steadiness.went_out(self._monotonic())
        for account, symbols in lent.items():
            reason = f"{member.name} is out"
            self._journal.note(
                Event.MOVED, connection=self._members[account].name, symbols=symbols, reason=reason
            )
        if stuck and not member.told_stuck:
            member.told_stuck = True
            reason = "the account is out, and no other one that lists them has room"
            self._journal.note(Event.DEGRADED, connection=member.name, symbols=stuck, reason=reason)

    def _is_due(self, instrument: Instrument, member: RoutedAccount) -> bool:
        way = self._table.ways.get(instrument)
        if way is None or way.home != member.number:
            return False
        grace, hold = self._grace_at(member), member.steadiness.hold
        return due(way, self._monotonic(), grace=grace, hold=hold, ticks_at_home=False) is Due.LEND

    def lend(self, instruments: Sequence[Instrument]) -> dict[int, dict[Instrument, None]]:
        """Have other accounts carry these, each the first that works and has room; return who took what."""
        lent: dict[int, dict[Instrument, None]] = {}
        waiting = dict.fromkeys(instruments)
        for member in self._members:
            if not waiting or not member.works:
                continue
            groups: defaultdict[tuple[Mode, int], list[Instrument]] = defaultdict(list)
            for instrument in waiting:
                way = self._table.ways[instrument]
                if member.number not in way.carriers and member.lists(instrument):
                    groups[way.mode, way.priority].append(instrument)
            for (mode, priority), batch in groups.items():
                if not member.may_have_room(mode):
                    continue
                for instrument in member.offer(batch, mode, priority):
                    self._host(instrument, member)
                    lent.setdefault(member.number, {})[instrument] = None
                    del waiting[instrument]
        return lent

    def _displace(
        self, waiting: Sequence[Instrument], lowest: dict[int, int]
    ) -> dict[int, dict[Instrument, None]]:
        """Give symbols the places of guests with a lower priority; `lowest` keeps what it is by account."""
        ways = self._table.ways
        for member in self._members if waiting else ():
            number = member.number
            if number not in lowest:
                weakest = self._table.weakest(number, 1)
                lowest[number] = ways[weakest[0]].priority if weakest else sys.maxsize
            if ways[waiting[0]].priority <= lowest[number] or not member.works:
                continue
            wanting = [i for i in waiting if number not in ways[i].carriers and member.lists(i)]
            pairs = zip(self._table.weakest(number, len(wanting)), wanting, strict=False)
            given_up = [weak for weak, i in pairs if ways[weak].priority < ways[i].priority]
            if given_up:
                del lowest[number]
                self.put_out(given_up, "a symbol with a higher priority has its place")
                return self.lend(wanting[: len(given_up)])
        return {}

    def put_out(self, guests: Iterable[Instrument], reason: str) -> None:
        """End the stay of these elsewhere, though their home is out."""
        dark: dict[Instrument, float] = {}
        for instrument in guests:
            way = self._table.ways[instrument]
            last = self._let_go(instrument, way)
            if last is not None and not self._members[way.home].delivers(instrument):
                dark[instrument] = last
        self._delivery.interrupted(dark, reason)

    def _host(self, instrument: Instrument, member: RoutedAccount) -> None:
        way = self._table.ways[instrument]
        if way.guest is not None:
            self._let_go(instrument, way)
        self._table.host(instrument, member.number)
        self._count(instrument, way)

    def forget(self, instrument: Instrument) -> None:
        """Forget a symbol that nobody wants any more, or that has to have another home."""
        way = self._table.ways[instrument]
        self._uncount(way)
        self._table.remove(instrument)

    def stay(self, instrument: Instrument, reason: str) -> None:
        """Make the account where a symbol is a guest its home: the other one carries it no more."""
        way = self._table.ways[instrument]
        last = None if way.fed_by == way.guest else self._delivery.last_passed(instrument, way)
        self._uncount(way)
        self._table.stay(instrument)
        if last is not None:
            self._table.keep_floor(instrument, *last)
            if not self._members[way.home].delivers(instrument):
                self._delivery.interrupted({instrument: last[1]}, reason)

    def _uncount(self, way: Way) -> None:
        self.down_twice -= way.down_twice
        self.unserved_twice -= way.unserved_twice
        way.down_twice = way.unserved_twice = 0

    # -- home ---------------------------------------------------------------------------------------------

    def come_home(self, instruments: Iterable[Instrument]) -> None:
        """End the stay elsewhere of symbols that their home serves."""
        for instrument in instruments:
            way = self._table.ways[instrument]
            if way.guest is not None:
                if way.feeding != way.home:
                    self._delivery.came_home[way.guest, way.home] += 1
                self._let_go(instrument, way)

    def _let_go(self, instrument: Instrument, way: Way) -> float | None:
        """End a stay; return when the last tick passed, by the monotonic clock, unless its home feeds it."""
        assert way.guest is not None
        guest = self._members[way.guest]
        last = None if way.fed_by == way.home else self._delivery.last_passed(instrument, way)
        self._uncount(way)
        self._table.leave(instrument)
        guest.let_go([instrument])
        if last is None:
            return None
        tick, at = last
        self._table.keep_floor(instrument, tick, at)
        return at

    def _tell_homecomings(self, now: float) -> None:
        for (guest, home), symbols in self._delivery.came_home.items():
            member = self._members[home]
            member.steadiness.returned(now)
            reason = f"home again from {self._members[guest].name}"
            self._journal.note(Event.MOVED, connection=member.name, symbols=symbols, reason=reason)
        self._delivery.came_home.clear()


def _parts(instruments: Sequence[Instrument], share: int) -> Iterator[Sequence[Instrument]]:
    return (instruments[start : start + share] for start in range(0, len(instruments), share))
