"""What clients want outlives the process: kept when it changed, and asked for again before they are back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping

from brokerpool.feed.upstream_interface import Answer, Upstream
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

logger = logging.getLogger("brokerpool.gateway")

#: In whose name the demand of the last run is held.
OWNER = "restored"
#: For how long it is held, for clients to come back and ask themselves.
GRACE_SECONDS = 120.0
#: What the upstream has for its answers to the restoration.
ANSWER_SECONDS = 10.0
#: Between two looks whether the demand has changed.
LOOK_SECONDS = 5.0
#: Instruments that are dealt with before ticks have their turn: about a millisecond.
_SLICE = 250
#: And what is given up in one turn: it is dearer.
_SHARE = 100


class SavedDemand:
    """The demand of one gateway, as it is kept and as it comes back."""

    def __init__(
        self, upstream: Upstream, *, grace: float = GRACE_SECONDS, look: float = LOOK_SECONDS
    ) -> None:
        self._upstream = upstream
        self._grace = grace
        self._look = look
        self._kept: int | None = None  # the state of the demand that is kept, None before the restoration
        self._restored = False
        self._given_up = False

    async def restore(self, wanted: Mapping[Instrument, Mode]) -> None:
        """Subscribe what the last run left, as far as it is listed and there is room; a slice at a time.

        The upstream's answers are waited for a while, all together; what comes later counts all the same.
        """
        items = list(wanted.items())
        answers: list[Answer] = []
        for start in range(0, len(items), _SLICE):
            for mode in Mode:
                part = [instrument for instrument, own in items[start : start + _SLICE] if own is mode]
                if part:
                    answers.append(self._upstream.want(OWNER, part, mode))
                    answers[-1].add_done_callback(self._answered)
            await asyncio.sleep(0)
        if not all(answer.done() for answer in answers):
            await asyncio.wait(answers, timeout=ANSWER_SECONDS)
        self._restored = True
        if items:
            restored = sum(len(answer.result().accepted) for answer in answers if _is_good(answer))
            logger.info(
                "%d symbols of the last run are subscribed again, %d are not listed or have no room;"
                " those that no client asks for within %g s are given up",
                restored,
                len(items) - restored,
                self._grace,
            )

    async def let_go(self) -> None:
        """Give up, after the grace, what no client has asked for again."""
        await asyncio.sleep(self._grace)
        self._given_up = True
        held = self._upstream.demand.instruments(OWNER)
        for start in range(0, len(held), _SHARE):
            self._upstream.release(OWNER, held[start : start + _SHARE])
            await asyncio.sleep(0)

    def make_room(self) -> bool:
        """Give some of it up at once, because clients want other symbols; tell whether there was any."""
        held = self._upstream.demand.instruments(OWNER)[:_SLICE]
        self._upstream.release(OWNER, held)
        return bool(held)

    async def watch(self, save: Callable[[Mapping[Instrument, Mode]], bool]) -> None:
        """Hand the demand to `save` whenever it has changed, at most every few seconds, without an end."""
        while True:
            await asyncio.sleep(self._look)
            seen = self._upstream.demand.changes
            if seen != self._kept and save(await self._collected()):
                self._kept = seen

    def last(self) -> Mapping[Instrument, Mode] | None:
        """Return the demand if it changed since it was kept, for an end that does not wait."""
        demand = self._upstream.demand
        if not self._restored or demand.changes == self._kept:
            return None
        return {i: mode for i in demand.instruments() if (mode := demand.mode(i)) is not None}

    def _answered(self, answer: Answer) -> None:
        if _is_good(answer) and self._given_up:  # too late, so that it is nobody's
            self._upstream.release(OWNER, answer.result().accepted)

    async def _collected(self) -> dict[Instrument, Mode]:
        demand, wanted = self._upstream.demand, {}
        instruments = demand.instruments()
        for start in range(0, len(instruments), _SLICE):
            for instrument in instruments[start : start + _SLICE]:
                mode = demand.mode(instrument)
                if mode is not None:  # it may have been given up meanwhile
                    wanted[instrument] = mode
            await asyncio.sleep(0)
        return wanted


def _is_good(answer: Answer) -> bool:
    return answer.done() and not answer.cancelled() and answer.exception() is None
