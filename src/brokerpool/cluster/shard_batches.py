"""What is told of an account's symbols, shard by shard and in numbered batches; pure, told when to flush."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TypeVar

from brokerpool.cluster.demand_state import hashed
from brokerpool.cluster.messages import FORMAT, Batch, Snapshot
from brokerpool.cluster.subjects import NEWS
from brokerpool.cluster.tick_codec import Kind, Row, gap_row, numbers_row, tick_row
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

T = TypeVar("T")


class Told:
    """One instrument: its number, and the last that was told of it."""

    __slots__ = ("instrument", "number", "received_ms", "shard", "state", "tick")

    def __init__(self, instrument: Instrument, number: int, shard: ShardOutlet) -> None:
        self.instrument = instrument
        self.number = number
        self.shard = shard
        self.forget()

    def forget(self) -> None:
        """Take it for an instrument of which nothing was told: nobody wants it, and its values grow old."""
        self.tick: Tick | None = None
        self.received_ms = 0
        self.state: SymbolState | None = None


class ShardOutlet:
    """The rows of one shard that wait, and how many batches have left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sequence = 0
        self.rows: list[Row] = []
        self.names: list[tuple[int, str, str]] = []
        self.received_ms = 0
        #: Monotonic seconds at which the last batch or sign of life left.
        self.left_at = 0.0


class Outlets:
    """All shards of one account in one epoch; times of receipt are epoch milliseconds."""

    def __init__(self, epoch: int, shards: int) -> None:
        self._epoch = epoch
        self._shards = [ShardOutlet(str(number)) for number in range(shards)]
        #: What is no symbol's: connections and orders.
        self._account = ShardOutlet(NEWS)
        self._told: dict[Instrument, Told] = {}
        self._waiting: dict[str, ShardOutlet] = {}

    def told(self, instrument: Instrument) -> Told:
        """Return what was told of an instrument; a new one is introduced with the next batch."""
        told = self._told.get(instrument)
        if told is None:
            shard = self._shards[hashed(instrument, len(self._shards))]
            told = self._told[instrument] = Told(instrument, len(self._told), shard)
            shard.names.append((told.number, instrument.exchange, instrument.symbol))
        return told

    # -- rows ---------------------------------------------------------------------------------------------

    def ticked(self, ticks: Iterable[Tick], received_ms: int) -> None:
        """Tell ticks that were received at this time."""
        known, waiting = self._told, self._waiting
        for tick in ticks:
            told = known.get(tick.instrument)
            if told is None:
                told = self.told(tick.instrument)
            told.tick, told.received_ms = tick, received_ms
            shard = told.shard
            if not shard.rows:
                shard.received_ms = received_ms
                waiting[shard.name] = shard
            shard.rows.append(tick_row(told.number, tick))

    def filled(self, ticks: Iterable[Tick], received_ms: int) -> None:
        """Tell ticks from another source than the feed."""
        for shard, some in self._by_shard((tick.instrument, tick) for tick in ticks):
            rows = [tick_row(told.number, tick) for told, tick in some]
            for told, tick in some:
                told.tick, told.received_ms = tick, received_ms
            self._add(shard, (Kind.FILLED.value, rows), received_ms)

    def states(self, instruments: Iterable[Instrument], state: SymbolState, received_ms: int) -> None:
        """Tell the state that these have reached."""
        for instrument in instruments:
            self.told(instrument).state = state
        self.news(Kind.STATE, instruments, received_ms, state.value)

    def news(self, kind: Kind, instruments: Iterable[Instrument], received_ms: int, *words: str) -> None:
        """Tell the same news of some instruments."""
        for shard, some in self._by_shard((instrument, None) for instrument in instruments):
            self._add(shard, numbers_row(kind, [told.number for told, _ in some], *words), received_ms)

    def gaps(self, kind: Kind, gaps: Iterable[Gap], received_ms: int) -> None:
        """Tell gaps that were opened or closed."""
        for shard, some in self._by_shard((gap.instrument, gap) for gap in gaps):
            self._add(shard, (kind.value, [gap_row(told.number, gap) for told, gap in some]), received_ms)

    def stands(self, told: Told, row: Row, received_ms: int) -> None:
        """Tell how a symbol stands, for a gateway that has just begun to want it."""
        self._add(told.shard, row, received_ms)

    def leave(self, *, relieved: bool, received_ms: int) -> None:
        """Tell with every shard of which anything was told that this is its last batch."""
        for shard in {told.shard.name: told.shard for told in self._told.values()}.values():
            self._add(shard, (Kind.LEFT.value, relieved), received_ms)

    def of_account(self, row: Row, received_ms: int) -> None:
        """Tell what is no symbol's."""
        self._add(self._account, row, received_ms)

    def forget(self, instruments: Iterable[Instrument]) -> None:
        """Take these for instruments of which nothing was told."""
        for instrument in instruments:
            if (told := self._told.get(instrument)) is not None:
                told.forget()

    def _by_shard(
        self, pairs: Iterable[tuple[Instrument, T]]
    ) -> Iterator[tuple[ShardOutlet, list[tuple[Told, T]]]]:
        by_shard: defaultdict[ShardOutlet, list[tuple[Told, T]]] = defaultdict(list)
        for instrument, what in pairs:
            told = self.told(instrument)
            by_shard[told.shard].append((told, what))
        return iter(by_shard.items())

    def _add(self, shard: ShardOutlet, row: Row, received_ms: int) -> None:
        if not shard.rows:
            shard.received_ms = received_ms
            self._waiting[shard.name] = shard
        shard.rows.append(row)

    # -- batches ------------------------------------------------------------------------------------------

    def flush(self, now: float) -> Iterator[tuple[ShardOutlet, Batch]]:
        """Give the batches of all that waits; they are taken to leave now."""
        waiting, self._waiting = self._waiting, {}
        for shard in waiting.values():
            shard.sequence += 1
            batch = Batch(
                FORMAT, self._epoch, shard.sequence, shard.received_ms, tuple(shard.names), tuple(shard.rows)
            )
            shard.names, shard.rows, shard.left_at = [], [], now
            yield shard, batch

    def signs_of_life(self, now: float, silent: float) -> Iterator[tuple[ShardOutlet, Batch]]:
        """Give a sign of life of each shard of which nothing has left for so many seconds."""
        for shard in (*self._shards, self._account):
            if now - shard.left_at >= silent and not shard.rows:
                shard.left_at = now
                yield shard, Batch(FORMAT, self._epoch, shard.sequence, 0)

    def snapshot(self, number: int, rows: Iterable[Row]) -> Snapshot:
        """Return how a shard stands after all batches that have left; what waits must be flushed before."""
        names = tuple((t.number, t.instrument.exchange, t.instrument.symbol) for t in self.all_of(number))
        return Snapshot(FORMAT, number, self._epoch, self._shards[number].sequence, names, tuple(rows))

    def all_of(self, number: int) -> list[Told]:
        """Return the instruments of a shard that were introduced."""
        return [told for told in self._told.values() if told.shard is self._shards[number]]
