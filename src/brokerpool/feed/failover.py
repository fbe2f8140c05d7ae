"""Who is carried where while connections are out: hosted symbols in what room there is, by priority."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple

from brokerpool.feed.placement import Placement
from brokerpool.feed.ranking import Ranking
from brokerpool.instruments import Instrument

#: The urgency of a symbol whose home works.
AT_HOME = math.inf


class Move(NamedTuple):
    """One step towards carrying the most important symbols."""

    instrument: Instrument
    #: The slot that takes it in; None when it has to leave the place that it has.
    to: str | None


class Failover:
    """Keeps count of the symbols away from home, and tells one step after the other what is to be done.

    A symbol is displaced while its home is one of the `leaving`; `urgency` says how much it needs another
    place, and is AT_HOME for one that is not displaced. Each change is told by `note`, and each step costs
    little however many symbols are away, so that the work may be done in shares. Among equals those stay that
    have a place already, then the older ones come first. Symbols at home keep their places whatever the
    hosted symbols' urgency is. Hosted symbols whose home is not leaving any more stay where they are, as far
    as the slot's own symbols leave room, until their home has taken over again.
    """

    def __init__(
        self, placement: Placement, leaving: Container[str], urgency: Callable[[Instrument], float]
    ) -> None:
        self._placement = placement
        self._leaving = leaving
        self._urgency = urgency
        #: Displaced symbols without a place that is to stay, the most important first.
        self._waiting = Ranking()
        #: Displaced hosted symbols of a slot that is leaving itself.
        self._cast_off: dict[Instrument, None] = {}
        #: By slot, the least important first.
        self._hosted: dict[str, Ranking] = {}

    # -- what happens -------------------------------------------------------------------------------------

    def note(self, instrument: Instrument) -> None:
        """Look again at a symbol that has a home: its urgency, its home's standing or its host's changed."""
        urgency, host = self._urgency(instrument), self._placement.host(instrument)
        self._cast_off.pop(instrument, None)
        if host is not None:
            self._ranked(host).put(instrument, urgency)
            if urgency != AT_HOME and host in self._leaving:
                self._cast_off[instrument] = None
        if urgency != AT_HOME and (host is None or host in self._leaving):
            self._waiting.put(instrument, -urgency)
        else:
            self._waiting.discard(instrument)

    def take_in(self, instrument: Instrument, name: str) -> None:
        """Make a symbol hosted by the slot."""
        self._placement.take_in(instrument, name)
        self._waiting.discard(instrument)
        self._ranked(name).put(instrument, self._urgency(instrument))

    def leave(self, instrument: Instrument) -> None:
        """End a hosted symbol's stay; whether it waits for another place is for `note` to say."""
        self._unrank(instrument)
        self._placement.leave(instrument)

    def make_home(self, instrument: Instrument) -> str:
        """Make a place as hosted its home, and return the home that it leaves."""
        self._unrank(instrument)
        self._waiting.discard(instrument)
        return self._placement.make_home(instrument)

    def remove(self, instrument: Instrument) -> str:
        """Free all places of a symbol that nobody wants any more, and return the slot that was its home."""
        self._unrank(instrument)
        self._waiting.discard(instrument)
        return self._placement.remove(instrument)

    def close(self, name: str) -> None:
        """Take an empty slot away."""
        self._placement.close(name)
        self._hosted.pop(name, None)

    # -- what is to be done -------------------------------------------------------------------------------

    def surplus(self, name: str) -> list[Instrument]:
        """Return the hosted symbols that have to leave a slot, because its own symbols need their places."""
        ranked, surplus = self._hosted.get(name), []
        for _ in range(-self._placement.room(name)):
            least = ranked.first() if ranked is not None else None
            assert ranked is not None  # only hosted symbols can be too many
            assert least is not None
            ranked.discard(least[1])
            surplus.append(least[1])
        return surplus

    def step(self, hosts: Sequence[str], spare: str | None = None) -> Move | None:
        """Return what is to be done next, None when nothing is; to be asked again when it is done.

        Hosts are slots that work and may take symbols in; the hosted symbols of others keep their places.
        `spare` is a slot that may be opened when the hosts are full.
        """
        if self._cast_off:
            return Move(next(iter(self._cast_off)), None)
        first = self._waiting.first()
        if first is None:
            return None
        rank, instrument = first
        room = next((name for name in hosts if self._placement.room(name) > 0), spare)
        if room is not None:
            return Move(instrument, room)
        kept = [least for name in hosts if (least := self._ranked(name).first()) is not None]
        least = min(kept, key=lambda held: held[0], default=None)
        # A more important one takes the place of a hosted symbol, and only the more important.
        return Move(least[1], None) if least is not None and least[0] < -rank else None

    def waits(self, instrument: Instrument) -> bool:
        """Tell whether a symbol is displaced and has no place, or none that is to stay."""
        return instrument in self._waiting

    @property
    def waiting(self) -> int:
        """How many symbols wait for a place."""
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """True while a step may be due."""
        return bool(self._cast_off or self._waiting)

    def _ranked(self, name: str) -> Ranking:
        ranked = self._hosted.get(name)
        if ranked is None:
            ranked = self._hosted[name] = Ranking(youngest_first=True)
        return ranked

    def _unrank(self, instrument: Instrument) -> None:
        self._cast_off.pop(instrument, None)
        host = self._placement.host(instrument)
        if host is not None:
            self._ranked(host).discard(instrument)
