"""WebSocketPool: few broker sockets that carry what many owners want."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Self, TypeAlias

from brokerpool import transport
from brokerpool.brokers.base import BrokerFeed
from brokerpool.errors import (
    ErrorCode,
    NotLiveError,
    PoolClosedError,
    PoolExhaustedError,
    Refused,
    UnknownInstrumentError,
)
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.connection import Connection, ConnectionState, Dial, SymbolState
from brokerpool.feed.demand import Demand
from brokerpool.feed.placement import POLICIES, Placement, Plan
from brokerpool.feed.stream import PoolListener, TickStream
from brokerpool.instruments import Instrument, Token
from brokerpool.ticks import Mode, Tick

logger = logging.getLogger("brokerpool.feed")

#: One instrument, or its text as in "NSE:INFY", or several of either.
Instruments: TypeAlias = Instrument | str | Iterable[Instrument | str]

_NAMED_SYMBOLS = 5  # an error names this many symbols and counts the rest


@dataclass(frozen=True, slots=True)
class Subscribed:
    """What became of a subscribe: every instrument of the request stands in exactly one of the two."""

    accepted: tuple[Instrument, ...]
    refused: tuple[Refused, ...]


class WebSocketPool:
    """Spreads instruments over as few broker connections as possible and keeps those alive.

    `subscribe`, `unsubscribe` and `release` never wait for the network: they change what is wanted, and
    the connections bring the broker's side into line. All methods belong to the event loop on which the
    pool was made; `brokerpool.sync` has the blocking twin for other threads.
    """

    def __init__(
        self,
        feed: BrokerFeed,
        *,
        max_symbols: int = 1000,
        max_connections: int = 3,
        linger: float = 30.0,
        placement: str = "fill-first",
        random: Random | None = None,
        dial: Dial = transport.dial,
    ) -> None:
        """Make a pool for one account; nothing is dialled before the first subscribe.

        `linger` is how many seconds a connection stays open after its last symbol has gone; `placement`
        is "fill-first" (as few connections as possible) or "least-loaded" (evenly over all of them).
        Raises ValueError for another placement and for limits below 1.
        """
        self.name = feed.name
        #: The broker's side; to be read only.
        self.feed = feed
        self._demand = Demand()
        if placement not in POLICIES:
            raise ValueError(f"placement {placement!r} is none of {', '.join(POLICIES)}")
        self._placement = Placement(feed.name, max_symbols, max_connections, POLICIES[placement])
        self._connections: dict[str, Connection] = {}
        self._tokens: dict[Instrument, Token] = {}
        self._linger = linger
        self._lingering: dict[str, asyncio.TimerHandle] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._permits = asyncio.Semaphore(max_connections)
        self._random = random or Random()
        self._dial = dial
        self._listeners: tuple[PoolListener, ...] = ()
        self._streams: list[TickStream] = []
        self._closed = False

    # -- demand -------------------------------------------------------------------------------------------

    def subscribe(
        self,
        instruments: Instruments,
        mode: Mode = Mode.QUOTE,
        *,
        owner: str = "default",
        partial: bool = False,
    ) -> Subscribed:
        """Want the instruments in the mode, in the name of the owner.

        Without `partial` the batch is taken whole or not at all; with it, what fits is taken and the
        rest comes back in `refused`, each with its reason.

        Raises PoolExhaustedError or UnknownInstrumentError (nothing has changed then), PoolClosedError,
        and ValueError for a text that is not EXCHANGE:SYMBOL.
        """
        self._check_open()
        wanted = list(dict.fromkeys(_each(instruments)))
        listed = [i for i in wanted if self.feed.book.token(i) is not None]
        unknown = sorted(set(wanted).difference(listed)) if len(listed) < len(wanted) else []
        if unknown and not partial:
            raise UnknownInstrumentError(self._unknown_message(unknown), self._refused_unknown(unknown))
        plan = self._placement.plan(listed)
        if plan.unplaced and not partial:
            raise PoolExhaustedError(self._full_message(len(plan.unplaced)), self._refused_full(plan))
        self._placement.commit(plan)
        refused = {r.instrument: r for r in (*self._refused_unknown(unknown), *self._refused_full(plan))}
        accepted = tuple(i for i in wanted if i not in refused) if refused else tuple(wanted)
        for instrument in accepted:
            self._demand.want(owner, instrument, mode)
            self._apply(instrument)
        return Subscribed(accepted, tuple(refused.values()))

    def unsubscribe(
        self, instruments: Instruments, mode: Mode | None = None, *, owner: str = "default"
    ) -> tuple[Instrument, ...]:
        """Give up the mode (all modes by default) and return the instruments that the owner did hold.

        The place is free at once. Raises ValueError for a text that is not EXCHANGE:SYMBOL.
        """
        modes = tuple(Mode) if mode is None else (mode,)
        given_up = tuple(i for i in _each(instruments) if self._demand.release(owner, i, modes))
        for instrument in given_up:
            self._apply(instrument)
        return given_up

    def release(self, owner: str) -> int:
        """Give up everything that the owner holds and return how many instruments that were."""
        return len(self.unsubscribe(self._demand.instruments(owner), owner=owner))

    def plan(self, instruments: Iterable[Instrument]) -> Plan:
        """Tell where a batch would go, without changing anything."""
        return self._placement.plan(instruments)

    @property
    def demand(self) -> Demand:
        """Who wants what; to be read only."""
        return self._demand

    # -- what comes of it ---------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """True while at least one connection to the broker is live."""
        return any(c.state is ConnectionState.LIVE for c in self._connections.values())

    @property
    def symbols_down(self) -> int:
        """Symbols whose connection was lost or refused and is not open again yet."""
        return sum(len(self._placement.load(c.name)) for c in self._connections.values() if c.down)

    @property
    def depth_levels(self) -> int:
        """Levels of the order book on each side that the broker's feed carries."""
        return self.feed.limits.depth_levels

    def state(self, instrument: Instrument) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        name = self._placement.slot(instrument)
        return self._connections[name].symbol_state(self._tokens[instrument]) if name else None

    async def wait_live(self, instruments: Instruments, timeout: float = 10.0) -> None:
        """Return once every one of the instruments has had a tick on its present socket.

        Raises NotLiveError after `timeout` seconds, with the state of each that has had none.
        """
        waiting = {i for i in _each(instruments) if self.state(i) is not SymbolState.LIVE}
        watch = _FirstTicks(waiting)
        self.listen(watch)
        try:
            async with asyncio.timeout(timeout):
                await watch.done.wait()
        except TimeoutError:
            states = {i: (s.value if (s := self.state(i)) else "not wanted") for i in sorted(waiting)}
            text = f"{len(states)} symbols had no tick within {timeout:g} s. {self._load_message()}"
            raise NotLiveError(text, states) from None
        finally:
            self.unlisten(watch)

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of every tick and change from now on."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        self._listeners = tuple(known for known in self._listeners if known is not listener)

    @contextlib.contextmanager
    def ticks(self, size: int = 10_000) -> Iterator[TickStream]:
        """Give an asynchronous iterator over all ticks that holds up to `size` of them.

        Use as `with pool.ticks() as ticks: async for tick in ticks: ...`.
        """
        self._check_open()
        stream = TickStream(size)
        self.listen(stream)
        self._streams.append(stream)
        try:
            yield stream
        finally:
            self.unlisten(stream)
            self._streams.remove(stream)

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of the pool: the seed's three members first, then one entry per connection."""
        return {
            "websocket": {
                "connections": len(self._connections),
                "total_symbols": len(self._placement),
                "capacity_used": len(self._placement) / self._placement.capacity,
                "max_connections": self._placement.max_slots,
                "max_symbols_per_connection": self._placement.slot_size,
                "per_connection": [c.stats() for c in self._connections.values()],
            }
        }

    # -- credentials and end ------------------------------------------------------------------------------

    def renew(self) -> None:
        """Dial parked connections again, because the feed has new credentials."""
        for connection in self._connections.values():
            connection.renew()

    async def close(self) -> None:
        """Close every connection; takes a few seconds at most. A closed pool refuses new demand."""
        self._closed = True
        for timer in self._lingering.values():
            timer.cancel()
        self._lingering.clear()
        for stream in self._streams:
            stream.end()
        await asyncio.gather(*(c.close() for c in self._connections.values()), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<WebSocketPool {self.name}: {self._load_message()}>"

    # -- ConnectionObserver -------------------------------------------------------------------------------

    def ticked(self, ticks: list[Tick]) -> None:
        for listener in self._listeners:
            listener.ticked(ticks)

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        for listener in self._listeners:
            listener.symbols_changed(instruments, state)

    def connection_changed(self, connection: Connection, reason: str) -> None:
        logger.info("%s is %s%s", connection.name, connection.state.value, f": {reason}" if reason else "")
        for listener in self._listeners:
            listener.connection_changed(connection.name, connection.state.value, reason)

    # -- inside -------------------------------------------------------------------------------------------

    def _apply(self, instrument: Instrument) -> None:
        """Bring one instrument's connection into line with the demand for it."""
        mode = self._demand.mode(instrument)
        if mode is not None:
            name = self._placement.slot(instrument)
            assert name is not None  # placed before it was demanded
            token = self._tokens.get(instrument) or self.feed.book.token(instrument)
            assert token is not None  # looked up before it was placed
            self._tokens[instrument] = token
            self._connection(name).want(token, instrument, mode)
            return
        name = self._placement.remove(instrument)
        self._connections[name].drop(self._tokens.pop(instrument))
        if not self._placement.load(name):
            timer = asyncio.get_running_loop().call_later(self._linger, self._close_empty, name)
            self._lingering[name] = timer

    def _connection(self, name: str) -> Connection:
        timer = self._lingering.pop(name, None)
        if timer is not None:
            timer.cancel()
        connection = self._connections.get(name)
        if connection is None:
            backoff = Backoff(self._random)
            connection = Connection(
                name, self.feed, self, dial=self._dial, backoff=backoff, permits=self._permits
            )
            self._connections[name] = connection
        return connection

    def _close_empty(self, name: str) -> None:
        del self._lingering[name]
        self._placement.close(name)
        task = asyncio.create_task(self._connections.pop(name).close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _check_open(self) -> None:
        if self._closed:
            raise PoolClosedError(f"pool {self.name} is closed.")

    def _load_message(self) -> str:
        loads = ", ".join(f"{name} {load}" for name, load in self._placement.loads.items()) or "none"
        return (
            f"{len(self._placement)} of {self._placement.capacity} places are taken"
            f" ({self._placement.max_slots} connections of {self._placement.slot_size}; open: {loads})."
        )

    def _full_message(self, unplaced: int) -> str:
        return f"{unplaced} symbols do not fit and nothing was changed: {self._load_message()}"

    def _unknown_message(self, unknown: list[Instrument]) -> str:
        named = ", ".join(map(str, unknown[:_NAMED_SYMBOLS]))
        more = f" and {len(unknown) - _NAMED_SYMBOLS} more" if len(unknown) > _NAMED_SYMBOLS else ""
        return f"{self.name} does not list {named}{more}; nothing was changed."

    def _refused_unknown(self, unknown: Iterable[Instrument]) -> list[Refused]:
        code = ErrorCode.SYMBOL_NOT_FOUND
        return [Refused(i, code, f"{self.name} does not list {i}") for i in unknown]

    def _refused_full(self, plan: Plan) -> list[Refused]:
        if not plan.unplaced:
            return []
        message = f"no place left: {self._load_message()}"
        return [Refused(i, ErrorCode.MAX_CAPACITY_REACHED, message) for i in plan.unplaced]


class _FirstTicks(PoolListener):
    """Crosses off instruments as their first ticks come."""

    def __init__(self, waiting: set[Instrument]) -> None:
        self._waiting = waiting
        self.done = asyncio.Event()
        if not waiting:
            self.done.set()

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        if state is SymbolState.LIVE:
            self._waiting.difference_update(instruments)
            if not self._waiting:
                self.done.set()


def _each(instruments: Instruments) -> Iterator[Instrument]:
    if isinstance(instruments, str | Instrument):
        instruments = (instruments,)
    for instrument in instruments:
        yield Instrument.parse(instrument) if isinstance(instrument, str) else instrument
