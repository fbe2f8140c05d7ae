"""Symbols by rank, the first one always at hand; a rank may change, and a symbol may leave, at any time."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterator

from brokerpool.instruments import Instrument

#: Entries that count no more are cleared away when they are more than the others and this many.
_SPARE_ENTRIES = 64


class Ranking:
    """A queue by rank, the lowest first, and among equals by age; every change costs the logarithm of it."""

    def __init__(self, *, youngest_first: bool = False) -> None:
        self._heap: list[tuple[float, int, Instrument]] = []
        self._entries: dict[Instrument, tuple[float, int, Instrument]] = {}
        self._numbers = itertools.count(0, -1 if youngest_first else 1)

    def put(self, instrument: Instrument, rank: float) -> None:
        """Take a symbol in, or give it another rank; one that has it already keeps its place."""
        known = self._entries.get(instrument)
        if known is not None and known[0] == rank:
            return
        entry = self._entries[instrument] = rank, next(self._numbers), instrument
        heapq.heappush(self._heap, entry)
        if len(self._heap) > 2 * len(self._entries) + _SPARE_ENTRIES:
            self._heap = list(self._entries.values())
            heapq.heapify(self._heap)

    def discard(self, instrument: Instrument) -> None:
        """Let a symbol go; one that is not here is ignored."""
        self._entries.pop(instrument, None)

    def first(self) -> tuple[float, Instrument] | None:
        """Return the lowest rank and who has it, None when nobody is here."""
        heap = self._heap
        while heap:
            rank, _, instrument = heap[0]
            if self._entries.get(instrument) is heap[0]:
                return rank, instrument
            heapq.heappop(heap)  # it left, or has another rank now
        return None

    def in_order(self) -> Iterator[tuple[float, Instrument]]:
        """Give all of them with their ranks, the lowest first; the first costs as little as `first` does."""
        first = self.first()
        if first is None:
            return
        yield first
        heap = self._heap.copy()
        heapq.heappop(heap)
        while heap:
            entry = heapq.heappop(heap)
            rank, _, instrument = entry
            if self._entries.get(instrument) is entry:
                yield rank, instrument

    def __contains__(self, instrument: object) -> bool:
        return instrument in self._entries

    def __len__(self) -> int:
        return len(self._entries)
