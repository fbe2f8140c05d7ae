"""What a gateway holds, what it has asked feed nodes for, and what those have said to that."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from brokerpool.cluster.durations import Timing
from brokerpool.cluster.pending_wants import PendingWants, Want
from brokerpool.cluster.remote_placement import RemotePlacement
from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.feed.demand import Demand
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.upstream_interface import Answer
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


class RemoteDemand:
    """Keeps what the accounts are wanted to serve in line with what is held and asked for here."""

    def __init__(
        self,
        placement: RemotePlacement,
        timing: Timing,
        listener: PoolListener,
        monotonic: Callable[[], float],
    ) -> None:
        """The listener is told of what was granted and is refused later."""
        #: Who holds what, without wants under way; to be read only.
        self.demand = Demand()
        self._placement = placement
        self._timing = timing
        self._listener = listener
        self._monotonic = monotonic
        self._pending = PendingWants()

    def want(self, owner: str, instruments: Sequence[Instrument], mode: Mode, priority: int) -> Answer:
        """Want the instruments in the mode; what is held here in that mode already is granted at once."""
        answer: Answer = asyncio.get_running_loop().create_future()
        wanted = list(dict.fromkeys(instruments))
        want = Want(owner, wanted, mode, priority, answer, self._monotonic() + self._timing.answer)
        self._pending.add(want)
        for instrument in wanted:
            held = self.demand.mode(instrument)
            if held is None or held < mode or self.demand.priority(instrument) < priority:
                want.open[instrument] = None
        self._align(wanted)
        self._settle(wanted)
        self._grant_whole([want])
        return answer

    def release(self, owner: str, instruments: Sequence[Instrument], modes: Iterable[Mode]) -> int:
        """Give up these modes of what the owner holds; return of how many instruments."""
        modes = tuple(modes)
        given_up = [i for i in instruments if self.demand.release(owner, i, modes)]
        self._align(given_up)
        return len(given_up)

    def give_up(self, instruments: Iterable[Instrument]) -> None:
        """Release these for all owners: no account lists them any more."""
        for instrument in instruments:
            for owner in list(self.demand.owners(instrument)):
                self.demand.release(owner, instrument)
            self._align([instrument])

    def answered(self, changed: Sequence[Instrument], lost: Iterable[Instrument]) -> None:
        """Take what accounts have said of symbols; `lost` have no place anywhere from now on."""
        self._settle(changed)
        self._grant_whole(self._pending.all())
        for instrument in lost:
            if self.demand.mode(instrument) is not None:  # else nobody waits for it any more
                refusal = self._placement.refusal(instrument)
                if refusal is not None:
                    self._listener.refused([instrument], refusal[1].message)

    def look(self, now: float) -> None:
        """End wants that no feed node has answered in time."""
        for want in self._pending.overdue(now):
            text = f"no feed node has answered for {len(want.open)} symbols within {self._timing.answer:g} s."
            want.fail(BrokerpoolError(text, code=ErrorCode.FEED_UNREACHABLE))
            self._grant(want)
            self._align(want.instruments)

    def close(self, closed: BrokerpoolError) -> None:
        """End all wants with the error."""
        for want in self._pending.all():
            self._pending.over(want)
            want.fail(closed)

    # -- inside -------------------------------------------------------------------------------------------

    def _settle(self, instruments: Iterable[Instrument]) -> None:
        """Have wants of these accepted or refused, as far as it is known."""
        refused = []
        for instrument in instruments:
            for want in self._pending.of(instrument):
                if instrument not in want.open:
                    continue
                if self._placement.granted(instrument, want.mode):
                    del want.open[instrument]
                elif (why := self._placement.refusal(instrument)) is not None and want.mode >= why[0]:
                    self._pending.refuse(want, why[1])
                    refused.append(instrument)
                # Else it was refused in a higher mode, for which somebody else asked: it is asked for again.
        self._align(refused)

    def _grant_whole(self, wants: Iterable[Want]) -> None:
        """Answer those of which nothing is open any more."""
        for want in [want for want in wants if not want.open]:
            self._grant(want)
            want.answer()

    def _grant(self, want: Want) -> None:
        """Have what was accepted held, in the order in which it was wanted."""
        for instrument in want.accepted():
            self.demand.want(want.owner, instrument, want.mode, want.priority)
        self._pending.over(want)

    def _align(self, instruments: Iterable[Instrument]) -> None:
        """Bring what is wanted of the accounts into line with what is held and asked for here."""
        for instrument in instruments:
            held, asked = self.demand.mode(instrument), self._pending.mode(instrument)
            if held is None and asked is None:
                self._placement.drop(instrument)
                continue
            mode = max(held or Mode.LTP, asked or Mode.LTP)
            priorities = [] if held is None else [self.demand.priority(instrument)]
            if asked is not None:
                priorities.append(self._pending.priority(instrument))
            self._placement.want(instrument, mode, max(priorities))
