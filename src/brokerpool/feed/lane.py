"""One copy of the demand: which connection carries which symbol, also while connections are out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.feed.backoff import PROVEN_SECONDS
from brokerpool.feed.connection import Connection, ConnectionObserver
from brokerpool.feed.demand import Demand
from brokerpool.feed.dialling import DialBudget
from brokerpool.feed.explanation import Carrier
from brokerpool.feed.failover import lodging
from brokerpool.feed.fleet import Fleet
from brokerpool.feed.placement import Placement
from brokerpool.feed.rotation import Order, Rotation
from brokerpool.feed.states import PROGRESS, SymbolState
from brokerpool.instruments import Instrument, Token
from brokerpool.monitor.journal import Event, Journal

#: An evacuation that is not through after this long is given up; its connection goes on as it is.
EVACUATION_SECONDS = 60.0


class LaneObserver(ConnectionObserver, Protocol):
    """Whom a lane tells: the pool."""

    def carriers_changed(self, instrument: Instrument) -> None: ...
    def overlaps(self, instrument: Instrument, new: Connection, old: Connection) -> bool: ...
    def ticked_since(self, instrument: Instrument, at: float) -> bool: ...


class _Evacuation(NamedTuple):
    """A live connection that is being emptied; monotonic seconds."""

    order: Order
    since: float


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
        fleet: Fleet,
        rotation: Rotation,
        budget: DialBudget,
        demand: Demand,
        tokens: Mapping[Instrument, Token],
        observer: LaneObserver,
        journal: Journal,
        *,
        grace: float,
    ) -> None:
        self.placement = placement
        self.connections: Mapping[str, Connection] = fleet.connections
        #: Symbols without a connection that carries them, though their home has been out for the grace.
        self.stranded: dict[Instrument, None] = {}
        self._fleet = fleet
        self._rotation = rotation
        self._budget = budget
        self._demand = demand
        self._tokens = tokens
        self._observer = observer
        self._journal = journal
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        #: Connections that have been out for longer than the grace.
        self._out: dict[str, None] = {}
        self._evacuations: dict[str, _Evacuation] = {}

    # -- demand -------------------------------------------------------------------------------------------

    def evacuating(self, name: str) -> bool:
        """Tell whether a connection is being emptied."""
        return name in self._evacuations

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
        opens = any(evacuation.order.opens for evacuation in self._evacuations.values())
        seats = max(0, self._budget.cap - self._budget.sockets) if opens else 0
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

    def order_out(self, name: str, reason: str, *, opens: bool) -> int:
        """Evacuate a connection because an operator wants it, and return how many symbols are to move.

        Raises BrokerpoolError with CONNECTION_NOT_MOVABLE, and changes nothing, when the symbols could not
        all move without a hole.
        """
        placement, budget = self.placement, self._budget
        if not self.connections[name].live:
            raise _not_movable(
                f"{name} is {self.connections[name].state.value}, and only a live one is emptied."
            )
        if self._out or self._evacuations or placement.has_guests:
            busy = ", ".join(self.leaving) or "guests"
            raise _not_movable(f"Symbols are away from home or being moved already ({busy}).")
        hosts = [n for n, c in self.connections.items() if n != name and c.live and not c.fading]
        room = sum(placement.room(host) for host in hosts)
        if opens:
            seats = max(0, budget.cap - budget.sockets)
            room += sum(places for _, places in placement.new_slots()[:seats])
        symbols = len(placement.homes(name))
        if symbols > room:
            raise _not_movable(
                f"{name} carries {symbols} symbols, and other connections have room for {room}"
                f" ({budget.sockets} of {budget.cap} are open{'' if opens else '; none is opened for this'})."
            )
        self._journal.note(Event.ORDERED, connection=name, symbols=symbols, reason=reason)
        self._evacuate(Order(name, reason, opens))
        return symbols

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
            order = self._rotation.due(self.connections, now)
            if order is not None:
                self._evacuate(order)
        self.settle()
        for name, (order, since) in list(self._evacuations.items()):
            if not self._pending(name) or now - since >= EVACUATION_SECONDS:
                self._finish(order)

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

    def _evacuate(self, order: Order) -> None:
        """Move the symbols off a live connection, as far as there is room, and close it when it is empty."""
        self._evacuations[order.connection] = _Evacuation(order, self._loop.time())
        self.settle()

    def _pending(self, name: str) -> bool:
        """Tell whether symbols of a connection that is evacuated are still on their way."""
        return any(self.placement.guest(i) is not None for i in self.placement.homes(name))

    def _finish(self, order: Order) -> None:
        name, reason = order.connection, order.reason
        del self._evacuations[name]
        left = len(self.placement.homes(name))
        if left:
            reason += f"; {left} symbols had no other place"
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
        mode = self._demand.mode(instrument)
        assert mode is not None  # only what is wanted is carried
        self._fleet.take(name).want(self._tokens[instrument], instrument, mode)

    def _linger_if_empty(self, name: str) -> None:
        if not self.placement.carried(name):
            self._fleet.linger(name, self._close_empty)

    def _close_empty(self, name: str) -> None:
        self.placement.close(name)
        self._out.pop(name, None)
        self._evacuations.pop(name, None)
        self._rotation.forget(name)
        self._fleet.close(name, "it carries nothing")

    def end(self) -> None:
        """Begin to close every connection; `ended` waits for it, and it goes on though nobody waits."""
        self._fleet.end()

    async def ended(self) -> None:
        """Return once every connection that was closed is gone; takes a few seconds at most."""
        await self._fleet.ended()


def _not_movable(text: str) -> BrokerpoolError:
    return BrokerpoolError(text, code=ErrorCode.CONNECTION_NOT_MOVABLE)
