"""Carries out the moves between connections, a share in each turn of the event loop, and tells of them."""

from __future__ import annotations

import asyncio
import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from brokerpool.event_journal import Event, Journal
from brokerpool.feed.backoff import PROVEN_SECONDS
from brokerpool.feed.connection import Connection, ConnectionObserver
from brokerpool.feed.connection_rotation import Order
from brokerpool.feed.connections import Connections
from brokerpool.feed.demand import Demand
from brokerpool.feed.dial_permits import DialBudget
from brokerpool.feed.failover import AT_HOME, Failover
from brokerpool.feed.lifecycle_states import ConnectionState, SymbolState
from brokerpool.feed.placement import Placement
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode

#: What is done in one turn of the event loop, so that no tick waits for longer than a millisecond or two.
_MOVES = 100
_LOOKS = 500


class MovesObserver(ConnectionObserver, Protocol):
    """Whom a replica tells: the pool."""

    def carriers_changed(self, instrument: Instrument) -> None: ...
    def overlaps(self, instrument: Instrument, new: Connection, old: Connection) -> bool: ...
    def ticked_since(self, instrument: Instrument, at: float) -> bool: ...


class Evacuation(NamedTuple):
    """A live connection that is being emptied; monotonic seconds."""

    order: Order
    since: float


class Leaving:
    """The connections that symbols are to be moved off, and that get new ones last."""

    def __init__(self) -> None:
        #: Those that have been out for longer than the grace.
        self.out: dict[str, None] = {}
        self.evacuations: dict[str, Evacuation] = {}

    def forget(self, name: str) -> None:
        """Drop a connection that is closed."""
        self.out.pop(name, None)
        self.evacuations.pop(name, None)

    def names(self) -> list[str]:
        """Return the connections, those that are out first."""
        return list(dict.fromkeys([*self.out, *self.evacuations]))

    def __contains__(self, name: object) -> bool:
        return name in self.out or name in self.evacuations

    def __len__(self) -> int:
        return len(self.names())


class Moves:
    """Moves symbols off connections that are out or emptied, and home again.

    What a call to the pool changes is only noted, whatever the number of calls; the moves that follow are
    made once a turn of the loop, up to a share of it. Where a connection's own symbols need the places of
    hosted symbols these leave at once, so that it never carries more than it may.
    """

    def __init__(
        self,
        placement: Placement,
        sockets: Connections,
        leaving: Leaving,
        budget: DialBudget,
        demand: Demand,
        tokens: Mapping[Instrument, Token],
        observer: MovesObserver,
        journal: Journal,
        *,
        emptied: Callable[[str], None],
    ) -> None:
        """`emptied` is told of each connection that may carry nothing any more."""
        #: Symbols without a connection that carries them, though their home has been out for the grace.
        self.unplaced: dict[Instrument, None] = {}
        self._placement = placement
        self._connections = sockets.connections
        self._sockets = sockets
        self._leaving = leaving
        self._budget = budget
        self._demand = demand
        self._tokens = tokens
        self._observer = observer
        self._journal = journal
        self._emptied = emptied
        self._failover = Failover(placement, leaving, self._urgency)
        self._loop = asyncio.get_running_loop()
        self._turn: asyncio.Handle | None = None
        #: Symbols that are to be looked at again, because a connection's standing changed.
        self._unsorted: deque[Instrument] = deque()
        #: Displaced symbols of which it is to be told that they have no place, if that is still so.
        self._untold: deque[Instrument] = deque()
        #: Hosted symbols that lost their places, of which it is still to be told, and who carried them.
        self._lost: dict[Instrument, Connection] = {}
        #: Hosted symbols taken in since the last entry of the journal, by connection.
        self._moved: Counter[str] = Counter()
        self._noted = 0  # unplaced symbols, by the journal's last entry
        self._opened: list[str] = []  # for the evacuation that goes on

    # -- changes ------------------------------------------------------------------------------------------

    def note(self, instrument: Instrument) -> None:
        """Look again at a symbol whose priority, or whose home, has changed."""
        self._failover.note(instrument)
        if self._failover.waits(instrument) and self._placement.slot(instrument) in self._leaving.out:
            if instrument not in self.unplaced:
                self._untold.append(instrument)
        else:
            self.unplaced.pop(instrument, None)

    def reconsider(self, name: str) -> None:
        """Look again at all symbols of a connection whose standing has changed, the hosted ones included."""
        self._unsorted += self._placement.hosted(name)  # first, for they have been away for longer
        self._unsorted += self._placement.homes(name)
        self.disturbed()

    def crowded(self, name: str) -> None:
        """Let hosted symbols leave at once where a connection's own symbols need their places."""
        for instrument in self._failover.surplus(name):
            self._evict(instrument)
        self.disturbed()

    def drop(self, instrument: Instrument) -> None:
        """Carry a symbol no more; its places are free at once."""
        self._end_stay(instrument)
        self._lost.pop(instrument, None)
        self.unplaced.pop(instrument, None)
        name = self._failover.remove(instrument)
        self._connections[name].drop(self._tokens[instrument])
        self._emptied(name)
        self.disturbed()

    def rehome(self, instrument: Instrument, name: str, mode: Mode) -> None:
        """Give a symbol whose mode rises its home on another connection; the old one serves it until then."""
        home, host = self._placement.slot(instrument), self._placement.host(instrument)
        live = [n for n in (host, home) if n is not None and self._connections[n].live]
        token = self._tokens[instrument]
        live.sort(key=lambda n: self._connections[n].symbol_state(token) is not SymbolState.LIVE)
        keeps = live[0] if live and name not in live[:1] else None
        self._sockets.take(name).want(token, instrument, mode)
        for freed in self._failover.rehome(instrument, name, mode, keeps):
            self._connections[freed].drop(token)
            self._emptied(freed)
        self._lost.pop(instrument, None)
        self.unplaced.pop(instrument, None)
        self.note(instrument)
        self._observer.carriers_changed(instrument)

    def close(self, name: str) -> None:
        """Take the places of a connection away that carries nothing."""
        self._failover.close(name)

    def disturbed(self) -> None:
        """See to it that what may be due is done in the next turn of the loop; cheap when nothing is."""
        if self._turn is None and self._pending():
            self._turn = self._loop.call_soon(self._take_turn)

    def promised(self, mode: Mode) -> dict[str, int]:
        """Return how many free places of each connection are for symbols that wait for one already."""
        waiting = self._failover.waiting
        promised: dict[str, int] = {}
        for name in self._hosts() if waiting else ():
            promised[name] = min(waiting, max(0, self._placement.room(name, mode)))
            waiting -= promised[name]
        return promised

    def end(self) -> None:
        """Move nothing any more."""
        if self._turn is not None:
            self._turn.cancel()

    # -- moves --------------------------------------------------------------------------------------------

    @property
    def going_on(self) -> bool:
        """True while moves are due that the next turns will make."""
        return self._turn is not None

    def take_over(self, now: float) -> Iterator[None]:
        """End hosting where the home serves again, and make homes of places that are to stay.

        Does a share at each step.
        """
        home_again: Counter[str] = Counter()
        for name in list(self._connections):
            for n, instrument in enumerate(list(self._placement.hosted(name)), 1):
                if n % _LOOKS == 0:
                    yield
                if self._placement.host(instrument) == name:
                    self._look_home(name, instrument, now, home_again)
        for home, count in home_again.items():
            self._journal.note(Event.MOVED, connection=home, symbols=count, reason="home again")

    # -- inside -------------------------------------------------------------------------------------------

    def _take_turn(self) -> None:
        self._turn = None
        if self._share() and self._turn is None:
            self._turn = self._loop.call_soon(self._take_turn)

    def _share(self) -> bool:
        """Do a share of what is due, and tell whether more is left for the next turn."""
        self._tell_lost()
        for _ in range(min(_LOOKS, len(self._unsorted))):
            instrument = self._unsorted.popleft()
            if self._placement.slot(instrument) is not None:
                self.note(instrument)
        if self._unsorted:
            return True
        if self._move():
            return True
        self._tell_unplaced()
        if self._untold:
            return True
        self._write_down()
        return False

    def _pending(self) -> bool:
        unplaced_changed = len(self.unplaced) != self._noted
        return bool(self._unsorted or self._lost or self._failover.busy or unplaced_changed)

    def _move(self) -> bool:
        """Make moves up to a share, and tell whether there may be more."""
        if not self._failover.busy:
            return False
        hosts = self._hosts()
        for _ in range(_MOVES):
            move = self._failover.step(hosts, self._spare())
            if move is None:
                break
            instrument, name = move
            if name is None:
                self._evict(instrument)
                continue
            if name not in hosts:
                self._opened.append(name)
                hosts.append(name)
            if self._placement.host(instrument) not in (None, name):
                self._evict(instrument)  # for a better place
            if instrument in self._lost:
                self._tell_lost()
            self._take_in(instrument, name)
        self._tell_lost()
        return move is not None

    def _hosts(self) -> list[str]:
        """Return the connections that take symbols in.

        One that is dialling, or may be dead, keeps the hosted symbols that it has and gets no more, but for
        one that is opened to take them in.
        """
        if not self._leaving.evacuations:
            self._opened.clear()
        hosts = []
        for name, connection in self._connections.items():
            usable = not connection.fading if connection.live else name in self._opened
            if usable and name not in self._leaving:
                hosts.append(name)
        return hosts

    def _spare(self) -> str | None:
        """Return the name of one more connection if it may be opened for what is moved."""
        if not self._leaving.evacuations:
            return None
        if not any(evacuation.order.opens for evacuation in self._leaving.evacuations.values()):
            return None
        slots, cap = self._placement.new_slots(), self._budget.cap
        opened = (self._connections[name] for name in self._opened if name in self._connections)
        queued = sum(connection.state is ConnectionState.IDLE for connection in opened)
        return slots[0][0] if slots and self._budget.sockets + queued < cap else None

    def _take_in(self, instrument: Instrument, name: str) -> None:
        self._failover.take_in(instrument, name)
        self.unplaced.pop(instrument, None)
        mode = self._demand.mode(instrument)
        assert mode is not None  # only what is wanted has a home
        self._sockets.take(name).want(self._tokens[instrument], instrument, mode)
        self._observer.carriers_changed(instrument)
        self._moved[name] += 1

    def _evict(self, instrument: Instrument) -> None:
        """Take a place as hosted away before its home serves it again."""
        name = self._placement.host(instrument)
        assert name is not None
        connection = self._lost[instrument] = self._connections[name]
        self._failover.leave(instrument)
        connection.drop(self._tokens[instrument])
        self.note(instrument)
        self._emptied(name)

    def _end_stay(self, instrument: Instrument) -> None:
        name = self._placement.host(instrument)
        if name is not None:
            self._failover.leave(instrument)
            self._connections[name].drop(self._tokens[instrument])
            self._observer.carriers_changed(instrument)
            self._emptied(name)

    def _look_home(self, name: str, instrument: Instrument, now: float, home_again: Counter[str]) -> None:
        home = self._placement.slot(instrument)
        assert home is not None  # a hosted symbol has a home
        host, own = self._connections[name], self._connections[home]
        if home in self._leaving.evacuations:
            if self._placement.low(instrument):
                return
            if self._settled(host, instrument) and self._observer.overlaps(instrument, host, own):
                self._failover.make_home(instrument)
                own.drop(self._tokens[instrument])
                self.note(instrument)
                self._tell_refused(instrument, host, own)
                self._observer.carriers_changed(instrument)
        elif (
            now - own.opened_at >= PROVEN_SECONDS
            and self._settled(own, instrument)
            and self._observer.overlaps(instrument, own, host)
        ):
            self._end_stay(instrument)
            self.note(instrument)
            self._tell_refused(instrument, own, host)
            home_again[home] += 1

    def _tell_refused(self, instrument: Instrument, new: Connection, old: Connection) -> None:
        """Tell that a symbol's data ends where it is let go of, for it was refused where it went."""
        if new.symbol_state(self._tokens[instrument]) is SymbolState.REFUSED:
            self._observer.symbols_lost([instrument], f"{new.name} does not get it", old)

    def _settled(self, connection: Connection, instrument: Instrument) -> bool:
        """Tell whether a symbol is as well off on a connection as it will be, so that another may let go."""
        if not connection.live:
            return False
        token = self._tokens[instrument]
        state = connection.symbol_state(token)
        if state in (SymbolState.SILENT, SymbolState.REFUSED):
            # It may be a quiet symbol; if it ticks elsewhere, it is this connection that is mute.
            return not self._observer.ticked_since(instrument, connection.sent_at(token))
        return state is SymbolState.LIVE

    def _urgency(self, instrument: Instrument) -> float:
        """Return the symbol's priority; what is only to be moved, and served where it is, comes last."""
        home = self._placement.slot(instrument)
        if home in self._leaving.out:
            return self._demand.priority(instrument)
        return -math.inf if home in self._leaving.evacuations else AT_HOME

    # -- telling ------------------------------------------------------------------------------------------

    def _tell_lost(self) -> None:
        lost, self._lost = self._lost, {}
        for connection in dict.fromkeys(lost.values()):
            instruments = [instrument for instrument, host in lost.items() if host is connection]
            self._observer.symbols_lost(instruments, "its place was needed for another symbol", connection)
        for instrument in lost:
            self._observer.carriers_changed(instrument)

    def _tell_unplaced(self) -> None:
        fresh: dict[Instrument, None] = {}
        for _ in range(min(_LOOKS, len(self._untold))):
            instrument = self._untold.popleft()
            # What is evacuated is still served where it is.
            out = self._placement.slot(instrument) in self._leaving.out
            if out and self._failover.waits(instrument) and instrument not in self.unplaced:
                fresh[instrument] = None
        self.unplaced |= fresh
        # A home that is back, which is noticed at the next look, may serve some of them already.
        if dark := [instrument for instrument in fresh if not self._asked_at_home(instrument)]:
            self._observer.symbols_changed(dark, SymbolState.DEGRADED)

    def _asked_at_home(self, instrument: Instrument) -> bool:
        home = self._connections[self._placement.slot(instrument) or ""]
        return home.symbol_state(self._tokens[instrument]) is not SymbolState.ACCEPTED

    def _write_down(self) -> None:
        for name, count in self._moved.items():
            reason = f"hosted, while {', '.join(self._leaving.names())} cannot serve them"
            self._journal.note(Event.MOVED, connection=name, symbols=count, reason=reason)
        self._moved.clear()
        unplaced = len(self.unplaced)
        if unplaced != self._noted:
            self._noted = unplaced
            reason = "no connection that works has room" if unplaced else "every symbol has a place again"
            self._journal.note(Event.DEGRADED, symbols=unplaced, reason=reason)
