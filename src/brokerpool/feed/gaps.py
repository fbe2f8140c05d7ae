"""Holes in the data: opened when a symbol loses its feed, closed by its next tick, and always in pairs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from brokerpool.instruments import Instrument


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which ticks of an instrument may have been missed; times are epoch milliseconds."""

    instrument: Instrument
    #: When the last tick before the hole was received.
    from_ms: int
    #: Why, for people: what happened to the connection, or to the symbol.
    reason: str
    #: When the first tick after it was received, or nobody wanted the symbol any more; None while it is open.
    to_ms: int | None = None
    #: Whether a snapshot was delivered inside it.
    filled: bool = False


class GapBook:
    """The open gaps, at most one for each instrument."""

    def __init__(self) -> None:
        self._open: dict[Instrument, Gap] = {}

    def open(self, edges: Mapping[Instrument, int], reason: str) -> list[Gap]:
        """Open a gap at each edge (epoch milliseconds of the last tick) and return those that are new.

        An instrument whose gap is open already keeps its first edge and its first reason: the data stopped
        there, whatever has happened since.
        """
        fresh = [Gap(i, edge, reason) for i, edge in edges.items() if i not in self._open]
        self._open.update((gap.instrument, gap) for gap in fresh)
        return fresh

    def close(self, instruments: Iterable[Instrument], now_ms: int) -> list[Gap]:
        """Close the gaps of these instruments and return them with both edges; others are ignored.

        No gap ends before it begins, though the wall clock may have been set back meanwhile.
        """
        closed = []
        for instrument in instruments:
            gap = self._open.pop(instrument, None)
            if gap is not None:
                closed.append(replace(gap, to_ms=max(gap.from_ms, now_ms)))
        return closed

    def fill(self, instrument: Instrument) -> bool:
        """Note that a snapshot was delivered inside the instrument's gap; tell whether there is one."""
        gap = self._open.get(instrument)
        if gap is None:
            return False
        self._open[instrument] = replace(gap, filled=True)
        return True

    def unfilled(self, opened_before_ms: int) -> list[Gap]:
        """Return the open gaps without a snapshot whose data stopped before the time, the oldest first."""
        due = [gap for gap in self._open.values() if not gap.filled and gap.from_ms < opened_before_ms]
        return sorted(due, key=lambda gap: gap.from_ms)

    def get(self, instrument: Instrument) -> Gap | None:
        """Return the instrument's open gap, None when there is none."""
        return self._open.get(instrument)

    def first(self, most: int) -> list[Gap]:
        """Return at most so many of the open gaps, in the order in which they were opened."""
        return list(islice(self._open.values(), most))

    def instruments(self) -> list[Instrument]:
        """Return the instruments whose gap is open."""
        return list(self._open)

    def __contains__(self, instrument: object) -> bool:
        return instrument in self._open

    def __len__(self) -> int:
        return len(self._open)

    def __repr__(self) -> str:
        return f"<GapBook {len(self._open)} open>"
