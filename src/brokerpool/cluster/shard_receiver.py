"""One shard as a gateway has it: in order and whole, or with a gap that is told; pure, told the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from brokerpool.cluster.hand_over import UNCARRIED, Received, Successor, behind, following, same
from brokerpool.cluster.messages import Batch, Snapshot
from brokerpool.cluster.tick_codec import TICKS, Kind, tick_of
from brokerpool.feed.gaps import GapBook
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

#: Batches that wait for a snapshot; with more of them another snapshot is asked for.
MOST_WAITING = 2000


class Held:
    """A symbol that is wanted here, and the last that is known of it."""

    __slots__ = ("account", "broker", "dark", "handed", "instrument", "received_ms", "since", "state", "tick")

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.tick: Tick | None = None
        #: Epoch milliseconds at which the feed node received that tick.
        self.received_ms = 0
        #: True while its gap is open.
        self.dark = False
        self.state: SymbolState | None = None
        #: The predecessor's last tick, until the successor has told that one or a newer one.
        self.since: Tick | None = None
        #: The predecessor's last tick; while it is the last that passed here as well, a gap begins with it.
        self.handed: Tick | None = None
        #: Who serves it, "" while that is not known.
        self.account = ""
        self.broker = ""


class ShardReceiver:
    """Passes on what a shard's batches tell of the symbols that are held here, to one listener.

    A batch that is missing, a holder's end and silence open a gap of every symbol held, from its last tick;
    a snapshot of the shard, for which the caller asks while `lacks_snapshot`, says from where to go on. What
    is old or doubled changes nothing.
    """

    def __init__(self, listener: PoolListener, gaps: GapBook) -> None:
        self._listener = listener
        self._gaps = gaps
        self.held: dict[Instrument, Held] = {}
        self.epoch = 0
        self._sequence = 0
        #: True once all up to the sequence is known.
        self._whole = False
        self._waiting: deque[Batch] = deque(maxlen=MOST_WAITING)
        #: Who told of a newer epoch while this one went on.
        self._successor: Successor | None = None
        self._numbers: dict[Instrument, int] = {}
        self._by_number: dict[int, Held] = {}
        #: Monotonic seconds at which it was last heard; None before the first time.
        self._heard_at: float | None = None
        #: When the last batch came that was passed on, by this clock, and when what is in it came to the feed
        #: node, in epoch milliseconds; 0 before the first.
        self._passed_at, self._passed_ms = 0.0, 0
        #: Batches that were dropped as old or doubled, and missing ones.
        self.doubled, self.missing = 0, 0

    # -- what is held -------------------------------------------------------------------------------------

    def hold(self, instrument: Instrument) -> Held:
        """Pass on what comes of the instrument from now on."""
        held = self.held.get(instrument)
        if held is None:
            held = self.held[instrument] = Held(instrument)
            if (number := self._numbers.get(instrument)) is not None:
                self._by_number[number] = held
        return held

    def drop(self, instrument: Instrument, now_ms: int) -> None:
        """Pass on nothing more of the instrument, and close its gap at this wall clock time."""
        if instrument in self.held:
            self._close([instrument], now_ms)
            del self.held[instrument]
            self._by_number.pop(self._numbers.get(instrument, -1), None)

    def leave(self) -> None:
        """Forget how far the shard was heard: it is listened to no more."""
        self._whole, self._heard_at = False, None
        self._waiting.clear()

    # -- what is heard ------------------------------------------------------------------------------------

    @property
    def lacks_snapshot(self) -> bool:
        """True while it is not known how the shard stands, though symbols of it are held."""
        return bool(self.held) and not self._whole

    def silence(self, now: float) -> float:
        """Return for how many seconds nothing was heard, not even a sign of life."""
        return 0.0 if self._heard_at is None else now - self._heard_at

    def lag(self, now: float, now_ms: float) -> float | None:
        """Return the seconds that the last batch took from the feed node's receipt to here; None without one.

        By the wall clocks of two machines, which may differ by more than that.
        """
        if not self._passed_ms or not self._whole:
            return None
        return (now_ms - self._passed_ms) / 1000 - (now - self._passed_at)

    def look(self, now: float, dark: float) -> None:
        """Open gaps when nothing was heard for so many seconds, not even a sign of life."""
        if self._heard_at is None:
            self._heard_at = now  # from now on something should be heard
        elif self._whole and now - self._heard_at >= dark:
            self._interrupt(f"nothing was heard of its feed node for {dark:g} s")

    def doubt(self, reason: str) -> None:
        """Open gaps of all symbols and go on from a snapshot: something may have been missed."""
        if self._whole:
            self._interrupt(reason)

    def heard(self, batch: Batch, now: float) -> None:
        """Take a batch: pass it on, keep it for when a snapshot has come, or drop it as old."""
        if batch.epoch < self.epoch:
            self.doubled += bool(batch.rows)
            return
        if batch.epoch > self.epoch and self._whole:
            if self._successor is None or self._successor.epoch < batch.epoch:
                self._successor = Successor(batch.epoch)
            if batch.epoch == self._successor.epoch:
                self._successor.heard(batch)  # the one before it may go on until it is live
            return
        self._heard_at = now
        if batch.epoch > self.epoch:
            self._begin(batch.epoch)
        if not self._whole:
            if batch.rows:
                self._waiting.append(batch)
        elif not batch.rows:
            if batch.sequence > self._sequence:
                self._miss(batch.sequence - self._sequence)
        elif batch.sequence <= self._sequence:
            self.doubled += 1
        elif batch.sequence > self._sequence + 1:
            self._miss(batch.sequence - self._sequence - 1)
            if batch.epoch == self.epoch:  # else a successor is heard already, and goes on from there
                self._waiting.append(batch)
        else:
            self._pass(batch)

    def snapshot(self, snapshot: Snapshot, now: float) -> None:
        """Go on from a snapshot, and with the batches that came after it was asked for."""
        if snapshot.epoch < self.epoch or (self._whole and snapshot.epoch == self.epoch):
            return
        self._heard_at = now
        if snapshot.epoch > self.epoch:
            self._begin(snapshot.epoch)
        if snapshot.sequence < self._sequence:
            return  # it was under way for so long that more was passed on meanwhile
        if self._waiting and self._waiting[0].sequence > snapshot.sequence + 1:
            return  # more has been dropped meanwhile than it knows of: the next one is asked for
        self._whole, self._sequence = True, snapshot.sequence
        self._introduce(snapshot.names)
        for row in snapshot.rows:
            self._stands(row, repeated=True)
        waiting, self._waiting = self._waiting, deque(maxlen=MOST_WAITING)
        for batch in waiting:
            self.heard(batch, now)

    # -- gaps ---------------------------------------------------------------------------------------------

    def _begin(self, epoch: int) -> None:
        if self.epoch:
            self._interrupt("another feed node has taken its account over")
        self.epoch, self._sequence, self._whole = epoch, 0, False
        self._waiting.clear()
        self._numbers.clear()
        self._by_number.clear()

    def _miss(self, batches: int) -> None:
        self.missing += batches
        self._interrupt(f"{batches} messages of its feed node were lost")

    def _interrupt(self, reason: str) -> None:
        self._whole = False
        self._waiting.clear()
        successor, self._successor = self._successor, None
        lost = {h.instrument: h.received_ms for h in self.held.values() if h.tick is not None and not h.dark}
        self._open(lost, reason)
        if successor is not None:
            self._begin(successor.epoch)
            self._waiting.extend(successor.waiting)

    def _hand_over(self, *, relieved: bool) -> None:
        """Go on with the successor's ticks where its predecessor's end, or with gaps where it has none."""
        successor = self._successor
        if not relieved or successor is None or not successor.whole:
            self._interrupt("its feed node has let go of it")
            return
        self._successor = None
        self.epoch, self._sequence = successor.epoch, successor.sequence
        self._numbers.clear()
        self._by_number.clear()
        for batch in successor.waiting:
            self._introduce(batch.names)
        rows, news = successor.rows()
        resumed = successor.resumed()
        for number, held in self._by_number.items():
            told: Sequence[Received] = [(tick_of(r, held.instrument), at) for r, at in rows.get(number, ())]
            if held.dark or held.tick is None:
                told = told[resumed.get(number, 0) :]  # nobody covers a gap of the successor's own
            if held.tick is not None:
                told, found = following(told, held.tick, held.received_ms)
                held.since, held.handed = None if found else held.tick, held.tick
            if told:
                held.tick, held.received_ms = told[-1]
                self._ticked([tick for tick, _ in told], [held.instrument] if held.dark else [], told[0][1])
        carried = successor.carried()
        self._cut_off(h for i, h in self.held.items() if self._numbers.get(i) not in carried)
        for row, received_ms in news:
            self._news(row, received_ms)

    def _cut_off(self, some: Iterable[Held]) -> None:
        """Open gaps of symbols that a successor does not carry, which knows of no tick before its own."""
        lost = {h.instrument: h.received_ms for h in some if h.tick is not None and not h.dark}
        self._open(lost, "no connection of its new feed node carries it")

    def _open(self, edges: dict[Instrument, int], reason: str) -> None:
        opened = self._gaps.open(edges, reason)
        for gap in opened:
            self.held[gap.instrument].dark = True
        if opened:
            self._listener.gaps_opened(opened)

    def _close(self, instruments: Sequence[Instrument], at_ms: int) -> None:
        closed = self._gaps.close(instruments, at_ms)
        for gap in closed:
            self.held[gap.instrument].dark = False
        if closed:
            self._listener.gaps_closed(closed)

    # -- rows ---------------------------------------------------------------------------------------------

    def _introduce(self, names: Iterable[tuple[int, str, str]]) -> None:
        for number, exchange, symbol in names:
            instrument = Instrument(exchange, symbol)
            self._numbers[instrument] = number
            held = self.held.get(instrument)
            if held is not None:
                self._by_number[number] = held

    def _pass(self, batch: Batch) -> None:
        self._sequence = batch.sequence
        self._passed_at, self._passed_ms = self._heard_at or 0.0, batch.received_ms
        if batch.names:
            self._introduce(batch.names)
        by_number, received_ms = self._by_number, batch.received_ms
        ticks: list[Tick] = []
        back: list[Instrument] = []
        for row in batch.rows:
            if row[0] > TICKS:
                self._ticked(ticks, back, received_ms)
                ticks, back = [], []
                self._news(row, received_ms)
                continue
            held = by_number.get(row[1])
            if held is None:
                continue
            tick = tick_of(row, held.instrument)
            if held.since is not None:
                if behind(tick, held.since):
                    continue
                repeated, held.since = same(tick, held.since), None
                if repeated and not held.dark:
                    continue
            before, held.tick = held.tick, tick
            held.received_ms = received_ms
            if held.dark:
                back.append(held.instrument)
                if before is not None and same(tick, before):
                    continue  # a broker tells the last trade again to whoever asks for the symbol anew
            ticks.append(tick)
        self._ticked(ticks, back, received_ms)

    def _ticked(self, ticks: list[Tick], back: list[Instrument], received_ms: int) -> None:
        if back:
            self._close(back, received_ms)
        if ticks:
            self._listener.ticked(ticks)

    def _news(self, row: Sequence[Any], received_ms: int) -> None:
        match row[0]:
            case Kind.STANDS:
                self._stands(row, repeated=False)
            case Kind.GAPS_OPENED:
                by_reason: dict[str, dict[Instrument, int]] = {}
                for number, from_ms, reason, _, _ in row[1]:
                    if (held := self._by_number.get(number)) is not None:
                        if held.handed is not None and held.tick is held.handed:
                            from_ms = held.received_ms  # the successor may have had the same trade later
                        by_reason.setdefault(reason, {})[held.instrument] = from_ms
                for reason, edges in by_reason.items():
                    self._open(edges, reason)
            case Kind.GAPS_CLOSED:
                by_end: dict[int, list[Instrument]] = {}
                for number, from_ms, _, to_ms, _ in row[1]:
                    if (held := self._by_number.get(number)) is not None and held.dark:
                        by_end.setdefault(to_ms or from_ms, []).append(held.instrument)
                for to_ms, instruments in by_end.items():
                    self._close(instruments, to_ms)
            case Kind.FILLED:
                self._filled(row[1], received_ms)
            case Kind.LEFT:
                self._hand_over(relieved=bool(row[1]))
            case Kind.ORDER:
                self._listener.order_updated(row[1])
            case Kind.CONNECTION:
                self._listener.connection_changed(*row[1:])
            case _:
                self._changed(row)

    def _filled(self, rows: Iterable[Sequence[Any]], received_ms: int) -> None:
        ticks: list[Tick] = []
        for row in rows:
            held = self._by_number.get(row[1])
            if held is None:
                continue
            held.tick, held.received_ms = tick_of(row, held.instrument), received_ms
            if self._gaps.fill(held.instrument):
                ticks.append(held.tick)
        if ticks:
            self._listener.filled(ticks)

    def _changed(self, row: Sequence[Any]) -> None:
        some = [held for number in row[1] if (held := self._by_number.get(number)) is not None]
        if not some:
            return
        instruments = [held.instrument for held in some]
        match row[0]:
            case Kind.STATE:
                state = SymbolState(row[2])
                if state in UNCARRIED:
                    self._cut_off(held for held in some if held.since is not None)
                for held in some:
                    held.state = state
                self._listener.symbols_changed(instruments, state)
            case Kind.REFUSED:
                self._listener.refused(instruments, row[2])
            case Kind.DELISTED:
                self._listener.delisted(instruments)
            case Kind.REROUTED:
                for held in some:
                    held.account, held.broker = row[2:]
                self._listener.rerouted(instruments, *row[2:])

    def _stands(self, row: Sequence[Any], *, repeated: bool) -> None:
        """Bring one symbol into line with how it stands at the feed node.

        Not `repeated`, it is told in order with all that was told before, for those alone who know nothing.
        """
        _, number, received_ms, told, hole, state, account, broker = row
        held = self._by_number.get(number)
        if held is None:
            return
        if account != held.account or broker != held.broker:
            moved = held.broker and broker and broker != held.broker
            held.account, held.broker = account, broker
            if moved:
                self._listener.rerouted([held.instrument], account, broker)
        if state is not None and held.state is not SymbolState(state):
            held.state = SymbolState(state)
            self._listener.symbols_changed([held.instrument], held.state)
        if told is None and held.tick is not None:
            # It was not carried for a while, and begins anew: nobody here was counted as wanting it.
            self._open({held.instrument: held.received_ms}, "its feed node did not carry it for a while")
        if not repeated and held.tick is not None:
            return
        tick = None if told is None else tick_of(told, held.instrument)
        if tick is not None and held.tick is not None and received_ms < held.received_ms:
            tick = None if behind(tick, held.tick) else tick  # its node lags, and its next one ends the gap
        new = tick is not None and (held.tick is None or not same(tick, held.tick))
        if tick is not None:
            held.tick, held.received_ms = tick, received_ms
        if hole is not None:
            if new and not held.dark and tick is not None:
                self._listener.ticked([tick])
            elif new and tick is not None and self._gaps.fill(held.instrument):
                self._listener.filled([tick])
            self._open({held.instrument: hole[1]}, hole[2])
            return
        if held.dark and tick is not None:
            self._close([held.instrument], received_ms)
        if new and tick is not None:
            self._listener.ticked([tick])
