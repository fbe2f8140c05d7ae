"""What clients want outlives the process: kept when it changed, and asked for again before they are back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from brokerpool.feed.pool import WebSocketPool
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

logger = logging.getLogger("brokerpool.gateway")

#: In whose name the demand of the last run is held.
OWNER = "restored"
#: For how long it is held, for clients to come back and ask themselves.
GRACE_SECONDS = 120.0
#: Between two looks whether the demand has changed.
LOOK_SECONDS = 5.0
#: Instruments that are dealt with before ticks have their turn: about a millisecond.
_SLICE = 250


class SavedDemand:
    """The demand of one pool, as it is kept and as it comes back."""

    def __init__(
        self, pool: WebSocketPool, *, grace: float = GRACE_SECONDS, look: float = LOOK_SECONDS
    ) -> None:
        self._pool = pool
        self._grace = grace
        self._look = look
        self._kept: int | None = None  # the state of the demand that is kept, None before the restoration
        self._restored = False

    async def restore(self, wanted: Mapping[Instrument, Mode]) -> None:
        """Subscribe what the last run left, as far as it is listed and there is room; a slice at a time."""
        items = list(wanted.items())
        refused = 0
        for start in range(0, len(items), _SLICE):
            for mode in Mode:
                part = [instrument for instrument, own in items[start : start + _SLICE] if own is mode]
                refused += len(self._pool.subscribe(part, mode, owner=OWNER, partial=True).refused)
            await asyncio.sleep(0)
        self._restored = True
        if items:
            logger.info(
                "%d symbols of the last run are subscribed again, %d are not listed or have no room;"
                " those that no client asks for within %g s are given up",
                len(items) - refused,
                refused,
                self._grace,
            )

    async def let_go(self) -> None:
        """Give up, after the grace, what no client has asked for again."""
        await asyncio.sleep(self._grace)
        self._pool.let_go(OWNER)

    def make_room(self) -> bool:
        """Give some of it up at once, because clients want other symbols; tell whether there was any."""
        held = self._pool.demand.instruments(OWNER)[:_SLICE]
        return bool(self._pool.unsubscribe(held, owner=OWNER))

    async def watch(self, save: Callable[[Mapping[Instrument, Mode]], bool]) -> None:
        """Hand the demand to `save` whenever it has changed, at most every few seconds, without an end."""
        while True:
            await asyncio.sleep(self._look)
            seen = self._pool.demand.changes
            if seen != self._kept and save(await self._collected()):
                self._kept = seen

    def last(self) -> Mapping[Instrument, Mode] | None:
        """Return the demand if it changed since it was kept, for an end that does not wait."""
        demand = self._pool.demand
        if not self._restored or demand.changes == self._kept:
            return None
        return {i: mode for i in demand.instruments() if (mode := demand.mode(i)) is not None}

    async def _collected(self) -> dict[Instrument, Mode]:
        demand, wanted = self._pool.demand, {}
        instruments = demand.instruments()
        for start in range(0, len(instruments), _SLICE):
            for instrument in instruments[start : start + _SLICE]:
                mode = demand.mode(instrument)
                if mode is not None:  # it may have been given up meanwhile
                    wanted[instrument] = mode
            await asyncio.sleep(0)
        return wanted
