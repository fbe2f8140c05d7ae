"""What is done at every look: silences judged, symbols moved, holes filled, each where its market is open."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from brokerpool.feed.delivery import Delivery
from brokerpool.feed.filler import Filling
from brokerpool.feed.replica import Replica
from brokerpool.hours import MarketHours
from brokerpool.instruments import Instrument
from brokerpool.journal import Event, Journal

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
