"""One copy of the demand: which connection carries which symbol, also while connections are out."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from brokerpool import argument_checks
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Event, Journal
from brokerpool.feed import refusals
from brokerpool.feed.batch_plan import Plan
from brokerpool.feed.connection import Connection
from brokerpool.feed.connection_rotation import Order, Rotation
from brokerpool.feed.connections import Connections
from brokerpool.feed.demand import Demand
from brokerpool.feed.dial_permits import DialBudget
from brokerpool.feed.lifecycle_states import PROGRESS, SymbolState
from brokerpool.feed.placement import Placement
from brokerpool.feed.routing_table import Service
from brokerpool.feed.symbol_explanation import Carrier
from brokerpool.feed.symbol_moves import Evacuation, Leaving, Moves, MovesObserver
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode

#: An evacuation that is not through after this long is given up; its connection goes on as it is.
EVACUATION_SECONDS = 60.0
#: For so many turns of the loop a look waits for the moves to be made: enough for 10,000 symbols.
_TURNS = 200


class Replica:
    """Keeps every wanted symbol on a connection that works, as long as there is room.

    A symbol's home is the connection that the placement gave it. When that is out for longer than `grace`
    seconds the symbol is hosted by a connection that works, by priority; the home goes on wanting it, and
    when it has been back for a while, and ticks, the hosted symbol's stay ends. An evacuation moves symbols
    off a connection that still works in the same way, and makes the places of hosted symbols their homes. So
    each move is made before it is broken.

    While it is held open the last connection that works is kept though it is empty, until another one has
    taken its place.
    """

    def __init__(
        self,
        placement: Placement,
        sockets: Connections,
        rotation: Rotation,
        budget: DialBudget,
        demand: Demand,
        tokens: Mapping[Instrument, Token],
        observer: MovesObserver,
        journal: Journal,
        *,
        grace: float,
    ) -> None:
        self.placement = placement
        self._by_mode = placement.rule.by_mode
        self.connections: Mapping[str, Connection] = sockets.connections
        self._sockets = sockets
        self._rotation = rotation
        self._budget = budget
        self._demand = demand
        self._tokens = tokens
        self._journal = journal
        self._grace = grace
        self._loop = asyncio.get_running_loop()
        self._leaving = Leaving()
        self._held = False
        self._moves = Moves(
            placement,
            sockets,
            self._leaving,
            budget,
            demand,
            tokens,
            observer,
            journal,
            emptied=self._linger_if_empty,
        )
        #: Symbols without a connection that carries them, though their home has been out for the grace.
        self.unplaced: Mapping[Instrument, None] = self._moves.unplaced

    # -- demand -------------------------------------------------------------------------------------------

    def evacuating(self, name: str) -> bool:
        """Tell whether a connection is being emptied."""
        return name in self._leaving.evacuations

    def plan(self, instruments: list[Instrument], mode: Mode = Mode.QUOTE) -> Plan:
        """Tell where a batch would go, without changing anything."""
        return self.placement.plan(instruments, self._leaving, self._moves.promised(mode), mode)

    def commit(self, plan: Plan) -> None:
        """Give places to a batch that was planned since the last change, and that is wanted by now."""
        self.placement.commit(plan)
        for name in self._raise(plan) if self._by_mode else plan.assignments:
            if self.placement.overfull(name):
                self._moves.crowded(name)

    def _raise(self, plan: Plan) -> Iterable[str]:
        """Move what rises, and return the connections whose load has changed."""
        for instrument, name in plan.moved.items():
            self._moves.rehome(instrument, name, plan.mode)
        for name, count in Counter(plan.moved.values()).items():
            reason = "their modes rise, and their connections have no room for that"
            self._journal.note(Event.MOVED, connection=name, symbols=count, reason=reason)
        raised = filter(None, map(self.placement.slot, plan.raised))
        changed = dict.fromkeys((*plan.assignments, *plan.moved.values(), *raised))
        for name in changed:
            self._settle(name)
        return changed

    def carry(self, instrument: Instrument) -> None:
        """Bring the connections that carry a wanted symbol into line with its mode and priority."""
        mode = self._demand.mode(instrument)
        assert mode is not None  # only what is wanted is carried
        carriers = self.carriers(instrument)
        for name in carriers:
            carried = self.placement.adapt(instrument, name, mode) if self._by_mode else mode
            self._sockets.take(name).want(self._tokens[instrument], instrument, carried)
        if self._by_mode:
            for name in carriers:
                self._settle(name)
        if self._leaving or self.placement.has_hosted:
            self._moves.note(instrument)
            self._moves.disturbed()

    def drop(self, instrument: Instrument) -> None:
        """Carry the symbol no more; its places are free at once."""
        carriers = self.carriers(instrument) if self._by_mode else ()
        self._moves.drop(instrument)
        for name in carriers:
            self._settle(name)

    def _settle(self, name: str) -> None:
        """Lower the modes on a connection that could not be lowered before."""
        for instrument, mode in self.placement.settle(name).items():
            self.connections[name].want(self._tokens[instrument], instrument, mode)

    def forget(self, instrument: Instrument) -> None:
        """Let the connections drop the symbol's present token; its places are kept for another one."""
        for name in self.carriers(instrument):
            self.connections[name].drop(self._tokens[instrument])

    def carriers(self, instrument: Instrument) -> list[str]:
        """Return the connections that want the symbol: its home, and where it is hosted."""
        names = (self.placement.slot(instrument), self.placement.host(instrument))
        return [name for name in names if name is not None]

    def state(self, instrument: Instrument) -> SymbolState:
        """Tell how far a wanted symbol has come on the connection that serves it best."""
        token = self._tokens[instrument]
        states = [self.connections[name].symbol_state(token) for name in self.carriers(instrument)]
        best = max(states, key=PROGRESS.index)
        # A home that is back is noticed at the next look; what it serves by then is degraded no more.
        unplaced = instrument in self.unplaced and best is SymbolState.ACCEPTED
        return SymbolState.DEGRADED if unplaced else best

    def serving(self, instrument: Instrument) -> list[str]:
        """Return the live connections that have brought a tick of the symbol."""
        serving = []
        for name in (self.placement.slot(instrument), self.placement.host(instrument)):
            # Asked for every symbol of a connection that is lost: most answers end at the first question.
            if name is None or not (connection := self.connections[name]).live:
                continue
            if connection.symbol_state(self._tokens[instrument]) is SymbolState.LIVE:
                serving.append(name)
        return serving

    def service(self, instrument: Instrument) -> Service:
        """Tell how the connections serve the symbol; one that is not carried is out."""
        best = Service.OUT
        for name in self.carriers(instrument):
            connection = self.connections[name]
            if not connection.live:
                continue
            if connection.symbol_state(self._tokens[instrument]) is SymbolState.REFUSED:
                best = Service.REFUSED if best is Service.OUT else best
            elif connection.data_at > connection.opened_at:
                return Service.SERVED
            else:
                best = Service.OPENED
        return best

    def stats(self, name: str) -> dict[str, Any]:
        """Return one connection's numbers."""
        return {**self.connections[name].stats(), "hosted": len(self.placement.hosted(name))}

    def without(self, fails: Callable[[Connection], bool]) -> int:
        """Return how many symbols have a home that fails, and no live connection for another place."""
        homes = [name for name, connection in self.connections.items() if fails(connection)]
        live = [name for name, connection in self.connections.items() if connection.live]
        served = sum(self.placement.away(home, host) for home in homes for host in live)
        return sum(len(self.placement.homes(home)) for home in homes) - served

    def lacks(self, instrument: Instrument, fails: Callable[[Connection], bool]) -> bool:
        """Tell whether a symbol is one of these."""
        home, host = self.placement.slot(instrument), self.placement.host(instrument)
        if home is None or not fails(self.connections[home]):
            return False
        return host is None or not self.connections[host].live

    def carried_by(self, instrument: Instrument) -> list[Carrier]:
        """Tell of each connection that wants the symbol."""
        token = self._tokens[instrument]
        home = self.placement.slot(instrument)
        return [
            Carrier(
                name,
                "home" if name == home else "hosted",
                c.state,
                c.symbol_state(token),
                c.refusal(token) or c.last_fault,
            )
            for name, c in ((name, self.connections[name]) for name in self.carriers(instrument))
        ]

    # -- moving -------------------------------------------------------------------------------------------

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
        if self._needed(name) and not (opens and self._may_open()):
            raise _not_movable(
                f"{name} is held open, no other connection is live, and none may be opened for it"
                f" ({budget.sockets} of {budget.cap} are open)."
            )
        if self._leaving or placement.has_hosted:
            busy = ", ".join(self._leaving.names()) or "hosted"
            raise _not_movable(f"Symbols are away from home or being moved already ({busy}).")
        hosts = [n for n, c in self.connections.items() if n != name and c.live and not c.fading]
        room = placement.room_for(name, hosts, max(0, budget.cap - budget.sockets) if opens else 0)
        symbols = len(placement.homes(name))
        if symbols > room:
            raise _not_movable(
                f"{name} carries {symbols} symbols, and other connections have room for {room}"
                f" ({budget.sockets} of {budget.cap} are open{'' if opens else '; none is opened for this'})."
            )
        self._journal.note(Event.ORDERED, connection=name, symbols=symbols, reason=reason)
        self._evacuate(Order(name, reason, opens))
        return symbols

    def watch(self, now: float) -> Iterator[None]:
        """Move what is due to be moved, a share at each step; to be called every second or so."""
        leaving = self._leaving
        for name, connection in self.connections.items():
            since = connection.out_since
            out = since is not None and now - since >= self._grace
            if out is not (name in leaving.out) and (out or since is None):
                if out:
                    leaving.out[name] = None
                else:
                    del leaving.out[name]
                self._moves.reconsider(name)
        for name in [n for n in leaving.evacuations if not self.connections[n].live]:
            del leaving.evacuations[name]
            self._moves.reconsider(name)
        yield from self._moves.take_over(now)
        for name in list(self.connections) if self._by_mode else ():
            self._settle(name)
        if not leaving:  # a hosted symbol could not be moved without a hole
            order = self._rotation.due(self.connections, now)
            if order is not None:
                self._evacuate(order)
        self._moves.disturbed()
        for _ in range(_TURNS):
            if not self._moves.going_on:
                break
            yield
        for name, (order, since) in list(leaving.evacuations.items()):
            goes_on = self.placement.away(name) or self._awaits_another(name)
            if not goes_on or now - since >= EVACUATION_SECONDS:
                self._finish(order)
        if self._held:
            self._let_empty_linger()

    def _evacuate(self, order: Order) -> None:
        """Move the symbols off a live connection, as far as there is room, and close it when it is empty."""
        name = order.connection
        if order.opens and self._needed(name) and not self.placement.carried(name) and self._may_open():
            self._open()
        self._leaving.evacuations[name] = Evacuation(order, self._loop.time())
        self._moves.reconsider(name)

    def _finish(self, order: Order) -> None:
        name, reason = order.connection, order.reason
        del self._leaving.evacuations[name]
        self._moves.reconsider(name)
        left, needed = len(self.placement.homes(name)), self._needed(name)
        if left:
            reason += f"; {left} symbols had no other place"
        elif needed:
            reason += "; it is held open, and no other connection is live"
        self._journal.note(Event.ROTATED, connection=name, symbols=left, reason=reason)
        if not (needed or self.placement.carried(name)):
            self._close_empty(name)

    # -- connections --------------------------------------------------------------------------------------

    def hold_open(self, on: bool) -> None:
        """Keep one connection open from now on, also while nothing is carried, or let it linger and close."""
        self._held = on
        if on and not self.connections:
            self._open()
        self._let_empty_linger()

    def _open(self) -> None:
        """Open a connection that carries nothing yet."""
        name = self.placement.new_slots()[0][0]
        self.placement.open(name)
        self._sockets.take(name)

    def _may_open(self) -> bool:
        return bool(self.placement.new_slots()) and self._budget.sockets < self._budget.cap

    def _needed(self, name: str) -> bool:
        """Tell whether a connection is held open, for want of another one that is live and will stay."""
        others = (n for n, c in self.connections.items() if n != name and c.live)
        return self._held and all(other in self._leaving for other in others)

    def _awaits_another(self, name: str) -> bool:
        """Tell whether an empty connection may be closed only once another one, which there is, is live."""
        return self._needed(name) and not self.placement.carried(name) and len(self.connections) > 1

    def _let_empty_linger(self) -> None:
        for name in self.connections:
            self._linger_if_empty(name)

    def _linger_if_empty(self, name: str) -> None:
        if not self.placement.carried(name):
            self._sockets.linger(name, self._lingered)

    def _lingered(self, name: str) -> None:
        if self._needed(name):
            self._sockets.take(name)  # it lingers again at the next look, by when another one may be live
        else:
            self._close_empty(name)

    def _close_empty(self, name: str) -> None:
        self._moves.close(name)
        self._leaving.forget(name)
        self._rotation.forget(name)
        self._sockets.close(name, "it carries nothing")

    def end(self) -> None:
        """Begin to close every connection; `ended` waits for it, and it goes on though nobody waits."""
        self._moves.end()
        self._sockets.end()

    async def ended(self) -> None:
        """Return once every connection that was closed is gone; takes a few seconds at most."""
        await self._sockets.ended()


def planned(
    replicas: Sequence[Replica], instruments: list[Instrument], mode: Mode
) -> tuple[list[Plan], list[Instrument]]:
    """Plan a batch for every replica; return the plans, and what not all of them have room for.

    What one refuses all refuse, and a plan holds for its whole batch only: the others plan again without it.
    """
    plans = [replica.plan(instruments, mode) for replica in replicas]
    unplaced = plans[0].unplaced
    if len(plans) == 1 or all(plan.unplaced == unplaced for plan in plans):
        return plans, unplaced
    refused = {i for plan in plans for i in plan.unplaced}
    plans, more = planned(replicas, [i for i in instruments if i not in refused], mode)
    return plans, [i for i in instruments if i in refused.union(more)]


def holding(replicas: Sequence[Replica], name: str) -> Replica:
    """Return the one that has the connection of this name. Raises BrokerpoolError with CONNECTION_UNKNOWN."""
    argument_checks.text("name", name)
    found = next((replica for replica in replicas if name in replica.connections), None)
    if found is None:
        raise refusals.no_connection(name for replica in replicas for name in replica.connections)
    return found


def _not_movable(text: str) -> BrokerpoolError:
    return BrokerpoolError(text, code=ErrorCode.CONNECTION_NOT_MOVABLE)
