"""Where the symbols of a router are at home, and what each account is asked for on their behalf."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from brokerpool.feed.router_accounts import Member
from brokerpool.feed.router_moves import RouterMoves
from brokerpool.feed.routing_table import RoutingTable
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


class AccountPlacement:
    """Gives each symbol its home: the first account, by preference, that may serve it, lists it and has room.

    Guests make room for symbols at home, as they do inside of a pool. An account that is out keeps places for
    its symbols, which another one serves at once.
    """

    def __init__(self, members: Sequence[Member], table: RoutingTable, moves: RouterMoves) -> None:
        self._members = members
        self._table = table
        self._moves = moves
        self._monotonic = asyncio.get_running_loop().time

    def unplaced(self, instruments: Sequence[Instrument], mode: Mode) -> list[Instrument]:
        """Return those that would have no place in the mode at any account; nothing is changed.

        The places of guests are counted as room, which where modes are told apart may be too much.
        """
        waiting = dict.fromkeys(i for i in instruments if self._rises(i, mode))
        for member in self._members:
            batch = [i for i in waiting if member.lists(i)]
            if not batch:
                continue
            full = member.pool.plan(batch, mode).unplaced
            left = full[len(self._table.guests[member.number]) :]
            for instrument in set(batch).difference(left):
                del waiting[instrument]
        return [*waiting]

    def place(self, instruments: Sequence[Instrument], mode: Mode, priority: int) -> list[Instrument]:
        """Give those a home that have none, and let the others rise to the mode; return what has no place."""
        rising = [i for i in instruments if i in self._table.ways and self._rises(i, mode)]
        no_place = dict.fromkeys([*self._rise(rising, mode), *self._enter(instruments, mode, priority)])
        return [i for i in instruments if i in no_place]

    def adapt(self, instruments: Sequence[Instrument], mode: Mode, priority: int) -> None:
        """Have the accounts carry these in the mode and priority, which they have room for."""
        batches: defaultdict[int, list[Instrument]] = defaultdict(list)
        lower: defaultdict[int, list[Instrument]] = defaultdict(list)
        for instrument in instruments:
            way = self._table.ways[instrument]
            if (way.mode, way.priority) == (mode, priority):
                continue
            for account in way.carriers:
                batches[account].append(instrument)
                if way.mode > mode:
                    lower[account].append(instrument)
            way.mode, way.priority = mode, priority
        for account, batch in batches.items():
            self._members[account].offer(batch, mode, priority)
            self._members[account].lower(lower[account], mode)

    def remove(self, instruments: Iterable[Instrument]) -> None:
        """Want these at no account any more."""
        batches: defaultdict[int, list[Instrument]] = defaultdict(list)
        for instrument in instruments:
            for account in self._table.ways[instrument].carriers:
                batches[account].append(instrument)
        for account, batch in batches.items():
            self._members[account].let_go(batch)
        for instrument in dict.fromkeys(i for batch in batches.values() for i in batch):
            self._moves.forget(instrument)

    def delisted(self, member: Member, instruments: Sequence[Instrument]) -> list[Instrument]:
        """Find another home for what an account carries no longer; return and forget what has none."""
        lost = []
        for instrument in instruments:
            way = self._table.ways.get(instrument)
            if way is None or member.number not in way.carriers:
                continue
            if way.guest == member.number:
                self._moves.put_out([instrument], f"{member.name} does not list it any more")
            elif way.guest is not None:
                self._moves.stay(instrument, f"{member.name} does not list it any more")
            else:
                mode, priority = way.mode, way.priority
                self._moves.forget(instrument)
                lost += self._enter([instrument], mode, priority)
        return lost

    # -- inside -------------------------------------------------------------------------------------------

    def _rises(self, instrument: Instrument, mode: Mode) -> bool:
        way = self._table.ways.get(instrument)
        return way is None or way.mode < mode

    def _enter(self, instruments: Sequence[Instrument], mode: Mode, priority: int) -> list[Instrument]:
        waiting = dict.fromkeys(i for i in instruments if i not in self._table.ways)
        for guests_leave in (False, True):
            for member in self._members:
                batch = [i for i in waiting if member.lists(i)]
                if not batch or (guests_leave and not self._make_room(member, len(batch))):
                    continue
                taken = member.offer(batch, mode, priority)
                for instrument in batch:
                    if instrument in taken:
                        self._table.enter(instrument, member.number, mode, priority)
                        del waiting[instrument]
                if not member.inspection.works:
                    self._serve_elsewhere(member, [i for i in batch if i in taken])
        return [*waiting]

    def _serve_elsewhere(self, member: Member, instruments: Sequence[Instrument]) -> None:
        """Have another account carry what has its home on one that is out, without waiting for the grace."""
        member.troubled = True
        for instrument in instruments:
            self._table.ways[instrument].at_home.out_since = -math.inf
        self._moves.lend(instruments)

    def _rise(self, instruments: Sequence[Instrument], mode: Mode) -> list[Instrument]:
        """Let those rise whose home, or another account, has room for that; return the others."""
        full = []
        groups: defaultdict[tuple[int, int], list[Instrument]] = defaultdict(list)
        for instrument in instruments:
            way = self._table.ways[instrument]
            groups[way.home, way.priority].append(instrument)
        for (home, priority), batch in groups.items():
            member = self._members[home]
            risen = member.offer(batch, mode, priority)
            if len(risen) < len(batch) and self._make_room(member, len(batch) - len(risen)):
                risen |= member.offer([i for i in batch if i not in risen], mode, priority)
            for instrument in batch:
                if instrument in risen or self._move_up(instrument, mode, priority):
                    self._risen(instrument, mode, priority)
                else:
                    full.append(instrument)
        return full

    def _move_up(self, instrument: Instrument, mode: Mode, priority: int) -> bool:
        """Give a symbol its home on another account with room for the higher mode; tell whether one has."""
        way = self._table.ways[instrument]
        for member in self._members if way.guest is None else ():
            if member.number == way.home or not member.inspection.works or not member.lists(instrument):
                continue
            if member.offer([instrument], mode, priority):
                self._table.rehome(instrument, member.number)
                member.troubled = True
                return True
        return False

    def _risen(self, instrument: Instrument, mode: Mode, priority: int) -> None:
        """Let the guest of a symbol that has risen at home rise as well, or leave."""
        way = self._table.ways[instrument]
        way.mode = mode
        if way.guest is not None and way.home != way.guest:
            guest = self._members[way.guest]
            if not guest.offer([instrument], mode, priority) and way.feeding == way.home:
                self._moves.come_home([instrument])

    def _make_room(self, member: Member, symbols: int) -> bool:
        """Let guests leave that are in the way of symbols at home; tell whether there were any."""
        guests = self._table.weakest(member.number, symbols)
        self._moves.put_out(guests, "a symbol at home there has its place")
        return bool(guests)
