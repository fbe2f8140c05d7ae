"""How far each symbol of one socket has come: sent, live after its first tick, or silent."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from brokerpool.feed.states import SymbolState
from brokerpool.instruments import Instrument
from brokerpool.ticks import Tick

#: A symbol whose first tick has not come this long after it was sent is reported as silent.
SILENT_SECONDS = 10.0


class Arrivals:
    """The symbols whose first tick is still to come; times are monotonic seconds."""

    def __init__(self) -> None:
        self._awaited: dict[Instrument, float] = {}  # -> when it was sent
        self._checks: deque[tuple[float, list[Instrument]]] = deque()

    def sent(self, instruments: list[Instrument], now: float) -> None:
        """Expect the first ticks of these."""
        self._awaited.update(dict.fromkeys(instruments, now))
        self._checks.append((now + SILENT_SECONDS, instruments))

    def drop(self, instrument: Instrument) -> None:
        """Expect nothing of a symbol any more."""
        self._awaited.pop(instrument, None)

    def clear(self) -> None:
        """Forget everything, because the socket is gone."""
        self._awaited.clear()
        self._checks.clear()

    def arrived(self, ticks: Iterable[Tick]) -> list[Instrument]:
        """Return the symbols that have their first tick among these."""
        awaited = self._awaited
        if not awaited:
            return []
        return [t.instrument for t in ticks if awaited.pop(t.instrument, None) is not None]

    def overdue(self, now: float) -> list[Instrument]:
        """Return the symbols that have become silent since the last call."""
        silent: list[Instrument] = []
        while self._checks and self._checks[0][0] <= now:
            due, instruments = self._checks.popleft()
            silent += [i for i in instruments if self._awaited.get(i, due) + SILENT_SECONDS <= due]
        return silent

    def sent_at(self, instrument: Instrument) -> float:
        """Return when a symbol was sent whose first tick is still to come; KeyError for any other."""
        return self._awaited[instrument]

    def state(self, instrument: Instrument, now: float) -> SymbolState:
        """Tell how far a symbol that was sent has come."""
        sent_at = self._awaited.get(instrument)
        if sent_at is None:
            return SymbolState.LIVE
        return SymbolState.SILENT if now - sent_at >= SILENT_SECONDS else SymbolState.SENT
