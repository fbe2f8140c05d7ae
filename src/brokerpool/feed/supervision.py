"""The regular look at everything: when it comes, and what is judged, moved and filled at each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence

from brokerpool.callback_isolation import Fence, name_of
from brokerpool.event_journal import Event, Journal
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.demand_replica import Replica
from brokerpool.feed.gap_snapshots import Filling
from brokerpool.instruments import Instrument
from brokerpool.market_calendar import MarketHours

#: Symbols that are looked at in one turn of the event loop: about a millisecond.
_SHARE = 300


class Supervision:
    """Looks after the replicas of a pool, as often as `look` is called."""

    def __init__(
        self,
        replicas: Sequence[Replica],
        delivery: Delivery,
        hours: MarketHours,
        filling: Filling | None,
        journal: Journal,
        wall_clock: Callable[[], float],
    ) -> None:
        self._replicas = replicas
        self._delivery = delivery
        self._hours = hours
        self._filling = filling
        self._journal = journal
        self._wall_clock = wall_clock
        self._open: frozenset[str] = frozenset()

    def look(self, now: float, stalled: float) -> Iterator[None]:
        """Judge every silence, move what is to be moved; `stalled` seconds long this process stood still.

        Does a share at each step, so that ticks pass between them.
        """
        carried = {c: c.carried() for replica in self._replicas for c in replica.connections.values()}
        wall = self._wall_clock()
        exchanges = set().union(*({i.exchange for i in held} for held in carried.values()))
        before, self._open = self._open, frozenset(e for e in exchanges if self._hours.is_open(e, wall))
        opened = self._open - before
        if stalled:
            self._journal.note(Event.STARVED, reason=f"this process stood still for {stalled:.1f} s")
            for connection in carried:
                connection.forgive(now)
        for connection, held in carried.items():
            if stalled or opened:
                # What was silent through the night, or while nobody listened, has not fallen mute.
                forgiven = [i for i in held if stalled or i.exchange in opened]
                for part in _parts(forgiven):
                    self._delivery.cadence.forgive(part, now)
                    if len(part) == _SHARE:
                        yield
            judged = [i for i in held if i.exchange in self._open]
            connection.watch(now, trading=bool(judged))
            for part in _parts(judged):
                if not connection.live:
                    break  # lost between two steps, or just now
                self._delivery.sweep(part, now)
                if len(part) == _SHARE:
                    yield
        yield from self._delivery.tidy(now)
        for replica in self._replicas:
            yield from replica.watch(now)
        if self._filling is not None:
            self._filling.look(int(wall * 1000))

    def end(self) -> None:
        """Begin to end what runs on behalf of a look."""
        if self._filling is not None:
            self._filling.end()

    async def ended(self) -> None:
        """Return once no task is left."""
        if self._filling is not None:
            await self._filling.ended()


def _parts(instruments: list[Instrument]) -> Iterator[list[Instrument]]:
    return (instruments[start : start + _SHARE] for start in range(0, len(instruments), _SHARE))


logger = logging.getLogger("brokerpool.feed")

#: The longest time between two looks.
PERIOD_SECONDS = 1.0
#: A look that comes this much too late means that the process was stopped, or its loop blocked.
STALLED_SECONDS = 2.0


class Watch:
    """Calls `look(now, stalled)` every period; `stalled` is how many seconds late it comes, if it does.

    What it returns is advanced by one step in each turn of the loop, so that a look at a big pool holds
    nobody up. One that raises is told, and the next comes all the same.
    """

    def __init__(
        self, look: Callable[[float, float], Iterator[None]], silence_seconds: float, fence: Fence
    ) -> None:
        """The period is a fifth of the broker's limit for silence, and a second at most."""
        self._look = look
        self._fence = fence
        self._period = min(PERIOD_SECONDS, silence_seconds / 5)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle | None = None
        self._due = 0.0
        self._told = False

    def start(self) -> None:
        """Look from now on; once started it goes on until `stop`."""
        if self._timer is None:
            self._schedule()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _schedule(self) -> None:
        self._due = self._loop.time() + self._period
        self._timer = self._loop.call_at(self._due, self._turn)

    def _turn(self) -> None:
        now = self._loop.time()
        late = now - self._due
        if late < STALLED_SECONDS:
            self._told = False
            late = 0.0
        elif not self._told:
            logger.warning("this process stood still for %.1f s; no socket is judged for that time", late)
            self._told = True
        self._go_on(self._look(now, late), now + self._period)

    def _go_on(self, steps: Iterator[None], due: float) -> None:
        more = self._fence.call(next, steps, False, otherwise=False, name=name_of(self._look)) is None
        if self._timer is None:
            return  # the end of all looks, in this step
        self._due = max(due, self._loop.time())
        again = self._loop.call_soon(self._go_on, steps, due) if more else None
        self._timer = again or self._loop.call_at(self._due, self._turn)
