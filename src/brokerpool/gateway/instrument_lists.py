"""The instrument lists of all accounts, looked after as one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from brokerpool.gateway.summed_statistics import summed


class LookedAfter(Protocol):
    """What keeps one list: `InstrumentRefresh` says what each member does and returns."""

    @property
    def fault(self) -> str: ...

    @property
    def exchanges(self) -> Iterable[str]: ...

    def start(self) -> None: ...

    def request(self) -> None: ...

    async def stop(self) -> None: ...

    def stats(self) -> dict[str, Any]: ...


class InstrumentLists:
    """Keeps each account's list that of the day; of one account it says what that one's refresh says."""

    def __init__(self, refreshes: Mapping[str, LookedAfter]) -> None:
        """Account -> what looks after its list; at least one, in order of preference."""
        self._refreshes = refreshes

    def start(self) -> None:
        """Begin to look after the lists."""
        for refresh in self._refreshes.values():
            refresh.start()

    def request(self) -> None:
        """Have all lists read again soon; returns at once."""
        for refresh in self._refreshes.values():
            refresh.request()

    async def stop(self) -> None:
        """Give up what is being read; the lists in use stay."""
        await asyncio.gather(*(refresh.stop() for refresh in self._refreshes.values()))

    @property
    def exchanges(self) -> Iterable[str]:
        """The exchanges of the lists in use."""
        return dict.fromkeys(e for refresh in self._refreshes.values() for e in refresh.exchanges)

    @property
    def fault(self) -> str:
        """Why a list that was asked for last is not in use, empty when all are; it names one of several."""
        if len(self._refreshes) == 1:
            return next(iter(self._refreshes.values())).fault
        faults = {name: refresh.fault for name, refresh in self._refreshes.items() if refresh.fault}
        return "; ".join(f"{name}: {fault.removesuffix('.')}" for name, fault in faults.items())

    def stats(self) -> dict[str, Any]:
        """Return size, age and fortunes; of several lists what they have together, and the oldest's age.

        What is on several lists is counted once: of an exchange, the longest list counts.
        """
        each = {name: refresh.stats() for name, refresh in self._refreshes.items()}
        if len(each) == 1:
            return next(iter(each.values()))
        exchanges: dict[str, int] = {}
        for stats in each.values():
            for exchange, count in stats["instruments_by_exchange"].items():
                exchanges[exchange] = max(count, exchanges.get(exchange, 0))
        read = [s for s in each.values() if s["instruments_read_at"] is not None]
        oldest = min(read, key=lambda s: float(s["instruments_read_at"]), default=next(iter(each.values())))
        return {
            "instruments": sum(exchanges.values()),
            "instruments_by_exchange": exchanges,
            "instruments_read_at": oldest["instruments_read_at"],
            "instruments_age_seconds": oldest["instruments_age_seconds"],
            "instruments_reads": summed([stats["instruments_reads"] for stats in each.values()]),
            "instruments_unlisted": sum(stats["instruments_unlisted"] for stats in each.values()),
            "instruments_fault": self.fault,
            "accounts": [{"name": name, **stats} for name, stats in each.items()],
        }
