"""The instrument list of a gateway of a cluster, which its feed nodes keep that of the day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import Any

from brokerpool.gateway.instrument_counts import by_exchange, counted
from brokerpool.instruments import TokenBook

#: Between two looks whether there is another list.
_LOOK_SECONDS = 5.0


class RemoteList:
    """Tells of the list in use what `InstrumentRefresh` tells of one that it reads itself."""

    def __init__(self, book: Callable[[], TokenBook], wall_clock: Callable[[], float] = time.time) -> None:
        self._book = book
        self._wall_clock = wall_clock
        self._exchanges: dict[str, int] = {}
        self._told: TokenBook | None = None
        self._taken = 0
        self._taken_at, self._taken_at_wall = 0.0, 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look after the list."""
        self._task = asyncio.create_task(self._run(), name="brokerpool instrument list")

    def request(self) -> None:
        """Do nothing: it is read again where the accounts are."""

    async def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    @property
    def exchanges(self) -> Iterable[str]:
        """The exchanges of the list in use."""
        return self._exchanges

    @property
    def fault(self) -> str:
        """Why there is no list, empty while there is one."""
        book = self._book()
        return "" if len(book) or book.takes_unlisted else "no feed node has told one yet"

    def stats(self) -> dict[str, Any]:
        """Return the list's size, age and fortunes; see `monitor.metric_vocabulary`."""
        taken = self._told is not None
        age = asyncio.get_running_loop().time() - self._taken_at
        return {
            "instruments": len(self._book()),
            "instruments_by_exchange": self._exchanges,
            "instruments_read_at": round(self._taken_at_wall, 3) if taken else None,
            "instruments_age_seconds": round(age, 1) if taken else None,
            "instruments_reads": {"taken": self._taken, "refused": 0, "failed": 0},
            "instruments_unlisted": 0,
            "instruments_fault": self.fault,
        }

    async def _run(self) -> None:
        while True:
            book = self._book()
            if book is not self._told and len(book):
                exchanges = by_exchange(await counted(book))
                self._exchanges, self._told = exchanges, book
                self._taken += 1
                self._taken_at = asyncio.get_running_loop().time()
                self._taken_at_wall = self._wall_clock()
            await asyncio.sleep(_LOOK_SECONDS)
