"""What the connections bring, on its way to the listeners: copies dropped, silences noticed, holes told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence

from brokerpool.feed.arbiter import Arbiter
from brokerpool.feed.cadence import Cadence
from brokerpool.feed.connection import Connection
from brokerpool.feed.gaps import Gap, GapBook
from brokerpool.feed.lane import Lane
from brokerpool.feed.states import SymbolState
from brokerpool.feed.stream import PoolListener
from brokerpool.instruments import Instrument
from brokerpool.monitor.journal import Event, Journal
from brokerpool.ticks import Tick

logger = logging.getLogger("brokerpool.feed")


class Intake:
    """Takes ticks and news from all connections of a pool and tells its listeners, each thing once.

    A gap is told as open before anything else is heard of its symbol, and as closed before the tick that
    closes it.
    """

    def __init__(self, lanes: Sequence[Lane], journal: Journal, wall_clock: Callable[[], float]) -> None:
        """`lanes` may be filled later; the lanes tell this object."""
        self.cadence = Cadence()
        self.gaps = GapBook()
        #: Gaps since the start.
        self.gaps_total = 0
        self._lanes = lanes
        self._journal = journal
        self._wall_clock = wall_clock
        self._monotonic = asyncio.get_running_loop().time
        self._listeners: tuple[PoolListener, ...] = ()
        self._contested: dict[Instrument, Arbiter] = {}

    def listen(self, listener: PoolListener) -> None:
        """Tell the listener of everything from now on."""
        self._listeners = (*self._listeners, listener)

    def unlisten(self, listener: PoolListener) -> None:
        """Tell the listener no more; one that never listened is ignored."""
        self._listeners = tuple(known for known in self._listeners if known is not listener)

    # -- LaneObserver -------------------------------------------------------------------------------------

    def ticked(self, connection: Connection, ticks: list[Tick]) -> None:
        if self._contested:
            ticks = [tick for tick in ticks if self._passes(connection.name, tick)]
            if not ticks:
                return
        self.cadence.saw(ticks, self._monotonic())
        if self.gaps:
            self._close_gaps([tick.instrument for tick in ticks if tick.instrument in self.gaps])
        for listener in self._listeners:
            listener.ticked(ticks)

    def symbols_changed(self, instruments: list[Instrument], state: SymbolState) -> None:
        for listener in self._listeners:
            listener.symbols_changed(instruments, state)

    def symbols_lost(self, instruments: list[Instrument], reason: str) -> None:
        """Open the gaps of symbols that had ticks and that nothing delivers any more."""
        self._open_gaps([i for i in instruments if not any(lane.delivers(i) for lane in self._lanes)], reason)

    def connection_changed(self, connection: Connection, event: Event | None, reason: str) -> None:
        name, state = connection.name, connection.state.value
        logger.info("%s is %s%s", name, state, f": {reason}" if reason else "")
        if event is not None:
            self._journal.note(event, connection=name, reason=reason)
        if event is Event.LIVE:
            for arbiter in self._contested.values():
                arbiter.rejoin(name)
        for listener in self._listeners:
            listener.connection_changed(name, state, reason)

    def carriers_changed(self, instrument: Instrument) -> None:
        """Expect copies of a symbol's ticks while more than one connection carries it."""
        carriers = [name for lane in self._lanes for name in lane.carriers(instrument)]
        arbiter = self._contested.get(instrument)
        if arbiter is None:
            if len(carriers) < 2:
                return
            arbiter = self._contested[instrument] = Arbiter(self.cadence.last(instrument))
        arbiter.serve(carriers)

    def ticked_since(self, instrument: Instrument, at: float) -> bool:
        """Tell whether any connection has brought a tick of the symbol after the monotonic time."""
        seen = self.cadence.seen(instrument)
        return seen is not None and seen > at

    # -- for the pool -------------------------------------------------------------------------------------

    def sweep(self, instruments: Iterable[Instrument], now: float) -> None:
        """Notice symbols that have fallen mute; `instruments` are those whose ticks are to be expected."""
        fallen = self.cadence.sweep(instruments, now)
        if fallen:
            self._journal.note(Event.MUTE, symbols=len(fallen), reason="silent for twice their usual pause")
            self.symbols_changed(fallen, SymbolState.STALE)
            self._open_gaps(fallen, "no tick for twice the usual pause")
        for instrument in [i for i, arbiter in self._contested.items() if arbiter.over()]:
            del self._contested[instrument]

    def forget(self, instrument: Instrument) -> None:
        """Drop what is known of a symbol that nobody wants any more; its gap ends here."""
        if instrument in self.gaps:
            self._close_gaps([instrument])
        self._contested.pop(instrument, None)
        self.cadence.forget(instrument)

    def fill(self, ticks: list[Tick]) -> None:
        """Pass on snapshots from another source; they close a gap whose symbol is served again."""
        inside = [tick for tick in ticks if self.gaps.fill(tick.instrument)]
        if not inside:
            return
        for listener in self._listeners:
            listener.filled(inside)
        served = (SymbolState.SENT, SymbolState.SILENT)
        self._close_gaps(
            [t.instrument for t in inside if any(lane.state(t.instrument) in served for lane in self._lanes)]
        )

    # -- inside -------------------------------------------------------------------------------------------

    def _passes(self, source: str, tick: Tick) -> bool:
        arbiter = self._contested.get(tick.instrument)
        return arbiter is None or arbiter.admits(source, tick)

    def _open_gaps(self, instruments: Iterable[Instrument], reason: str) -> None:
        now, wall = self._monotonic(), self._wall_clock()
        edges = {}
        for instrument in instruments:
            seen = self.cadence.seen(instrument)
            if seen is not None:  # without a tick there is no data that could have a hole
                edges[instrument] = int((wall - (now - seen)) * 1000)
        gaps = self.gaps.open(edges, reason)
        if gaps:
            self.gaps_total += len(gaps)
            self._journal.note(Event.GAP, symbols=len(gaps), reason=reason)
            for listener in self._listeners:
                listener.gaps_opened(gaps)

    def _close_gaps(self, instruments: list[Instrument]) -> None:
        gaps: list[Gap] = self.gaps.close(instruments, int(self._wall_clock() * 1000))
        if not gaps:
            return
        was_mute = self.cadence.wake(instruments)
        # A hole is no habit of the symbol. Silence while all else works is one, until it turns out otherwise:
        # a symbol that trades every minute would be found mute every minute if it were not learned.
        self.cadence.forgive(set(instruments).difference(was_mute), self._monotonic())
        longest = max((gap.to_ms or 0) - gap.from_ms for gap in gaps)
        reason = f"the longest lasted {longest / 1000:.1f} s"
        self._journal.note(Event.GAP_CLOSED, symbols=len(gaps), reason=reason)
        for listener in self._listeners:
            listener.gaps_closed(gaps)
        if was_mute:
            self.symbols_changed(was_mute, SymbolState.LIVE)
