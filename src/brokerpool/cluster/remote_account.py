"""One account of the cluster as a gateway has it: its list, its status, what is wanted and what it tells."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from brokerpool.cluster import subjects as names
from brokerpool.cluster.account_events_view import NewsView
from brokerpool.cluster.bus import Bus, BusError, Subscription
from brokerpool.cluster.demand_answers import Asks
from brokerpool.cluster.demand_state import Wanted, WrittenDemand, hashed
from brokerpool.cluster.durations import Timing
from brokerpool.cluster.instrument_list_parts import RemoteBook, whole_list
from brokerpool.cluster.messages import (
    FORMAT,
    Batch,
    BookPart,
    BookRequest,
    Decoder,
    DemandSlice,
    Explained,
    ExplainRequest,
    SliceAnswer,
    Snapshot,
    SnapshotRequest,
    Status,
    encode,
)
from brokerpool.cluster.shard_receiver import Held, ShardReceiver
from brokerpool.cluster.subjects import NEWS, Subjects
from brokerpool.errors import ErrorCode, Refused
from brokerpool.event_journal import Journal
from brokerpool.feed.gaps import GapBook
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.symbol_explanation import AccountStatus
from brokerpool.instruments import Instrument, TokenBook

logger = logging.getLogger("brokerpool.cluster")

#: All that is wanted is written once more after so long: the store may have lost it, or an older write may
#: have come after a newer one.
_REWRITE_SECONDS = 30.0
_explained = Decoder(Explained)
_batch, _snapshot, _status, _book = Decoder(Batch), Decoder(Snapshot), Decoder(Status), Decoder(BookPart)


class Surroundings(NamedTuple):
    """What an account of a gateway is given; the listener and the gaps are its own."""

    bus: Bus
    gateway: str
    subjects: Subjects
    timing: Timing
    shards: int
    wall_clock: Callable[[], float]
    listener: PoolListener
    gaps: GapBook
    journal: Journal


class Observer(Protocol):
    """Whom an account tells: those that it is one of."""

    def use_lists(self) -> None:
        """Another list is in use."""
        ...


class _Shard:
    """A shard that is listened to."""

    def __init__(self, view: ShardReceiver) -> None:
        self.view = view
        self.subscription: Subscription | None = None
        self.asking: asyncio.Task[None] | None = None


class RemoteAccount:
    """Listens to the shards in which symbols are held, and writes what is wanted until it is answered."""

    def __init__(self, name: str, around: Surroundings, observer: Observer) -> None:
        self.name = name
        #: The last status, None before the first, and when it came in monotonic seconds.
        self.status: Status | None = None
        self.status_at = 0.0
        self.book: TokenBook = RemoteBook(takes_unlisted=False)
        #: The list's version, 0 before the first.
        self.book_version = 0
        self._around = around
        self._bus, self._timing, self._subjects = around.bus, around.timing, around.subjects
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._wanted = WrittenDemand(around.gateway)
        self._shards = [_Shard(ShardReceiver(around.listener, around.gaps)) for _ in range(around.shards)]
        self._news = NewsView(around.listener, around.journal)
        #: What it is asked for, and what it said to that; to be read only.
        self.asks = Asks()
        self._was_heard = False
        self._writing: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._unanswered_since = 0.0
        self._rewritten_at = self._loop.time()
        self._fetching: asyncio.Task[None] | None = None
        self._subscriptions = [
            self._bus.subscribe(self._subjects.status(name), self._told_status),
            self._bus.subscribe(self._subjects.ticks(name, NEWS), self._told_news),
        ]
        self._closed = False

    # -- what is wanted -----------------------------------------------------------------------------------

    def ask(self, instrument: Instrument, wanted: Wanted | None) -> None:
        """Want the instrument like this, or no more."""
        if wanted is None and not self.asks.forget(instrument):
            return
        number = self._wanted.want(instrument, wanted)
        if wanted is not None:
            self.asks.ask(instrument, wanted, self._wanted.version(number))
        self._changed.set()
        if self._writing is None and not self._closed:
            self._writing = asyncio.create_task(self._keep_writing(), name=f"brokerpool demand {self.name}")

    def answered(self, answer: SliceAnswer) -> list[Instrument]:
        """Take an answer to a slice; return the instruments of which it says something new."""
        self._wanted.answered(answer.number, answer.version)
        refused: dict[Instrument, Refused] = {}
        for exchange, symbol, _, code, message in answer.refused:
            instrument = Instrument(exchange, symbol)
            told = ErrorCode.__members__.get(code, ErrorCode.MAX_CAPACITY_REACHED)
            refused[instrument] = Refused(instrument, told, message)
        return self.asks.answered(answer.version, self._wanted.in_slice(answer.number), refused)

    def carry(self, instrument: Instrument) -> None:
        """Listen to what it brings of the instrument."""
        shard = self._shards[hashed(instrument, len(self._shards))]
        shard.view.hold(instrument)
        if shard.subscription is None:
            self._listen(shard)

    def drop(self, instrument: Instrument) -> None:
        """Listen to nothing of the instrument any more, and close its gap."""
        shard = self._shards[hashed(instrument, len(self._shards))]
        shard.view.drop(instrument, int(self._around.wall_clock() * 1000))
        if not shard.view.held and shard.subscription is not None:
            shard.subscription.close()
            shard.subscription = None
            shard.view.leave()

    def held(self, instrument: Instrument) -> Held | None:
        """Return what is known of a symbol that this account is to carry."""
        return self._shards[hashed(instrument, len(self._shards))].view.held.get(instrument)

    async def explained(self, instrument: Instrument) -> Explained | None:
        """Return what its holder knows of an instrument; None where it does not answer in time."""
        request = encode(ExplainRequest(FORMAT, (instrument.exchange, instrument.symbol)))
        try:
            return _explained(
                await self._bus.request(self._subjects.explain(self.name), request, self._timing.request)
            )
        except BusError:
            return None

    def all_held(self) -> Iterator[Held]:
        """Give all symbols that this account is to carry."""
        for shard in self._shards:
            yield from shard.view.held.values()

    async def _keep_writing(self) -> None:
        """Write what has changed at once, and what nobody answers again and again."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timing.request):
                    await self._changed.wait()
            self._changed.clear()
            if self._loop.time() - self._rewritten_at >= _REWRITE_SECONDS:
                self.write_everything()
            slices = list(self._wanted.changed())
            if not slices and self._loop.time() - self._unanswered_since >= self._timing.request:
                slices = list(self._wanted.unanswered())
            if slices:
                self._unanswered_since = self._loop.time()
            for slice_ in slices:
                with contextlib.suppress(BusError):
                    await self._put(slice_)

    async def _put(self, slice_: DemandSlice) -> None:
        key = names.demand_key(self.name, self._around.gateway, slice_.number)
        await self._bus.store(names.DEMAND).put(key, encode(slice_))

    # -- what it tells ------------------------------------------------------------------------------------

    def _listen(self, shard: _Shard) -> None:
        def heard(subject: str, payload: bytes) -> None:
            batch = _batch(payload)
            if batch is not None and shard.subscription is not None:
                shard.view.heard(batch, self._loop.time())
                if shard.view.lacks_snapshot:
                    self._ask(shard)

        subject = self._subjects.ticks(self.name, self._shards.index(shard))
        shard.subscription = self._bus.subscribe(subject, heard)
        self._ask(shard)

    def _told_news(self, subject: str, payload: bytes) -> None:
        batch = _batch(payload)
        if batch is not None:
            self._news.heard(batch, self._loop.time())

    def _told_status(self, subject: str, payload: bytes) -> None:
        status, before = _status(payload), self.status
        if status is None:
            return
        if before is not None and (status.epoch, status.number) <= (before.epoch, before.number):
            return
        self.status, self.status_at = status, self._loop.time()
        if status.book != self.book_version and self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch_book(), name=f"brokerpool list {self.name}")
        if before is None or before.epoch != status.epoch:
            self.write_everything()
        connections = status.statistics.get("per_connection", ())
        self._news.stand(status.epoch, {c["name"]: c["state"] for c in connections})
        if before is None or before.symbols_down != status.symbols_down:
            self._news.repeat()

    def write_everything(self) -> None:
        """Write all that is wanted once more, for whoever may not have it."""
        self._wanted.everything()
        self._rewritten_at = self._loop.time()
        self._unanswered_since = -self._timing.request
        self._changed.set()

    def doubt(self, reason: str) -> None:
        """Open gaps of all symbols held here, and ask how they stand."""
        for shard in self._shards:
            shard.view.doubt(reason)

    def look(self, now: float) -> None:
        """Open gaps of shards that are silent, and ask for snapshots that are lacking."""
        self._news.look(now, self._timing.dark)
        if self.heard != self._was_heard:
            self._was_heard = not self._was_heard
            self._news.repeat()
        for shard in self._shards:
            if shard.subscription is not None:
                shard.view.look(now, self._timing.dark)
                if shard.view.lacks_snapshot:
                    self._ask(shard)

    def _ask(self, shard: _Shard) -> None:
        if shard.asking is None and not self._closed:
            shard.asking = asyncio.create_task(self._snapshot(shard), name=f"brokerpool snapshot {self.name}")

    async def _snapshot(self, shard: _Shard) -> None:
        request = encode(SnapshotRequest(FORMAT, self._shards.index(shard)))
        try:
            while shard.view.lacks_snapshot and shard.subscription is not None:
                asked_at = self._loop.time()
                with contextlib.suppress(BusError):
                    answer = await self._bus.request(
                        self._subjects.snapshot(self.name), request, self._timing.request
                    )
                    if (snapshot := _snapshot(answer)) is not None:
                        shard.view.snapshot(snapshot, self._loop.time())
                if shard.view.lacks_snapshot:
                    await asyncio.sleep(max(_SHORTEST, asked_at + _AGAIN - self._loop.time()))
        finally:
            shard.asking = None

    # -- how it stands ------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        """The newest epoch of its feed node that was heard of, 0 before the first."""
        return self.status.epoch if self.status is not None else 0

    @property
    def heard(self) -> bool:
        """True while its feed node says how it stands."""
        return self.status is not None and self._loop.time() - self.status_at < 2 * self._timing.dark

    @property
    def connected(self) -> bool:
        """True while its feed node is heard and has a live connection to the broker."""
        return self.status is not None and self.heard and self.status.connected

    @property
    def broker(self) -> str:
        """The broker's name as clients see it; the account's own before the first status."""
        return self.status.broker if self.status is not None else self.name

    @property
    def depth_levels(self) -> int:
        """Levels of the order book on each side."""
        return self.status.depth_levels if self.status is not None else 0

    @property
    def dark(self) -> int:
        """Symbols that it is to carry and whose gap is open."""
        return len(self._around.gaps)

    @property
    def symbols_down(self) -> int:
        """Symbols wanted here that are down: all where its node is not heard, or serves none."""
        held = list(self.all_held())
        if self.status is None or not self.heard:
            return len(held)
        down, every = self.status.symbols_down, sum(a.symbols_home for a in self.status.accounts)
        return len(held) if down >= every > 0 else min(down, sum(symbol.dark for symbol in held))

    @property
    def symbols_unserved(self) -> int:
        """Symbols wanted here that no live connection carries, as far as is known here."""
        held = sum(1 for _ in self.all_held())
        return held if self.status is None or not self.heard else min(held, self.status.symbols_unserved)

    def statuses(self) -> list[AccountStatus]:
        """Return how its accounts stood at last; none is connected while its node is not heard."""
        if self.status is None:
            return []
        return [s._replace(connected=s.connected and self.heard) for s in self.status.accounts]

    def statistics(self) -> dict[str, Any]:
        """Return its numbers, none before the first; of connections that nobody tells of nothing is known."""
        if self.status is None:
            return {}
        told = self.status.statistics
        return told if self.heard else {**told, "connections": 0, "per_connection": []}

    def hearing(self) -> dict[str, Any]:
        """Return how its shards are heard; see `monitor.metric_vocabulary`."""
        now, now_ms = self._loop.time(), self._around.wall_clock() * 1000
        views = [shard.view for shard in self._shards if shard.subscription is not None]
        lags = [lag for view in views if (lag := view.lag(now, now_ms)) is not None]
        return {
            "heard": len(views),
            "dark": sum(view.lacks_snapshot for view in views),
            "missing": sum(shard.view.missing for shard in self._shards),
            "doubled": sum(shard.view.doubled for shard in self._shards),
            "silent_seconds": round(max((view.silence(now) for view in views), default=0.0), 3),
            "lag_seconds": round(max(lags), 4) if lags else None,
        }

    # -- the list -----------------------------------------------------------------------------------------

    async def _fetch_book(self) -> None:
        try:
            while self.status is not None and self.status.book != self.book_version:
                with contextlib.suppress(BusError):
                    if (found := await whole_list(self._book_part)) is not None:
                        self.book_version, self.book = found
                        self._observer.use_lists()
                await asyncio.sleep(_AGAIN)
        finally:
            self._fetching = None

    async def _book_part(self, version: int, number: int) -> BookPart:
        request = encode(BookRequest(FORMAT, version, number))
        answer = await self._bus.request(self._subjects.book(self.name), request, self._timing.request)
        part = _book(answer)
        if part is None:
            raise BusError(f"the answer with a part of the list of {self.name} cannot be read.")
        return part

    # -- the end ------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Listen no more and leave no task behind."""
        self._closed = True
        for subscription in self._subscriptions:
            subscription.close()
        for shard in self._shards:
            if shard.subscription is not None:
                shard.subscription.close()
                shard.subscription = None
            if shard.asking is not None:
                shard.asking.cancel()
        for task in (self._writing, self._fetching):
            if task is not None:
                task.cancel()

    async def withdraw(self) -> None:
        """Delete all that was wanted. Raises BusError."""
        store = self._bus.store(names.DEMAND)
        for number in self._wanted.numbers():
            await store.delete(names.demand_key(self.name, self._around.gateway, number))


#: Between two questions that were not answered as wanted.
_AGAIN = 0.25
_SHORTEST = 0.01
