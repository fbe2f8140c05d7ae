"""One symbol told as a whole: who wants it, which connection carries it, and why it is not served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import ConnectionState, SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode, Tick


class Owner(NamedTuple):
    """One of those who want the symbol; the name means something to the pool's owner only."""

    name: str
    modes: tuple[Mode, ...]


class LoginStatus(NamedTuple):
    """How the login at the broker stands; nothing in it is secret."""

    #: The broker's id of the account's user, empty while it is not known.
    user: str
    #: Whether the broker refused these credentials.
    refused: bool
    version: int
    #: Questions in a row to the provider that did not help, and for how many seconds it rests from them.
    failures: int
    rest_seconds: float
    #: Epoch seconds at which the credentials end, None where that is not known.
    expires_at: float | None


class AccountStatus(NamedTuple):
    """How one account stands, and what it carries."""

    #: The account's own name, and its broker's as clients see it.
    name: str
    broker: str
    login: LoginStatus
    #: True while at least one of its connections is live.
    connected: bool
    #: Symbols that it carries now, those at home elsewhere included.
    symbols: int
    #: Symbols that are at home there, wherever they are carried now.
    symbols_home: int
    #: Symbols that fit when every connection is open, in the mode of which it carries most.
    capacity: int
    #: Symbols at home there whose connection was lost or refused, and that nothing else carries.
    symbols_down: int
    #: Symbols at home there that another account carries.
    symbols_away: int
    #: How many connections it may have, and how many symbols each of them takes.
    max_connections: int
    max_symbols_per_connection: int
    #: The exchanges that it serves, in order; none where it serves all that its broker lists.
    exchanges: tuple[str, ...]


class Guest(NamedTuple):
    """A symbol that another account than its home carries."""

    instrument: Instrument
    home: str
    account: str


class Carrier(NamedTuple):
    """One connection that is to carry the symbol."""

    name: str
    #: "home", or "hosted" while another connection is out or emptied.
    role: str
    connection: ConnectionState
    symbol: SymbolState
    last_fault: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the pool knows of one symbol."""

    instrument: Instrument
    listed: bool
    #: Whether there would be a place for it, if it has none.
    fits: bool
    owners: tuple[Owner, ...]
    #: The highest mode that anybody wants, None when nobody wants it.
    mode: Mode | None
    priority: int
    state: SymbolState | None
    carriers: tuple[Carrier, ...]
    #: The last tick, and the seconds since it was received; None before the first.
    last: Tick | None
    last_tick_age: float | None
    #: Seconds that usually pass between two ticks; 0 while that is not known, or is less than 2 s.
    usual_pause: float
    gap: Gap | None
    #: The account that serves it now, empty when none does.
    account: str = ""
    #: Where several accounts are one: which of them carries it and why, as a sentence.
    route: str = ""

    @property
    def why(self) -> str:
        """The state in a sentence: what it means, and what the pool does about it."""
        if not self.listed:
            return "The broker's instrument list has no such symbol, so a subscription is refused."
        if self.state is None:
            return f"Nobody wants it; {'there is room for it' if self.fits else 'every connection is full'}."
        pause = f"twice its usual pause of {self.usual_pause:.1f} s" if self.usual_pause else "5 s"
        meaning = _MEANING[self.state].format(fault=self._fault(), pause=pause)
        return f"{meaning} {self.route}" if self.route else meaning

    def _fault(self) -> str:
        faults = [f"{c.name} is {c.connection.value}" for c in self.carriers]
        told = [f"{c.name}: {c.last_fault}" for c in self.carriers if c.last_fault]
        return "; ".join(faults + told)


_MEANING = {
    SymbolState.ACCEPTED: (
        "It has a place, and the broker has not been asked for it on the present socket yet: {fault}."
    ),
    SymbolState.SENT: "The broker has been asked for it, and its first tick is still to come.",
    SymbolState.LIVE: "It ticks.",
    SymbolState.SILENT: (
        "The broker has been asked for it a while ago and no tick has come: a closed market, a quiet symbol,"
        " or a refusal that was not told."
    ),
    SymbolState.REFUSED: (
        "The broker refused it by name: {fault}. It is asked for again on the next socket."
    ),
    SymbolState.STALE: (
        "It is silent for more than {pause} while its connection brings others; its last value is marked as"
        " stale."
    ),
    SymbolState.DEGRADED: (
        "Its connection is out and no other one has room: {fault}. It gets the next free place, by priority."
    ),
}
