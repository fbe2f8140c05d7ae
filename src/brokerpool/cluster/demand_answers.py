"""What a gateway has asked one account for, and what was said to that; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from brokerpool.cluster.demand_state import Wanted
from brokerpool.errors import Refused
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode


@dataclass(slots=True)
class Asked:
    """One instrument that an account is asked for."""

    wanted: Wanted
    #: Of the slice that says so; an answer to an older version is none.
    version: int
    #: True until that is answered.
    open: bool = True
    #: The mode in which the account has accepted it, None where it has not.
    granted: Mode | None = None
    #: Why it was refused at the last answer.
    refused: Refused | None = None

    @property
    def has_no_place(self) -> bool:
        """True where the account refused it as a whole, and not a higher mode than the one that it has."""
        return self.refused is not None and self.granted is None

    def answered(self, refused: Refused | None) -> bool:
        """Take an answer; tell whether it is another one than before."""
        before = self.open, self.granted, self.refused
        self.open, self.refused = False, refused
        if refused is None:
            self.granted = self.wanted.mode
        elif self.granted is not None and self.granted >= self.wanted.mode:
            self.granted = None  # it had it, and has it no more
        return before != (self.open, self.granted, self.refused)


class Asks:
    """All that one account is asked for."""

    def __init__(self) -> None:
        self._asked: dict[Instrument, Asked] = {}

    def get(self, instrument: Instrument) -> Asked | None:
        """Return what was asked and answered of an instrument, None where it is not asked for."""
        return self._asked.get(instrument)

    def ask(self, instrument: Instrument, wanted: Wanted, version: int) -> None:
        """Note what is asked for, and the version of the slice that says so.

        What was refused stays refused until it is answered, unless less is asked for now.
        """
        asked = self._asked.get(instrument)
        if asked is None:
            self._asked[instrument] = Asked(wanted, version)
        elif asked.wanted != wanted:
            if asked.refused is None or wanted.mode < asked.wanted.mode:
                asked.open, asked.refused = True, None
            asked.wanted, asked.version = wanted, version

    def forget(self, instrument: Instrument) -> bool:
        """Note that an instrument is not asked for any more; tell whether it was."""
        return self._asked.pop(instrument, None) is not None

    def answered(
        self, version: int, instruments: Iterable[Instrument], refused: Mapping[Instrument, Refused]
    ) -> list[Instrument]:
        """Take an answer to a slice with these instruments; return those of which it says something new."""
        news = []
        for instrument in instruments:
            asked = self._asked.get(instrument)
            if asked is not None and asked.version <= version and asked.answered(refused.get(instrument)):
                news.append(instrument)
        return news
