"""The accounts that a gateway has of its cluster, as one: joined and told gone while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterator, Sequence
from functools import partial

from brokerpool.callback_isolation import Fence
from brokerpool.cluster.remote_account import RemoteAccount, Surroundings
from brokerpool.cluster.remote_placement import RemotePlacement
from brokerpool.cluster.routed_account import RemoteMember
from brokerpool.event_journal import Event
from brokerpool.feed.gaps import GapBook
from brokerpool.feed.listeners import Listeners
from brokerpool.feed.router_delivery import RouterDelivery, Tap
from brokerpool.feed.router_instruments import Listing, RouterBook
from brokerpool.feed.router_moves import RouterMoves
from brokerpool.feed.routing_table import RoutingTable
from brokerpool.instruments import Instrument, TokenBook

logger = logging.getLogger("brokerpool.cluster")


class _RemoteTap(Tap):
    """Listens to one account, whose node says which broker serves it."""

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        if fed := self._delivery.fed(self._member, instruments):
            self._listeners.rerouted(fed, account, broker)


class RemoteAccounts:
    """Makes one feed of them: symbols overflow, are covered and go home by the rules of a router.

    Listeners hear of each symbol from one account at a time, and of each gap once.
    """

    def __init__(self, around: Surroundings, listeners: Listeners, fence: Fence, grace: float) -> None:
        """The listener and the gaps of `around` are replaced by each account's own."""
        self._around = around
        self._listeners = listeners
        self._fence = fence
        #: By their numbers, and in order of preference.
        self.members: list[RemoteMember] = []
        self.table = table = RoutingTable(0)
        self.delivery = RouterDelivery(self.members, table, listeners, around.journal, around.wall_clock)
        self._moves = RouterMoves(self.members, table, self.delivery, around.journal, grace=grace)
        self.placement = RemotePlacement(self.members, table, self._moves, self.delivery)
        #: Set once one account's list is here, and those of all.
        self.listed, self.listed_all = asyncio.Event(), asyncio.Event()
        self.book: TokenBook
        #: What is to be done of a review of where all symbols belong, None while there is none.
        self._review: Iterator[list[Instrument]] | None = None

    def have(self, accounts: Sequence[str], gone: Collection[str] = ()) -> None:
        """Use these from now on, in order of preference; those that were not known are joined.

        Those of them that are `gone` are asked for nothing that another one lists.
        """
        known = {member.name: member for member in self.members}
        starts = not known
        for name in accounts:
            if name not in known:
                known[name] = self._join(name)
                if not starts:
                    self._tell(Event.ACCOUNT_JOINED, known[name], "a feed node can hold it")
        for member in known.values():
            if member.gone != (member.name in gone):
                member.gone = not member.gone
                event = Event.ACCOUNT_GONE if member.gone else Event.ACCOUNT_JOINED
                self._tell(event, member, "no node can hold it any more" if member.gone else "it is back")
        self.placement.preferred = [
            *(known[name] for name in accounts),
            *(member for member in self.members if member.name not in accounts),
        ]
        self.use_lists()

    def use_lists(self) -> None:
        """Use the lists that the accounts have now."""
        books = [m.account.book for m in self.preferred] or [m.account.book for m in self.members]
        self.book = books[0] if len(books) == 1 else RouterBook([Listing(b, frozenset()) for b in books])
        self._review = self.placement.review()
        missing = self.unlisted()
        if len(missing) < len(self.preferred):
            self.listed.set()
        if not missing:
            self.listed_all.set()

    @property
    def preferred(self) -> list[RemoteMember]:
        """Those that are not gone, in order of preference."""
        return [member for member in self.placement.preferred if not member.gone]

    def unlisted(self) -> list[str]:
        """Return those whose list is not here yet."""
        return [member.name for member in self.preferred if not member.account.book_version]

    def look(self, now: float) -> Iterator[Sequence[Instrument]]:
        """Bring symbols where they belong; does a share at each step, so that ticks pass between them.

        Gives those that have no place anywhere from now on.
        """
        if len(self.members) < 2:
            return
        if isinstance(self.book, RouterBook):
            yield from (() for _ in self.book.count())
        if self._review is not None:
            review, self._review = self._review, None
            yield from review
        yield from (() for _ in self._moves.look(now))

    # -- inside -------------------------------------------------------------------------------------------

    def _join(self, name: str) -> RemoteMember:
        told = Listeners(self._fence)
        around = self._around._replace(listener=told, gaps=GapBook())
        account = RemoteAccount(name, around, self)
        member = RemoteMember(self.table.add_account(), account, around.wall_clock)
        self.members.append(member)
        news = self._nowhere_else, partial(self._delisted, member)
        told.add(_RemoteTap(member, self.table, self.delivery, self._listeners, *news))
        return member

    def _tell(self, event: Event, member: RemoteMember, reason: str) -> None:
        logger.info("account %s: %s", member.name, reason)
        self._around.journal.note(event, connection=member.name, reason=reason)

    def _delisted(self, member: RemoteMember, instruments: list[Instrument]) -> None:
        """Find another home for what an account has given up, or have it given up."""
        if lost := self.placement.delisted(member, instruments):
            self._listeners.delisted(lost)

    def _nowhere_else(self, instruments: list[Instrument]) -> list[Instrument]:
        return [i for i in instruments if sum(member.lists(i) for member in self.members) < 2]
