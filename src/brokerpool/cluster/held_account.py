"""An account that this node holds: its upstream, what gateways want of it, and what they are told."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

from brokerpool.cluster.bus import Bus, Subscription
from brokerpool.cluster.demand_merge import DemandMerge, Refusals
from brokerpool.cluster.durations import Timing
from brokerpool.cluster.instrument_list_parts import BookParts
from brokerpool.cluster.messages import (
    FORMAT,
    BookRequest,
    Decoder,
    Explained,
    ExplainRequest,
    OperatorOrder,
    SliceAnswer,
    SnapshotRequest,
    Status,
    encode,
)
from brokerpool.cluster.shard_batches import Outlets, Told
from brokerpool.cluster.subjects import Subjects
from brokerpool.cluster.tick_codec import Kind, Row, stands_row
from brokerpool.errors import BrokerpoolError
from brokerpool.event_journal import Event, Journal
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

logger = logging.getLogger("brokerpool.cluster")

#: Of a symbol in one of these the broker knows nothing yet.
_NOT_ASKED = (None, SymbolState.ACCEPTED, SymbolState.DEGRADED)
#: Between two statuses at most.
_STATUS_SECONDS = 1.0
_order, _snapshot, _book = Decoder(OperatorOrder), Decoder(SnapshotRequest), Decoder(BookRequest)
_explained = Decoder(ExplainRequest)


class Surroundings(NamedTuple):
    """What all accounts of a node share."""

    bus: Bus
    node: str
    subjects: Subjects
    timing: Timing
    shards: int
    wall_clock: Callable[[], float]


class _JournalTold(Journal):
    """Tells gateways what the upstream's journal notes."""

    def __init__(self, held: HeldAccount) -> None:
        super().__init__(size=1)
        self._held = held

    def note(self, event: Event, *, connection: str = "", symbols: int = 0, reason: str = "") -> None:
        self._held.noted((Kind.JOURNAL.value, event.value, connection, symbols, reason))


class HeldAccount(PoolListener):
    """Merges each gateway as one owner, and tells all gateways what the upstream tells, in its order."""

    def __init__(self, account: str, epoch: int, upstream: Upstream, around: Surroundings) -> None:
        self.account = account
        self.epoch = epoch
        self.upstream = upstream
        self._around = around
        self._bus, self._subjects, self._timing = around.bus, around.subjects, around.timing
        self._loop = asyncio.get_running_loop()
        self._outlets = Outlets(epoch, around.shards)
        #: What gateways want of it.
        self.demand = DemandMerge(upstream, self)
        self._hearers: set[str] = set()
        self._statuses = 0
        self._status_due, self._status_at = True, 0.0
        self._closed = False
        #: While a predecessor tells how the account stands.
        self.silent = False
        self._flush: asyncio.Handle | None = None
        self._left_at = -math.inf
        self._books = BookParts()
        self._subscriptions: list[Subscription] = []
        upstream.listen(self)
        upstream.journal.pass_on(_JournalTold(self), account)
        self._subscriptions = [
            self._bus.serve(self._subjects.snapshot(account), self._tell_snapshot),
            self._bus.serve(self._subjects.book(account), self._tell_book),
            self._bus.serve(self._subjects.explain(account), self._explain),
            self._bus.subscribe(self._subjects.orders(account), self._ordered),
        ]

    # -- demand -------------------------------------------------------------------------------------------

    def left(self, gateway: str) -> None:
        """Give up all that a gateway held."""
        self.demand.left(gateway)
        self.hears_orders(gateway, on=False)

    def hears_orders(self, gateway: str, *, on: bool) -> None:
        """Keep a connection open for what it tells of orders while any gateway wants that."""
        before = bool(self._hearers)
        (self._hearers.add if on else self._hearers.discard)(gateway)
        if before != bool(self._hearers):
            self.upstream.hold_open(bool(self._hearers))

    def answer(self, gateway: str, number: int, version: int, refused: Refusals) -> None:
        told = tuple(
            (i.exchange, i.symbol, int(mode), why.code.name, why.message)
            for i, (mode, why) in refused.items()
        )
        answer = SliceAnswer(FORMAT, self.account, self.epoch, number, version, told)
        self._bus.publish(self._subjects.answers(gateway), encode(answer))

    def stand(self, instruments: Iterable[Instrument]) -> None:
        for instrument in instruments:
            told = self._outlets.told(instrument)
            self._outlets.stands(told, self._standing(told), self._now_ms())
        self._soon()

    def forget(self, instruments: Iterable[Instrument]) -> None:
        self._outlets.forget(instruments)

    # -- what the upstream tells --------------------------------------------------------------------------

    def ticked(self, ticks: list[Tick]) -> None:
        self._outlets.ticked(ticks, self._now_ms())
        if self._flush is None:
            self._soon()

    def filled(self, ticks: list[Tick]) -> None:
        self._outlets.filled(ticks, self._now_ms())
        self._soon()

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self._outlets.states(instruments, state, self._now_ms())
        self._soon()

    def refused(self, instruments: list[Instrument], reason: str) -> None:
        self._outlets.news(Kind.REFUSED, instruments, self._now_ms(), reason)
        self._soon()

    def delisted(self, instruments: list[Instrument]) -> None:
        self._outlets.news(Kind.DELISTED, instruments, self._now_ms())
        self._soon()

    def rerouted(self, instruments: list[Instrument], account: str, broker: str) -> None:
        self._outlets.news(Kind.REROUTED, instruments, self._now_ms(), account, broker)
        self._soon()

    def gaps_opened(self, gaps: list[Gap]) -> None:
        self._outlets.gaps(Kind.GAPS_OPENED, gaps, self._now_ms())
        self._soon()

    def gaps_closed(self, gaps: list[Gap]) -> None:
        self._outlets.gaps(Kind.GAPS_CLOSED, gaps, self._now_ms())
        self._soon()

    def order_updated(self, update: str | bytes) -> None:
        self._outlets.of_account((Kind.ORDER.value, update), self._now_ms())
        self._soon()

    def connection_changed(self, name: str, state: str, reason: str) -> None:
        self._outlets.of_account((Kind.CONNECTION.value, name, state, reason), self._now_ms())
        self._soon()
        self._status_due = True

    def noted(self, row: Row) -> None:
        """Tell an entry of the upstream's journal."""
        self._outlets.of_account(row, self._now_ms())
        self._soon()

    def _standing(self, told: Told) -> Row:
        upstream, instrument = self.upstream, told.instrument
        gap, state = upstream.gap(instrument), told.state
        account, broker = upstream.account(instrument), upstream.broker(instrument)
        return stands_row(told.number, told.received_ms, told.tick, gap, state, account, broker)

    # -- what leaves --------------------------------------------------------------------------------------

    def _soon(self) -> None:
        """Have all that is told in this turn leave behind it, or when as much time as is due has passed."""
        if self._flush is None and not self._closed:
            due = self._left_at + self._timing.flush
            if due <= self._loop.time():
                self._flush = self._loop.call_soon(self._leave)
            else:
                self._flush = self._loop.call_at(due, self._leave)

    def _leave(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        self._left_at = self._loop.time()
        if self._status_due and not self.silent:
            self._tell_status(self._loop.time())  # before the news, whose hearers look at its numbers
        publish, ticks = self._bus.publish, self._subjects.ticks
        for shard, batch in self._outlets.flush(self._loop.time()):
            publish(ticks(self.account, shard.name), encode(batch))

    def look(self) -> None:
        """Say that it lives, how it stands, and try what was refused; to be called several times a second."""
        now = self._loop.time()
        for shard, batch in self._outlets.signs_of_life(now, self._timing.keep_alive):
            self._bus.publish(self._subjects.ticks(self.account, shard.name), encode(batch))
        self.demand.retry(lambda: self._books.version(self.upstream.book))
        if (self._status_due or now - self._status_at >= _STATUS_SECONDS) and not self.silent:
            self._tell_status(now)

    def _tell_status(self, now: float) -> None:
        self._status_due, self._status_at = False, now
        self._statuses += 1
        upstream = self.upstream
        status = Status(
            FORMAT,
            self.account,
            self._around.node,
            self.epoch,
            self._statuses,
            upstream.name,
            upstream.depth_levels,
            self._books.version(upstream.book),
            upstream.connected,
            upstream.symbols_down,
            upstream.symbols_unserved,
            tuple(upstream.accounts()),
            upstream.get_pool_stats()["websocket"],
        )
        self._bus.publish(self._subjects.status(self.account), encode(status))

    # -- what is asked ------------------------------------------------------------------------------------

    async def _tell_snapshot(self, subject: str, payload: bytes) -> bytes:
        request = _snapshot(payload)
        if request is None or not 0 <= request.shard < self._around.shards:
            raise ValueError("no such shard")
        self._leave()
        standing = map(self._standing, self._outlets.all_of(request.shard))
        return encode(self._outlets.snapshot(request.shard, standing))

    async def _tell_book(self, subject: str, payload: bytes) -> bytes:
        request = _book(payload)
        if request is None:
            raise ValueError("no request for a part of a list")
        return encode(self._books.part(self.upstream.book, request))

    async def _explain(self, subject: str, payload: bytes) -> bytes:
        request = _explained(payload)
        if request is None:
            raise ValueError("no request for what is known of a symbol")
        found = self.upstream.inspection.explain(Instrument(*request.instrument))
        told = found.fits, found.state, found.carriers, found.usual_pause, found.route
        return encode(Explained(FORMAT, self._around.node, *told))

    def _ordered(self, subject: str, payload: bytes) -> None:
        request = _order(payload)
        orders = {"rotate": self.upstream.rotate, "drain": self.upstream.drain}
        if request is not None and request.order in orders:
            try:
                orders[request.order](request.connection)
            except BrokerpoolError as error:
                logger.warning("%s: an order to %s a connection: %s", self.account, request.order, error)

    @property
    def waiting(self) -> bool:
        """True while something that the upstream has told has not left."""
        return self._flush is not None

    # -- the end ------------------------------------------------------------------------------------------

    def sockets(self) -> int:
        """Return how many connections are or may be open at the broker."""
        return len(self.upstream.get_pool_stats()["websocket"]["per_connection"])

    def live(self) -> bool:
        """Tell whether the broker has been asked for all that is wanted, on connections that are open."""
        told, wanted = self._outlets.told, self.upstream.demand.instruments()
        return not self.upstream.symbols_unserved and all(told(i).state not in _NOT_ASKED for i in wanted)

    def settled(self) -> bool:
        """Tell whether every symbol that is wanted has ticked."""
        return all(self._outlets.told(i).tick is not None for i in self.upstream.demand.instruments())

    async def close(self, *, relieved: bool = False) -> None:
        """Tell no more and close every socket; begun at once, also when cancelled.

        `relieved` says that a successor carries all of it, so that others can go on with its ticks.
        """
        for subscription in self._subscriptions:
            subscription.close()
        self.upstream.unlisten(self)
        self._outlets.leave(relieved=relieved, received_ms=self._now_ms())
        self._leave()
        self._closed = True
        await self.upstream.close()

    def _now_ms(self) -> int:
        return int(self._around.wall_clock() * 1000)
