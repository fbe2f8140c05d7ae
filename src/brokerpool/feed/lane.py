"""One copy of the demand: which connection carries which symbol, also while connections are out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from brokerpool.brokers.base import BrokerFeed
from brokerpool.feed.account import Account
from brokerpool.feed.backoff import PROVEN_SECONDS, Backoff
from brokerpool.feed.connection import Connection, ConnectionObserver, Dial
from brokerpool.feed.demand import Demand
from brokerpool.feed.explanation import Carrier
from brokerpool.feed.failover import lodging
from brokerpool.feed.placement import Placement
from brokerpool.feed.states import PROGRESS, SymbolState
from brokerpool.instruments import Instrument, Token
from brokerpool.monitor.journal import Event, Journal

#: An evacuation that is not through after this long is given up; its connection goes on as it is.
EVACUATION_SECONDS = 60.0
#: A socket with a known end is emptied this long before it, or a tenth of its life if that is less.
MOST_AHEAD_SECONDS = 600.0


class LaneObserver(ConnectionObserver, Protocol):
    """Whom a lane tells: the pool."""

    def carriers_changed(self, instrument: Instrument) -> None: ...
    def overlaps(self, instrument: Instrument, new: Connection, old: Connection) -> bool: ...
    def ticked_since(self, instrument: Instrument, at: float) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Evacuation:
    """A live connection that is being emptied, and why."""

    reason: str
    since: float
    #: Whether other connections may be opened for it.
    opens: bool


class Lane:
    """Keeps every wanted symbol on a connection that works, as long as there is room.

    A symbol's home is the connection that the placement gave it. When that is out for longer than `grace`
    seconds the symbol becomes a guest of a connection that works, by priority; the home goes on wanting it,
    and when it has been back for a while, and ticks, the guest's stay ends. An evacuation moves symbols off
    a connection that still works in the same way, and makes the guests' places their homes. So each move is
    made before it is broken.
    """

    def __init__(
        self,
        placement: Placement,
        feed: BrokerFeed,
        account: Account,
        demand: Demand,
        tokens: Mapping[Instrument, Token],
        observer: LaneObserver,
        journal: Journal,
        *,
        linger: float,
        grace: float,
        random: Random,
        dial: Dial,
        wall_clock: Callable[[], float],
    ) -> None:
        self.placement = placement
        self.connections: dict[str, Connection] = {}
        #: Symbols without a connection that carries them, though their home has been out for the grace.
        self.stranded: dict[Instrument, None] = {}
        self._feed = feed
        self._account = account
        self._demand = demand
        self._tokens = tokens
        self._observer = observer
        self._journal = journal
        self._linger = linger
        self._grace = grace
        self._random = random
        self._dial = dial
        self._wall_clock = wall_clock
        self._loop = asyncio.get_running_loop()
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._ending: list[Connection] = []
        #: Connections that have been out for longer than the grace.
        self._out: dict[str, None] = {}
        self._evacuations: dict[str, _Evacuation] = {}
        self._rotated: dict[str, float] = {}  # -> when the socket was opened that was emptied
        self._spare_since: float | None = None

    # -- demand -------------------------------------------------------------------------------------------

    @property
    def leaving(self) -> list[str]:
        """Connections that symbols are to be moved off, and that get new ones last."""
        return list(dict.fromkeys([*self._out, *self._evacuations]))

    def carry(self, instrument: Instrument) -> None:
        """Bring the connections that carry a wanted symbol into line with its mode."""
        for name in self.carriers(instrument):
            self._want(name, instrument)

    def drop(self, instrument: Instrument) -> None:
        """Carry the symbol no more; its places are free at once."""
        self._end_stay(instrument)
        name = self.placement.remove(instrument)
        self.stranded.pop(instrument, None)
        self.connections[name].drop(self._tokens[instrument])
        self._linger_if_empty(name)

    def forget(self, instrument: Instrument) -> None:
        """Let the connections drop the symbol's present token; its places are kept for another one."""
        for name in self.carriers(instrument):
            self.connections[name].drop(self._tokens[instrument])

    def carriers(self, instrument: Instrument) -> list[str]:
        """Return the connections that want the symbol: its home, and where it is a guest."""
        names = (self.placement.slot(instrument), self.placement.guest(instrument))
        return [name for name in names if name is not None]

    def state(self, instrument: Instrument) -> SymbolState:
        """Tell how far a wanted symbol has come on the connection that serves it best."""
        token = self._tokens[instrument]
        states = [self.connections[name].symbol_state(token) for name in self.carriers(instrument)]
        best = max(states, key=PROGRESS.index)
        # A home that is back is noticed at the next look; what it serves by then is degraded no more.
        stranded = instrument in self.stranded and best is SymbolState.ACCEPTED
        return SymbolState.DEGRADED if stranded else best

    def serving(self, instrument: Instrument) -> list[str]:
        """Return the live connections that have brought a tick of the symbol."""
        token = self._tokens[instrument]
        carriers = {name: self.connections[name] for name in self.carriers(instrument)}
        return [n for n, c in carriers.items() if c.live and c.symbol_state(token) is SymbolState.LIVE]

    def stats(self, name: str) -> dict[str, Any]:
        """Return one connection's numbers."""
        return {**self.connections[name].stats(), "guests": len(self.placement.guests(name))}

    def cut_off(self) -> list[Instrument]:
        """Return the symbols whose connection was lost or refused, and that no other one carries."""
        lost = [i for name, c in self.connections.items() if c.down for i in self.placement.homes(name)]
        return [i for i in lost if (g := self.placement.guest(i)) is None or not self.connections[g].live]

    def unserved(self) -> list[Instrument]:
        """Return the symbols that no live connection carries."""
        out = [name for name, c in self.connections.items() if not c.live]
        homes = [i for name in out for i in self.placement.homes(name)]
        return [i for i in homes if (g := self.placement.guest(i)) is None or not self.connections[g].live]

    def carried_by(self, instrument: Instrument) -> list[Carrier]:
        """Tell of each connection that wants the symbol."""
        token = self._tokens[instrument]
        home = self.placement.slot(instrument)
        return [
            Carrier(name, "home" if name == home else "guest", c.state, c.symbol_state(token), c.last_fault)
            for name, c in ((name, self.connections[name]) for name in self.carriers(instrument))
        ]

    # -- moving -------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Find places for the symbols whose connection is out or evacuated; cheap when there are none."""
        placement = self.placement
        if not (self._out or self._evacuations or self.stranded or placement.has_guests):
            return
        leaving = self.leaving
        staying = {name: c for name, c in self.connections.items() if name not in leaving}
        opens = any(evacuation.opens for evacuation in self._evacuations.values())
        seats = max(0, self._account.budget.cap - self._account.budget.sockets) if opens else 0
        plan = lodging(
            placement,
            leaving=leaving,
            hosts=[name for name, c in staying.items() if c.live and not c.fading],
            # A host that is dialling, or may be dead, keeps the guests that it has and gets no more.
            dialling=[name for name, c in staying.items() if not c.live or c.fading],
            extra=placement.new_slots()[:seats],
            priority=self._urgency,
        )
        for instrument in plan.evicted:
            self._end_stay(instrument, lost="its place was needed for another symbol")
        for name, instruments in plan.lodged.items():
            for instrument in instruments:
                placement.lodge(instrument, name)
                self._want(name, instrument)
                self._observer.carriers_changed(instrument)
            reason = f"guests, while {', '.join(leaving)} cannot serve them"
            self._journal.note(Event.MOVED, connection=name, symbols=len(instruments), reason=reason)
        self._note_stranded(plan.stranded)

    def evacuate(self, name: str, reason: str, *, opens: bool) -> None:
        """Move the symbols off a live connection, as far as there is room, and close it when it is empty.

        `opens` allows other connections to be opened for them.
        """
        self._evacuations[name] = _Evacuation(reason, self._loop.time(), opens)
        self.settle()

    def watch(self, now: float) -> None:
        """Move what is due to be moved; to be called every second or so."""
        for name, connection in self.connections.items():
            since = connection.out_since
            if since is None:
                self._out.pop(name, None)
            elif now - since >= self._grace:
                self._out[name] = None
        for name in [n for n in self._evacuations if not self.connections[n].live]:
            del self._evacuations[name]
        self._take_over(now)
        if not (self._evacuations or self._out):  # a guest could not be moved without a hole
            self._rotate_one(now)
        self.settle()
        for name, evacuation in list(self._evacuations.items()):
            if not self._pending(name) or now - evacuation.since >= EVACUATION_SECONDS:
                self._finish(name, evacuation)

    def _take_over(self, now: float) -> None:
        """End the stays of guests whose home serves them again, and make homes of places that are to stay."""
        home_again: dict[str, int] = {}
        for name in list(self.connections):
            for instrument in list(self.placement.guests(name)):
                home = self.placement.slot(instrument)
                assert home is not None  # a guest has a home
                token = self._tokens[instrument]
                host = self.connections[name]
                if home in self._evacuations:
                    if self._settled(name, instrument) and self._observer.overlaps(
                        instrument, host, self.connections[home]
                    ):
                        self.placement.adopt(instrument)
                        self.connections[home].drop(token)
                        self._observer.carriers_changed(instrument)
                elif (
                    self._settled(home, instrument)
                    and now - self.connections[home].opened_at >= PROVEN_SECONDS
                    and self._observer.overlaps(instrument, self.connections[home], host)
                ):
                    self._end_stay(instrument)
                    home_again[home] = home_again.get(home, 0) + 1
        for home, count in home_again.items():
            self._journal.note(Event.MOVED, connection=home, symbols=count, reason="home again")

    def _rotate_one(self, now: float) -> None:
        """Begin to empty the connection that is due: one at a time, and each socket once."""
        for name, connection in self.connections.items():
            if not connection.live or self._rotated.get(name) == connection.opened_at:
                continue
            reason = self._due(connection, now)
            if reason is not None:
                self._rotated[name] = connection.opened_at
                self.evacuate(name, reason, opens=True)
                return
        self._compact(now)

    def _due(self, connection: Connection, now: float) -> str | None:
        life = self._feed.limits.socket_life_seconds
        age = now - connection.opened_at
        if life and age >= life - min(MOST_AHEAD_SECONDS, life / 10):
            return f"the broker ends a socket after {life:g} s, and this one is {age:.0f} s old"
        if connection.version != self._account.login.version and not self._account.login.refused:
            return "there are newer credentials"
        return None

    def _compact(self, now: float) -> None:
        """Empty the smallest connection when the others have had room for it for as long as one lingers."""
        name = self.placement.spare() if all(c.live for c in self.connections.values()) else None
        if name is None:
            self._spare_since = None
        elif self._spare_since is None:
            self._spare_since = now
        elif now - self._spare_since >= self._linger:
            self._spare_since = None
            self.evacuate(name, "the other connections have room for all of it", opens=False)

    def _settled(self, name: str, instrument: Instrument) -> bool:
        """Tell whether a symbol is as well off on a connection as it will be, so that another may let go."""
        connection, token = self.connections[name], self._tokens[instrument]
        if not connection.live:
            return False
        state = connection.symbol_state(token)
        if state is SymbolState.SILENT:
            # It may be a quiet symbol; if it ticks elsewhere, it is this connection that is mute.
            return not self._observer.ticked_since(instrument, connection.sent_at(token))
        return state is SymbolState.LIVE

    def _pending(self, name: str) -> bool:
        """Tell whether symbols of a connection that is evacuated are still on their way."""
        return any(self.placement.guest(i) is not None for i in self.placement.homes(name))

    def _finish(self, name: str, evacuation: _Evacuation) -> None:
        del self._evacuations[name]
        left = len(self.placement.homes(name))
        reason = f"{evacuation.reason}; {left} symbols had no other place" if left else evacuation.reason
        self._journal.note(Event.ROTATED, connection=name, symbols=left, reason=reason)
        if not self.placement.carried(name):
            self._close_empty(name)

    def _urgency(self, instrument: Instrument) -> float:
        """Return the symbol's priority; what is only to be moved, and served where it is, comes last."""
        out = self.placement.slot(instrument) in self._out
        return self._demand.priority(instrument) if out else -math.inf

    def _note_stranded(self, instruments: list[Instrument]) -> None:
        # What is evacuated is still served where it is.
        stranded = dict.fromkeys(i for i in instruments if self.placement.slot(i) in self._out)
        if len(stranded) != len(self.stranded):
            reason = "no connection that works has room" if stranded else "every symbol has a place again"
            self._journal.note(Event.DEGRADED, symbols=len(stranded), reason=reason)
        fresh = [i for i in stranded if i not in self.stranded]
        self.stranded = stranded
        if fresh:
            self._observer.symbols_changed(fresh, SymbolState.DEGRADED)

    def _end_stay(self, instrument: Instrument, *, lost: str = "") -> None:
        """Carry a guest no more; `lost` is the reason when its stay ends before its home serves it again."""
        name = self.placement.guest(instrument)
        if name is not None:
            self.placement.leave(instrument)
            self.connections[name].drop(self._tokens[instrument])
            if lost:
                self._observer.symbols_lost([instrument], lost, self.connections[name])
            self._observer.carriers_changed(instrument)
            self._linger_if_empty(name)

    # -- connections --------------------------------------------------------------------------------------

    def _want(self, name: str, instrument: Instrument) -> None:
        timer = self._lingering.pop(name, None)
        if timer is not None:
            timer.cancel()
        connection = self.connections.get(name)
        if connection is None:
            connection = self.connections[name] = Connection(
                name,
                self._feed,
                self._account,
                self._observer,
                dial=self._dial,
                backoff=Backoff(self._random),
                wall_clock=self._wall_clock,
            )
        mode = self._demand.mode(instrument)
        assert mode is not None  # only what is wanted is carried
        connection.want(self._tokens[instrument], instrument, mode)

    def _linger_if_empty(self, name: str) -> None:
        if not self.placement.carried(name) and name not in self._lingering:
            self._lingering[name] = self._loop.call_later(self._linger, self._close_empty, name)

    def _close_empty(self, name: str) -> None:
        timer = self._lingering.pop(name, None)
        if timer is not None:
            timer.cancel()
        self.placement.close(name)
        self._out.pop(name, None)
        self._evacuations.pop(name, None)
        self._rotated.pop(name, None)
        connection = self.connections.pop(name)
        connection.end("it carries nothing")
        self._ending.append(connection)
        self._ending = [other for other in self._ending if not other.ended]

    def end(self) -> None:
        """Begin to close every connection; `ended` waits for it, and it goes on though nobody waits."""
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        for connection in self.connections.values():
            connection.end("closed by the pool")

    async def ended(self) -> None:
        """Return once every connection that was closed is gone; takes a few seconds at most."""
        for connection in (*self.connections.values(), *self._ending):
            await connection.gone()
