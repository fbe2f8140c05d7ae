"""Wants that a feed node has not answered yet; pure: it is told versions and answers, and tells results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from brokerpool.errors import BrokerpoolError, Refused
from brokerpool.feed.refusals import Subscribed
from brokerpool.feed.upstream_interface import Answer
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


class Want:
    """One want, until each of its instruments is accepted or refused."""

    def __init__(
        self,
        owner: str,
        instruments: Sequence[Instrument],
        mode: Mode,
        priority: int,
        answer: Answer,
        until: float,
    ) -> None:
        """`until` is when it ends with an error, in monotonic seconds."""
        self.owner = owner
        self.mode = mode
        self.priority = priority
        self.until = until
        self._answer = answer
        self._instruments = instruments
        #: Those that are open, each with the slice's version that must be answered.
        self.open: dict[Instrument, int] = {}
        self._refused: dict[Instrument, Refused] = {}

    def accept(self, instrument: Instrument) -> None:
        """Note that one is granted."""
        self.open.pop(instrument, None)

    def refuse(self, refused: Refused) -> None:
        """Note that one is refused."""
        self.open.pop(refused.instrument, None)
        self._refused[refused.instrument] = refused

    def finish(self) -> bool:
        """Answer where nothing is open any more; tell whether that is so."""
        if not self.open and not self._answer.done():
            accepted = tuple(i for i in self._instruments if i not in self._refused)
            self._answer.set_result(Subscribed(accepted, tuple(self._refused.values())))
        return not self.open

    def fail(self, error: BrokerpoolError, refusal: str) -> None:
        """End it: with the error where nothing was granted, else with what is open refused."""
        if len(self.open) + len(self._refused) >= len(self._instruments):
            if not self._answer.done():
                self._answer.set_exception(error)
                self._answer.exception()  # nobody may be waiting any more
            self.open.clear()
            return
        for instrument in list(self.open):
            self.refuse(Refused(instrument, error.code, refusal))
        self.finish()


class PendingWants:
    """All wants that are open, and which of them an answer concerns."""

    def __init__(self) -> None:
        self._by_instrument: defaultdict[Instrument, list[Want]] = defaultdict(list)
        self._wants: dict[Want, None] = {}

    def add(self, want: Want, instruments: Iterable[Instrument]) -> None:
        """Have these of a want open until they are answered."""
        self._wants[want] = None
        for instrument in instruments:
            want.open[instrument] = 0
            self._by_instrument[instrument].append(want)

    def of(self, instrument: Instrument) -> Sequence[Want]:
        """Return the wants in which the instrument is open."""
        return self._by_instrument.get(instrument, ())

    def instruments(self) -> list[Instrument]:
        """Return all instruments that are open in any."""
        return list(self._by_instrument)

    def mode(self, instrument: Instrument) -> Mode | None:
        """Return the highest mode in which the instrument is wanted, None where none wants it."""
        return max((want.mode for want in self.of(instrument)), default=None)

    def priority(self, instrument: Instrument) -> int:
        """Return the highest priority that a want gives the instrument."""
        return max((want.priority for want in self.of(instrument)), default=0)

    def close(self, want: Want, instrument: Instrument) -> None:
        """Take one of a want for answered, which the want was told."""
        wants = self._by_instrument[instrument]
        wants.remove(want)
        if not wants:
            del self._by_instrument[instrument]
        if want.finish():
            self._wants.pop(want, None)

    def overdue(self, now: float) -> list[Want]:
        """Return those whose time is over."""
        return [want for want in self._wants if want.until <= now]

    def all(self) -> list[Want]:
        """Return all of them."""
        return list(self._wants)

    def drop(self, want: Want) -> list[Instrument]:
        """Forget a want; return which of its instruments were open."""
        dropped = list(want.open)
        for instrument in dropped:
            wants = self._by_instrument[instrument]
            wants.remove(want)
            if not wants:
                del self._by_instrument[instrument]
        self._wants.pop(want, None)
        return dropped
