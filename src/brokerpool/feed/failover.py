"""Who is carried where while connections are out: hosted symbols in what room there is, by priority."""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterator, Sequence
from typing import NamedTuple

from brokerpool.feed.placement import Placement
from brokerpool.feed.updatable_heap import Ranking
from brokerpool.instruments import Instrument
from brokerpool.ticks import Mode

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

    Where modes are told apart a symbol moves in the mode that is wanted of it. One that is hosted in a lower
    mode than is wanted by now is served, and waits for a better place.
    """

    def __init__(
        self, placement: Placement, leaving: Container[str], urgency: Callable[[Instrument], float]
    ) -> None:
        self._placement = placement
        self._leaving = leaving
        self._urgency = urgency
        #: Displaced symbols without a place that is to stay, and those that wait for a better one, the most
        #: important first; by the mode that is wanted, where modes are told apart.
        self._waiting = {mode: Ranking() for mode in (Mode if placement.rule.by_mode else (Mode.LTP,))}
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
        if urgency == AT_HOME:
            self._wait_no_more(instrument)
            return
        waits = host is None or host in self._leaving or self._placement.low(instrument)
        wanted = self._placement.wanted(instrument)
        for mode, waiting in self._waiting.items():
            if waits and mode is wanted:
                waiting.put(instrument, -urgency)
            else:
                waiting.discard(instrument)

    def take_in(self, instrument: Instrument, name: str) -> None:
        """Make a symbol hosted by the slot."""
        self._unrank(instrument)
        self._placement.take_in(instrument, name)
        self._wait_no_more(instrument)
        self._ranked(name).put(instrument, self._urgency(instrument))

    def leave(self, instrument: Instrument) -> None:
        """End a hosted symbol's stay; whether it waits for another place is for `note` to say."""
        self._unrank(instrument)
        self._placement.leave(instrument)

    def make_home(self, instrument: Instrument) -> str:
        """Make a place as hosted its home, and return the home that it leaves."""
        self._unrank(instrument)
        self._wait_no_more(instrument)
        return self._placement.make_home(instrument)

    def rehome(self, instrument: Instrument, name: str, mode: Mode, host: str | None) -> list[str]:
        """Give a symbol its home in another slot, in a higher mode; see `Placement.rehome`."""
        self._unrank(instrument)
        freed = self._placement.rehome(instrument, name, mode, host)
        self.note(instrument)
        return freed

    def remove(self, instrument: Instrument) -> str:
        """Free all places of a symbol that nobody wants any more, and return the slot that was its home."""
        self._unrank(instrument)
        self._wait_no_more(instrument)
        return self._placement.remove(instrument)

    def close(self, name: str) -> None:
        """Take an empty slot away."""
        self._placement.close(name)
        self._hosted.pop(name, None)

    # -- what is to be done -------------------------------------------------------------------------------

    def surplus(self, name: str) -> list[Instrument]:
        """Return the hosted symbols that have to leave a slot, because its own symbols need their places."""
        surplus = self._least(name, self._placement.carried_by_mode(name), self._placement.rule.fits)
        assert surplus is not None  # only hosted symbols can be too many
        return [instrument for _, instrument in surplus]

    def step(self, hosts: Sequence[str], spare: str | None = None) -> Move | None:
        """Return what is to be done next, None when nothing is; to be asked again when it is done.

        Hosts are slots that work and may take symbols in; the hosted symbols of others keep their places.
        `spare` is a slot that may be opened when the hosts are full.
        """
        if self._cast_off:
            return Move(next(iter(self._cast_off)), None)
        # What needs much room may have none where another symbol, that is less important, has.
        for rank, instrument in self._first():
            room = next((name for name in hosts if self._placement.takes(name, instrument)), spare)
            if room is not None:
                return Move(instrument, room)
            least = self._displaced(hosts, instrument, -rank)
            if least is not None:
                return Move(least, None)
        return None

    def waits(self, instrument: Instrument) -> bool:
        """Tell whether a symbol is displaced and has no place, or none that is to stay."""
        if not any(instrument in waiting for waiting in self._waiting.values()):
            return False
        host = self._placement.host(instrument)
        return host is None or host in self._leaving

    @property
    def waiting(self) -> int:
        """How many symbols wait for a place."""
        return sum(map(len, self._waiting.values()))

    @property
    def busy(self) -> bool:
        """True while a step may be due."""
        return bool(self._cast_off) or any(self._waiting.values())

    def _first(self) -> Iterator[tuple[float, Instrument]]:
        """Give the most important symbol that waits in each mode, the most important of all first."""
        first = [first for waiting in self._waiting.values() if (first := waiting.first()) is not None]
        return iter(sorted(first, key=lambda ranked: ranked[0]))

    def _displaced(self, hosts: Sequence[str], instrument: Instrument, urgency: float) -> Instrument | None:
        """Return who has to leave next so that a symbol gets a place, None if it gets none.

        It takes the places of as few hosted symbols as it needs, and only of less important ones.
        """
        rule, mode = self._placement.rule, self._placement.wanted(instrument)
        found: list[tuple[float, Instrument]] = []
        for name in hosts:
            least = self._ranked(name).first()
            if least is None or least[0] >= urgency:
                continue
            carried = self._placement.carried_by_mode(name)
            if self._placement.host(instrument) == name:
                carried[self._placement.mode(name, instrument)] -= 1
            leaving = self._least(name, carried, lambda left: rule.room(left, mode) > 0, urgency)
            # The choice is the same after the first of several has left.
            if leaving and (not found or (leaving[-1][0], len(leaving)) < (found[-1][0], len(found))):
                found = leaving
        return found[0][1] if found else None

    def _least(
        self, name: str, carried: list[int], enough: Callable[[list[int]], bool], below: float = math.inf
    ) -> list[tuple[float, Instrument]] | None:
        """Return the least important hosted symbols without which it is enough, None if it never is.

        They come with their ranks, the least important first. `carried` is used up; those whose rank is not
        `below` stay.
        """
        leaving: list[tuple[float, Instrument]] = []
        for ranked in self._ranked(name).in_order():
            if enough(carried) or ranked[0] >= below != math.inf:
                break
            carried[self._placement.mode(name, ranked[1])] -= 1
            leaving.append(ranked)
        if not enough(carried):
            return None
        if self._placement.rule.by_mode:
            for ranked in reversed(leaving.copy()):
                mode = self._placement.mode(name, ranked[1])
                carried[mode] += 1
                if enough(carried):  # it need not leave
                    leaving.remove(ranked)
                else:
                    carried[mode] -= 1
        return leaving

    def _wait_no_more(self, instrument: Instrument) -> None:
        for waiting in self._waiting.values():
            waiting.discard(instrument)

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
