"""What the connections bring, on its way to the listeners: copies dropped, silences noticed, holes told."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

from brokerpool.callback_isolation import Fence
from brokerpool.event_journal import Event, Journal
from brokerpool.feed.connection import Connection
from brokerpool.feed.deduplication import Deduplication
from brokerpool.feed.demand_replica import Replica
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import Listeners, PoolListener
from brokerpool.feed.redundancy_progress import Agreement
from brokerpool.feed.symbol_cadence import Cadence
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

logger = logging.getLogger("brokerpool.feed")


#: How long a symbol stays on two connections when nothing shows that they bring the same.
OVERLAP_SECONDS = 10.0
#: Symbols that are looked at in one turn of the event loop: about a millisecond.
_SHARE = 300


class Delivery:
    """Takes ticks and news from all connections of a pool and tells its listeners, each thing once.

    A gap is told as open before anything else is heard of its symbol, and as closed before the tick that
    closes it.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        journal: Journal,
        wall_clock: Callable[[], float],
        fence: Fence | None = None,
    ) -> None:
        """`replicas` may be filled later; they tell this object. The `fence` is that of the account."""
        self.cadence = Cadence()
        self.gaps = GapBook()
        #: Gaps since the start.
        self.gaps_total = 0
        self._replicas = replicas
        self._journal = journal
        self._wall_clock = wall_clock
        self._monotonic = asyncio.get_running_loop().time
        self.fence = fence or Fence("pool")
        self._listeners = Listeners(self.fence)
        #: The symbols that are on several connections, or were until just now.
        self._contested: dict[Instrument, Deduplication] = {}
        self._agreement = Agreement()

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of everything from now on."""
        self._listeners.add(listener)

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        self._listeners.remove(listener)

    # -- MovesObserver -----------------------------------------------------------------------------------

    def ticked(self, connection: Connection, ticks: list[Tick]) -> None:
        if self._contested:
            ticks = self._deduplicated(connection.name, ticks)
        if ticks:
            self._deliver(ticks)

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        self._listeners.symbols_changed(instruments, state)

    def arrived(self, connection: Connection, instruments: list[Instrument]) -> None:
        """Note the first ticks on a socket, before they are told."""
        self.symbols_changed(instruments, SymbolState.LIVE)

    def symbols_refused(self, instruments: list[Instrument], reason: str, connection: Connection) -> None:
        """Tell of symbols that the broker does not serve (any more), and why."""
        self.symbols_lost(instruments, reason, connection)
        self.symbols_changed(instruments, SymbolState.REFUSED)
        self._listeners.refused(instruments, reason)

    def order_updated(self, update: str | bytes) -> None:
        """Pass on what has become of an order."""
        self._listeners.order_updated(update)

    def paused_upstream(self, instruments: list[Instrument], reason: str, connection: Connection) -> None:
        """Open the gaps of symbols whose data has stopped further up, where no other connection has it."""
        dark = [
            instrument
            for instrument in instruments
            if not any(set(r.serving(instrument)) - {connection.name} for r in self._replicas)
        ]
        self._open_gaps(dark, reason)
        self.cadence.forgive(dark, self._monotonic())

    def symbols_lost(self, instruments: list[Instrument], reason: str, connection: Connection) -> None:
        """Take note of symbols of a lost connection, or of a place that was taken away.

        Where nothing delivers a symbol any more its gap opens now.
        """
        dark = []
        for instrument in instruments:
            if (copies := self._contested.get(instrument)) is not None:
                copies.lost(connection.name)
            if not any(replica.serving(instrument) for replica in self._replicas):
                dark.append(instrument)
        self._open_gaps(dark, reason)
        self.cadence.forgive(dark, self._monotonic())

    def overlaps(self, instrument: Instrument, new: Connection, old: Connection) -> bool:
        """Tell whether a symbol may be taken off its old connection, now that it ticks on the new one.

        Either may be dead without anybody's knowing it yet. The new one must show signs of life, and be in
        step with what has passed, or both must have brought the same of any symbol after the new one began.
        """
        if new.fading:
            return False
        copies = self._contested.get(instrument)
        began = copies.began(new.name) if copies else None
        if copies is None or began is None or copies.in_step(new.name):
            return True
        if self._agreement.until(old.name, new.name) > began:
            return True
        return self._monotonic() - began >= OVERLAP_SECONDS

    def connection_changed(self, connection: Connection, event: Event | None, reason: str) -> None:
        name, state = connection.name, connection.state.value
        if connection.live:
            self._agreement.forget(name)
        told = {"connection": name, "state": state}
        logger.info("%s is %s%s", name, state, f": {reason}" if reason else "", extra=told)
        if event is not None:
            self._journal.note(event, connection=name, reason=reason)
        self._listeners.connection_changed(name, state, reason)

    def carriers_changed(self, instrument: Instrument) -> None:
        """Expect copies of a symbol's ticks while more than one connection carries it."""
        carriers = [name for replica in self._replicas for name in replica.carriers(instrument)]
        copies = self._contested.get(instrument)
        if copies is None:
            if len(carriers) < 2:
                return
            serving = [name for replica in self._replicas for name in replica.serving(instrument)]
            last, seen = self.cadence.last(instrument), self.cadence.seen(instrument)
            copies = self._contested[instrument] = Deduplication(self._agreement, last, seen or 0.0, serving)
            if instrument in self.gaps:
                copies.interrupted()
        copies.serve(carriers, self._monotonic())

    def ticked_since(self, instrument: Instrument, at: float) -> bool:
        """Tell whether any connection has brought a tick of the symbol after the monotonic time."""
        seen = self.cadence.seen(instrument)
        return seen is not None and seen > at

    def fresh(self, instrument: Instrument, within: float) -> Tick | None:
        """Return the last tick if it came within so many seconds and the feed has not stopped since."""
        seen = self.cadence.seen(instrument)
        if seen is None or instrument in self.gaps or self._monotonic() - seen > within:
            return None
        return self.cadence.last(instrument)

    # -- for the pool -------------------------------------------------------------------------------------

    def sweep(self, instruments: Iterable[Instrument], now: float) -> None:
        """Signal symbols that have fallen mute; `instruments` are those whose ticks are to be expected."""
        fallen = self.cadence.sweep(instruments, now)
        if fallen:
            self._journal.note(Event.MUTE, symbols=len(fallen), reason="silent for twice their usual pause")
            self.symbols_changed(fallen, SymbolState.STALE)
            self._open_gaps(fallen, "no tick for twice the usual pause")

    def tidy(self, now: float) -> Iterator[None]:
        """Let ticks pass that have waited for others in vain, and expect copies where there are some still.

        Forgets connections that have ended. Does a share at each step.
        """
        for n, (instrument, copies) in enumerate(list(self._contested.items()), 1):
            if n % _SHARE == 0:
                yield
            if self._contested.get(instrument) is not copies:
                continue  # forgotten between two steps
            if copies.over():
                del self._contested[instrument]
            else:
                self._release_overdue(instrument, copies, now)
        self._agreement.keep({name for replica in self._replicas for name in replica.connections})

    def delisted(self, instruments: list[Instrument]) -> None:
        """Tell of symbols that are given up because the broker has given their tokens to others."""
        if instruments:
            self._listeners.delisted(instruments)

    def forget(self, instrument: Instrument) -> None:
        """Drop what is known of a symbol that nobody wants any more; its gap ends here."""
        self._contested.pop(instrument, None)
        self.cadence.forget(instrument)
        if instrument in self.gaps:
            self._close_gaps([instrument])

    def fill(self, ticks: list[Tick]) -> None:
        """Pass on snapshots from another source; they close a gap whose symbol is served again."""
        inside = [tick for tick in ticks if self.gaps.fill(tick.instrument)]
        if not inside:
            return
        self._listeners.filled(inside)
        served = (SymbolState.SENT, SymbolState.SILENT)
        self._close_gaps(
            [
                t.instrument
                for t in inside
                if any(replica.state(t.instrument) in served for replica in self._replicas)
            ]
        )

    def end(self) -> None:
        """Close what is open: nothing more will come."""
        self._close_gaps(self.gaps.instruments())

    # -- inside -------------------------------------------------------------------------------------------

    def _deduplicated(self, source: str, ticks: list[Tick]) -> list[Tick]:
        """Return what passes now, holes in it told."""
        now = self._monotonic()
        passing: list[Tick] = []
        holes = []
        for tick in ticks:
            instrument = tick.instrument
            copies = self._contested.get(instrument)
            if copies is None:
                passing.append(tick)
                continue
            freed, hole = copies.brought(source, tick, now)
            if hole:
                holes.append(instrument)
            if not freed and instrument in self.gaps and copies.repeats(tick):
                passing.append(tick)  # the same again after a hole: nothing was missed, and it ends the gap
            passing += freed
        if holes:
            self._tell_holes(holes, f"{source} took over, and may not have brought all that went by")
        return passing

    def _release_overdue(self, instrument: Instrument, copies: Deduplication, now: float) -> None:
        freed, hole = copies.overdue(now)
        if hole:
            self._tell_holes([instrument], "another connection took over, and may not have brought all")
        if freed:
            self._deliver(freed)

    def _deliver(self, ticks: list[Tick]) -> None:
        self.cadence.saw(ticks, self._monotonic())
        if self.gaps:
            self._close_gaps([tick.instrument for tick in ticks if tick.instrument in self.gaps])
        self._listeners.ticked(ticks)

    def _open_gaps(self, instruments: Collection[Instrument], reason: str) -> None:
        if self._contested:
            for instrument in instruments:
                if (copies := self._contested.get(instrument)) is not None:
                    copies.interrupted()
        self._tell_gaps(instruments, reason)

    def _tell_holes(self, instruments: Collection[Instrument], reason: str) -> None:
        """Open the gaps that deduplication has found, which the next ticks close."""
        self._tell_gaps(instruments, reason)
        self.cadence.forgive(instruments, self._monotonic())

    def _tell_gaps(self, instruments: Iterable[Instrument], reason: str) -> None:
        now, wall = self._monotonic(), self._wall_clock()
        edges = {}
        for instrument in instruments:
            seen = self.cadence.seen(instrument)
            if seen is not None:  # without a tick there is no data that could have a hole
                edges[instrument] = _from_ms(wall - (now - seen))
        self._tell_opened(self.gaps.open(edges, reason), reason)

    def _tell_opened(self, gaps: list[Gap], reason: str) -> None:
        if gaps:
            self.gaps_total += len(gaps)
            self._journal.note(Event.GAP, symbols=len(gaps), reason=reason)
            self._listeners.gaps_opened(gaps)

    def _tell_closed(self, gaps: list[Gap]) -> None:
        longest = max((gap.to_ms or 0) - gap.from_ms for gap in gaps)
        reason = f"the longest lasted {longest / 1000:.1f} s"
        self._journal.note(Event.GAP_CLOSED, symbols=len(gaps), reason=reason)
        self._listeners.gaps_closed(gaps)

    def _close_gaps(self, instruments: list[Instrument]) -> None:
        gaps: list[Gap] = self.gaps.close(instruments, _to_ms(self._wall_clock()))
        if not gaps:
            return
        # Silence while all else works is learned as a habit, until it turns out otherwise: a symbol that
        # trades every minute would be found mute every minute. A hole is none: it was forgiven when it began.
        was_mute = self.cadence.wake(instruments)
        self._tell_closed(gaps)
        if was_mute:
            self.symbols_changed(was_mute, SymbolState.LIVE)


# Each edge is rounded into the gap, or the end of one and the begin of the next, which are the same tick,
# could overlap by a millisecond.


def _from_ms(seconds: float) -> int:
    return math.ceil(seconds * 1000)


def _to_ms(seconds: float) -> int:
    return math.floor(seconds * 1000)
