"""Wants that no feed node has answered yet; pure: it is told what is accepted, and tells results."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

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
        self.instruments = instruments
        self.mode = mode
        self.priority = priority
        self.until = until
        #: Those that are open; a dict as an ordered set.
        self.open: dict[Instrument, None] = {}
        self._refused: dict[Instrument, Refused] = {}
        self._answer = answer

    def refuse(self, refused: Refused) -> None:
        """Note that one is refused."""
        self.open.pop(refused.instrument, None)
        self._refused[refused.instrument] = refused

    def accepted(self) -> tuple[Instrument, ...]:
        """Return those that are accepted, in the order in which they were wanted."""
        return tuple(i for i in self.instruments if i not in self._refused and i not in self.open)

    def answer(self) -> None:
        """Answer, now that nothing is open."""
        if not self._answer.done():  # else nobody waits any more
            self._answer.set_result(Subscribed(self.accepted(), tuple(self._refused.values())))

    def fail(self, error: BrokerpoolError) -> None:
        """Refuse what is open; with nothing accepted the error is the answer."""
        for instrument in list(self.open):
            self.refuse(Refused(instrument, error.code, str(error)))
        if self.accepted():
            self.answer()
        elif not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # nobody may look at it any more


class PendingWants:
    """All wants that are open, and what they ask for; what is refused they ask for no more."""

    def __init__(self) -> None:
        self._by_instrument: defaultdict[Instrument, list[Want]] = defaultdict(list)
        self._wants: dict[Want, None] = {}

    def add(self, want: Want) -> None:
        """Have a want ask for its instruments until it is over."""
        self._wants[want] = None
        for instrument in want.instruments:
            self._by_instrument[instrument].append(want)

    def of(self, instrument: Instrument) -> list[Want]:
        """Return the wants that ask for the instrument."""
        return list(self._by_instrument.get(instrument, ()))

    def mode(self, instrument: Instrument) -> Mode | None:
        """Return the highest mode in which they ask for the instrument, None where none does."""
        return max((want.mode for want in self.of(instrument)), default=None)

    def priority(self, instrument: Instrument) -> int:
        """Return the highest priority that they give the instrument."""
        return max((want.priority for want in self.of(instrument)), default=0)

    def refuse(self, want: Want, refused: Refused) -> None:
        """Have a want ask for one of its instruments no more."""
        want.refuse(refused)
        self._forget(want, refused.instrument)

    def over(self, want: Want) -> None:
        """Have a want ask for nothing more."""
        self._wants.pop(want, None)
        for instrument in want.instruments:
            self._forget(want, instrument)

    def overdue(self, now: float) -> list[Want]:
        """Return those whose time is over."""
        return [want for want in self._wants if want.until <= now]

    def all(self) -> list[Want]:
        """Return all of them."""
        return list(self._wants)

    def _forget(self, want: Want, instrument: Instrument) -> None:
        wants = self._by_instrument.get(instrument, [])
        if want in wants:
            wants.remove(want)
            if not wants:
                del self._by_instrument[instrument]
