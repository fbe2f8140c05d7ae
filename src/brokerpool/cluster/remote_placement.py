"""Which of a cluster's accounts each symbol has its home at, as the accounts' holders answer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from math import inf

from brokerpool.cluster.routed_account import RemoteMember
from brokerpool.errors import ErrorCode, Refused
from brokerpool.feed.router_delivery import RouterDelivery
from brokerpool.feed.router_moves import RouterMoves
from brokerpool.feed.routing_table import RoutingTable, Way
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

#: Symbols that are looked at in one turn of the event loop.
_SHARE = 100


class RemotePlacement:
    """A symbol's home is the first account, by preference, that lists it and has not refused it.

    Those before it are asked still: once one of them has room it takes the symbol, from every gateway that
    wants it. So all gateways come to the same home, and need not know of each other: who decides is whoever
    holds the account. Until a home has answered it is taken to have room.
    """

    def __init__(
        self,
        members: Sequence[RemoteMember],
        table: RoutingTable,
        moves: RouterMoves,
        delivery: RouterDelivery,
    ) -> None:
        """`members` stand by their numbers, and may become more."""
        #: By their numbers.
        self.members = members
        self._delivery = delivery
        self._table = table
        self._moves = moves
        #: The members in order of preference.
        self.preferred: Sequence[RemoteMember] = members
        #: Wanted symbols that every account has refused.
        self.nowhere: dict[Instrument, None] = {}

    def want(self, instrument: Instrument, mode: Mode, priority: int) -> None:
        """Have the accounts carry it like this."""
        way = self._table.ways.get(instrument)
        if way is None:
            home = self._candidates(instrument)[0]
            way = self._table.enter(instrument, home.number, mode, priority)
            home.ask(instrument, mode, priority)
            if not home.works:  # another one is to carry it at once, where any can
                home.troubled = True
                way.at_home.out_since = -inf
                self._moves.lend([instrument])
        elif (way.mode, way.priority) != (mode, priority):
            way.mode, way.priority = mode, priority
            for member in self.members:
                if member.number in way.carriers:
                    member.ask(instrument, mode, priority, guest=_is_guest(member, instrument))
                elif member.asked(instrument) is not None:
                    member.ask_still(instrument, mode, priority)

    def drop(self, instrument: Instrument) -> None:
        """Want it of no account any more."""
        if instrument not in self._table.ways:
            return
        for member in self.members:
            member.forget(instrument)
        self._moves.forget(instrument)
        self._delivery.forget([instrument])
        self.nowhere.pop(instrument, None)

    def feeding(self, instrument: Instrument) -> RemoteMember:
        """Return the account that feeds the instrument, or would."""
        way = self._table.ways.get(instrument)
        if way is None:
            return self._candidates(instrument)[0]
        return self.members[way.home if way.left else way.feeding]

    def granted(self, instrument: Instrument, mode: Mode) -> bool:
        """Tell whether an account that carries the instrument has accepted the mode, and all asked since."""
        way = self._table.ways[instrument]
        asked = (self.members[number].asked(instrument) for number in way.carriers)
        return any(a and not a.open and a.granted is not None and a.granted >= mode for a in asked)

    def refusal(self, instrument: Instrument) -> tuple[Mode, Refused] | None:
        """Return in which mode and why no account takes the instrument; None while that may be."""
        way = self._table.ways[instrument]
        home = self.members[way.home].asked(instrument)
        if home is None or home.refused is None:
            return None
        if home.granted is not None:  # it has it in a lower mode
            return home.wanted.mode, home.refused
        every = [
            (member.name, asked.refused)
            for member in self.preferred
            if (asked := member.asked(instrument)) is not None and asked.refused is not None
        ]
        if len(every) == 1:
            return home.wanted.mode, home.refused
        text = "no place left at any account: " + " ".join(f"{name}: {why.message}" for name, why in every)
        codes = {why.code for _, why in every}
        code = codes.pop() if len(codes) == 1 else ErrorCode.MAX_CAPACITY_REACHED
        return home.wanted.mode, Refused(instrument, code, text)

    # -- what changes -------------------------------------------------------------------------------------

    def answered(self, member: RemoteMember, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Take what an account has said of these; return those that have no place anywhere from now on."""
        lost = []
        for instrument in instruments:
            way = self._table.ways.get(instrument)
            if way is None:
                continue
            if (
                way.guest == member.number
                and member.has_no_place(instrument)
                and _is_guest(member, instrument)
            ):
                member.refused_guest(way.mode)
                self.members[way.home].troubled = True
                self._moves.put_out([instrument], _no_room(member))
            lost += self.settle(instrument)
        return lost

    def delisted(self, member: RemoteMember, instruments: Iterable[Instrument]) -> list[Instrument]:
        """Take it that an account lists these no more; return those that no other one has a place for."""
        lost = []
        for instrument in instruments:
            if instrument in self._table.ways and (asked := member.asked(instrument)) is not None:
                text = f"{member.name} does not list {instrument} any more"
                asked.answered(Refused(instrument, ErrorCode.SYMBOL_NOT_FOUND, text))
                lost += self.answered(member, [instrument])
        return lost

    def settle(self, instrument: Instrument) -> list[Instrument]:
        """Bring a symbol where it belongs now; return it where it has no place anywhere from now on."""
        way = self._table.ways[instrument]
        candidates = self._candidates(instrument)
        free = [member for member in candidates if not member.has_no_place(instrument)]
        home = (free or candidates)[0]
        if home.number != way.home:
            self._move_home(instrument, way, home)
        known = instrument in self.nowhere
        if free:
            self.nowhere.pop(instrument, None)
        else:
            self.nowhere[instrument] = None
        self._ask(instrument, way, candidates)
        return [] if free or known else [instrument]

    def review(self) -> Iterator[list[Instrument]]:
        """Settle all symbols, as when accounts or their lists are others, a share at each step.

        Gives those that have no place anywhere from now on.
        """
        every = iter([*self._table.ways])
        while some := [*islice(every, _SHARE)]:
            yield [lost for i in some if i in self._table.ways for lost in self.settle(i)]

    # -- inside -------------------------------------------------------------------------------------------

    def _candidates(self, instrument: Instrument) -> list[RemoteMember]:
        """Return the accounts that may be its home, in order of preference; at least one."""
        listing = [member for member in self.preferred if member.lists(instrument)]
        # One that nobody lists is for the first to refuse, whose broker may take it all the same.
        return [member for member in listing if not member.gone] or listing or [self.preferred[0]]

    def _move_home(self, instrument: Instrument, way: Way, home: RemoteMember) -> None:
        """Give a symbol another home; who feeds it carries it until its first tick there."""
        if way.guest is not None:
            served, old = way.fed_by == way.guest, self.members[way.home]
            if served or (way.guest == home.number and old.has_no_place(instrument)):
                self._moves.stay(instrument, _no_room(old))
            else:
                self._moves.come_home([instrument])
        if way.home != home.number:
            old = self.members[way.home]
            home.ask(instrument, way.mode, way.priority)
            self._table.rehome(instrument, home.number)
            home.troubled = True
            if old.has_no_place(instrument):
                self._moves.put_out([instrument], _no_room(old))
            else:
                old.ask(instrument, way.mode, way.priority, guest=True)

    def _ask(self, instrument: Instrument, way: Way, candidates: Sequence[RemoteMember]) -> None:
        """Ask the home, and those before it that have refused it; no others but who carries it."""
        self.members[way.home].ask(instrument, way.mode, way.priority)
        before = candidates
        if instrument not in self.nowhere:
            before = [*takewhile(lambda member: member.number != way.home, candidates)]
        for member in self.members:
            if member.number in way.carriers:
                continue
            if member in before and member.has_no_place(instrument):
                member.ask_still(instrument, way.mode, way.priority)
            elif member.asked(instrument) is not None:
                member.forget(instrument)


def _no_room(member: RemoteMember) -> str:
    return f"{member.name} has no room for it any more"


def _is_guest(member: RemoteMember, instrument: Instrument) -> bool:
    asked = member.asked(instrument)
    return asked is not None and asked.wanted.guest
