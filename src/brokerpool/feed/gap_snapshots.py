"""Fills holes with snapshots from elsewhere, a REST quote for instance, within a budget of calls."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

from brokerpool import argument_checks
from brokerpool.brokers.limits_file import RateWindow
from brokerpool.callback_isolation import HookFailed, name_of
from brokerpool.errors import BrokerpoolError
from brokerpool.feed.backoff import Backoff
from brokerpool.feed.delivery import Delivery
from brokerpool.feed.sliding_window_pacer import Pacer
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

logger = logging.getLogger("brokerpool.feed")

#: A hole shorter than this closes by itself more cheaply.
YOUNG_SECONDS = 2.0
#: How long one call may take.
CALL_SECONDS = 10.0

#: Returns the present values of the instruments; those that it does not know are left out.
Snapshots: TypeAlias = Callable[[Sequence[Instrument]], Awaitable[Sequence[Tick]]]


@dataclass(frozen=True, slots=True)
class Filler:
    """Where snapshots come from, and what the source allows."""

    snapshots: Snapshots
    #: Instruments in one call.
    batch: int = 500
    calls: tuple[RateWindow, ...] = (RateWindow(1, 1.0),)

    def __post_init__(self) -> None:
        """Raises TypeError and ValueError for what cannot be asked, or not so often."""
        if not callable(self.snapshots):
            raise TypeError("snapshots is a coroutine function that takes instruments and returns ticks")
        argument_checks.whole("batch", self.batch, 1)
        if not isinstance(self.calls, tuple | list) or not all(isinstance(w, RateWindow) for w in self.calls):
            raise TypeError("calls is a tuple of windows, as in (RateWindow(1, 1.0),)")


class Filling:
    """Asks for a snapshot of each symbol whose gap is open for two seconds, once a gap."""

    def __init__(self, filler: Filler, delivery: Delivery, backoff: Backoff) -> None:
        self._filler = filler
        self._delivery = delivery
        self._backoff = backoff
        self._pacer = Pacer(filler.calls)
        self._loop = asyncio.get_running_loop()
        self._asked: dict[Instrument, int] = {}  # -> the beginning of the gap for which it was asked
        #: Whether the last batch could not be had, which is told once.
        self._failing = False
        self._task: asyncio.Task[None] | None = None

    def look(self, now_ms: int) -> None:
        """Begin to fill if there is something to fill; to be called every second or so."""
        gaps = self._delivery.gaps.unfilled(now_ms - int(YOUNG_SECONDS * 1000))
        if not gaps:
            self._asked.clear()
            return
        due = [gap.instrument for gap in gaps if self._asked.get(gap.instrument) != gap.from_ms]
        if due and self._task is None:
            self._asked = {gap.instrument: gap.from_ms for gap in gaps}
            self._task = asyncio.create_task(self._fill(due), name="brokerpool filler")
            self._task.add_done_callback(self._done)

    def end(self) -> None:
        """Fill no more."""
        if self._task is not None:
            self._task.cancel()

    async def ended(self) -> None:
        """Return once no task is left."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def _fill(self, due: list[Instrument]) -> None:
        for start in range(0, len(due), self._filler.batch):
            batch = due[start : start + self._filler.batch]
            # One task spends this budget, so after the delay there is room.
            await asyncio.sleep(self._pacer.delay(self._loop.time()))
            try:
                ticks = await self._delivery.fence.ask(
                    partial(self._snapshots, batch),
                    name=name_of(self._filler.snapshots),
                    seconds=CALL_SECONDS,
                    passes=(BrokerpoolError,),
                )
            except (HookFailed, BrokerpoolError) as error:
                why = error if isinstance(error, HookFailed) else type(error).__name__
                if not self._failing:
                    logger.warning(
                        "no snapshots for %d symbols: %s; it is tried again until there are", len(batch), why
                    )
                self._failing = True
                await asyncio.sleep(self._backoff.next())
                self._asked.clear()
                return
            if self._failing:
                logger.warning("snapshots can be had again")
            self._failing = False
            self._backoff.reset()
            self._delivery.fill(ticks)

    async def _snapshots(self, batch: list[Instrument]) -> list[Tick]:
        self._pacer.spend(self._loop.time())
        ticks = list(await self._filler.snapshots(batch))
        if not all(isinstance(tick, Tick) for tick in ticks):
            raise TypeError("snapshots are ticks")
        return ticks

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._delivery.fence.caught("filler", error)  # the next look begins anew
