"""One account of the cluster as the ways of symbols between accounts depend on it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from brokerpool.cluster.demand_answers import Asked
from brokerpool.cluster.demand_state import Wanted
from brokerpool.cluster.remote_account import RemoteAccount
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.routing_table import Service, Steadiness
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick


class RemoteMember:
    """A `RoutedAccount` that a feed node holds; it is known as its node tells it.

    What it is asked for it takes until it says otherwise.
    """

    def __init__(self, number: int, account: RemoteAccount, wall_clock: Callable[[], float]) -> None:
        self.number = number
        self.name = account.name
        self.account = account
        self.steadiness = Steadiness()
        self.troubled = False
        self.told_stuck = False
        #: Whether no node can hold it any more: it is not asked for what others list.
        self.gone = False
        self._wall_clock = wall_clock
        self._monotonic = asyncio.get_running_loop().time
        #: How it was filled when it last refused a guest, by mode.
        self._full: dict[Mode, tuple[int, int]] = {}

    # -- how it stands ------------------------------------------------------------------------------------

    @property
    def broker(self) -> str:
        """Its broker's name as clients see it."""
        return self.account.broker

    @property
    def connected(self) -> bool:
        """True while its node is heard and has a live connection to the broker."""
        return self.account.connected

    @property
    def works(self) -> bool:
        """True while its node is heard, its login is good, and a connection is live or none was lost."""
        status = self.account.status
        if status is None or not self.account.heard or self.gone:
            return False
        if status.accounts and all(account.login.refused for account in status.accounts):
            return False
        return status.connected or not status.symbols_down

    @property
    def symbols_unserved(self) -> int:
        """Symbols that are wanted here and that are dark, or all while no connection is live."""
        return self.account.dark if self.connected else self.account.symbols_unserved

    def service(self, instrument: Instrument) -> Service:
        """Tell how it serves a symbol at this moment."""
        held = self.account.held(instrument)
        if held is None or not self.connected:
            return Service.OUT
        if held.state is SymbolState.REFUSED:
            return Service.REFUSED
        if held.dark or held.state is SymbolState.DEGRADED:
            return Service.OUT
        return Service.OPENED if held.tick is None else Service.SERVED

    def unserved(self, instrument: Instrument) -> bool:
        """Tell whether no live connection of it carries the symbol."""
        return self.service(instrument) in (Service.OUT, Service.REFUSED)

    def down(self, instrument: Instrument) -> bool:
        """Tell whether the symbol's connection was lost or refused, as far as is known here."""
        return self.service(instrument) is Service.OUT

    def delivers(self, instrument: Instrument) -> bool:
        """Tell whether it has brought a tick of the symbol, and no gap is open."""
        return self.service(instrument) is Service.SERVED

    def last(self, instrument: Instrument) -> tuple[Tick, float] | None:
        """Return the last tick that it brought, and the monotonic seconds at which its node received that."""
        held = self.account.held(instrument)
        if held is None or held.tick is None:
            return None
        age = self._wall_clock() - held.received_ms / 1000
        return held.tick, self._monotonic() - age

    # -- what it is asked for -----------------------------------------------------------------------------

    def lists(self, instrument: Instrument) -> bool:
        """Tell whether its list has the instrument."""
        return self.account.book.token(instrument) is not None

    def asked(self, instrument: Instrument) -> Asked | None:
        """Return what it was asked of an instrument, and what it said; None where it is not asked for it."""
        return self.account.asks.get(instrument)

    def has_no_place(self, instrument: Instrument) -> bool:
        """Tell whether it was asked for the instrument and has refused it."""
        asked = self.asked(instrument)
        return asked is not None and asked.has_no_place

    def ask(self, instrument: Instrument, mode: Mode, priority: int, *, guest: bool = False) -> None:
        """Want an instrument of it that it is to carry."""
        self.account.carry(instrument)
        self.account.ask(instrument, Wanted(mode, priority, guest))

    def ask_still(self, instrument: Instrument, mode: Mode, priority: int) -> None:
        """Go on wanting what it has refused, should it have room later."""
        self.account.drop(instrument)
        self.account.ask(instrument, Wanted(mode, priority))

    @property
    def has_room(self) -> bool:
        """True while it has places, in the mode of which it carries most."""
        return any(status.symbols < status.capacity for status in self.account.statuses())

    def may_have_room(self, mode: Mode) -> bool:
        """Tell whether anything has changed since it refused a guest in this mode."""
        return self._full.get(mode) != self._fill()

    def refused_guest(self, mode: Mode) -> None:
        """Note that it has no room for guests as it stands."""
        self._full[mode] = self._fill()

    def offer(self, instruments: Sequence[Instrument], mode: Mode, priority: int) -> dict[Instrument, None]:
        """Ask it for these as guests, but for those that it has refused already; return what was asked."""
        taken = dict.fromkeys(i for i in instruments if not self.has_no_place(i))
        for instrument in taken:
            self.ask(instrument, mode, priority, guest=True)
        return taken

    def let_go(self, instruments: Sequence[Instrument]) -> None:
        """Have it carry these no more; what has its home here and was refused it is asked for still."""
        for instrument in instruments:
            asked = self.asked(instrument)
            if asked is not None and asked.has_no_place and not asked.wanted.guest:
                self.account.drop(instrument)
            else:
                self.forget(instrument)

    def forget(self, instrument: Instrument) -> None:
        """Want the instrument of it no more."""
        self.account.drop(instrument)
        self.account.ask(instrument, None)

    def _fill(self) -> tuple[int, int]:
        statuses = self.account.statuses()
        return sum(status.symbols for status in statuses), sum(status.capacity for status in statuses)
