"""The one task that writes what need not be acknowledged, so that nothing else waits for the database."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Mapping
from typing import Any

from brokerpool.db.error_classification import code_of, is_outage
from brokerpool.store.write_backlog import Backlog, Batch, Change

logger = logging.getLogger("brokerpool.db")

#: A batch that takes longer counts as failed and is written again.
BATCH_SECONDS = 30.0


class Writer:
    """Takes entries at once and writes them in batches, one transaction each, in a task of its own.

    While the database is away or slow the entries wait; when it is back they are written. Entries of which
    the database says that they can never be written are dropped, counted and logged by kind.
    """

    def __init__(
        self,
        write: Callable[[Batch], Awaitable[None]],
        backlog: Backlog | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`write` puts a batch into the database in one transaction; the same batch may come twice."""
        self._write = write
        self._backlog = Backlog() if backlog is None else backlog
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        #: The error code of a batch that was not taken, until the next one is; else empty.
        self.fault = ""
        self._failures = 0
        self._last_fault = ""

    def start(self) -> None:
        """Write from now on."""
        self._task = asyncio.create_task(self._run(), name="brokerpool database writer")

    def add(self, table: str, values: Mapping[str, Any]) -> bool:
        """Queue a row of a history table; False when it was dropped and counted. Never waits."""
        self._news.set()
        return self._backlog.add(table, values)

    def put(self, key: Hashable, kind: str, change: Change) -> bool:
        """Queue a change in place of an older one with the same key; False when it was dropped."""
        self._news.set()
        return self._backlog.put(key, kind, change)

    async def close(self, seconds: float = 5.0) -> None:
        """Write what waits, for so long at most; the rest is dropped and counted, and the log tells it."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        try:
            await asyncio.wait({task})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    while self._backlog and await self._turn():
                        pass
        finally:
            if left := self._backlog.abandon():
                logger.warning("%d entries for the database were not written (%s)", left, self._last_fault)

    def stats(self) -> dict[str, Any]:
        """Return what waits, what was written, what was dropped by kind, and how often a batch failed."""
        return {
            "queued": len(self._backlog),
            "written": self._backlog.written,
            "dropped": dict(self._backlog.dropped),
            "failures": self._failures,
            "last_fault": self._last_fault,
        }

    def __repr__(self) -> str:
        return f"<Writer {self._backlog!r}>"

    async def _run(self) -> None:
        while True:
            wait = self._backlog.due_in(self._clock())
            if wait == 0:
                await self._turn()
                continue
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._news.wait()

    async def _turn(self) -> bool:
        """Write one batch; False when the database did not take it."""
        batch = self._backlog.take(self._clock())
        try:
            async with asyncio.timeout(BATCH_SECONDS):
                refused = await self._written(batch)
        except asyncio.CancelledError:
            self._backlog.give_back()
            raise
        except Exception as error:  # an outage: whatever the driver or the pool raises for it
            self._backlog.give_back()
            self._failed(error)
            return False
        self._backlog.confirm(refused)
        if self.fault:
            logger.info("the database takes entries again; %d wait", len(self._backlog))
            self.fault = ""
        return True

    async def _written(self, batch: Batch) -> Counter[str]:
        refused: Counter[str] = Counter()
        try:
            await self._write(batch)
        except Exception as error:
            if is_outage(error):
                raise
            # One entry spoils the batch: without this it would come first for ever.
            for piece in batch.pieces():
                try:
                    await self._write(piece)
                except Exception as fault:
                    if is_outage(fault):
                        raise
                    kind = piece.rows[0].table if piece.rows else "changes"
                    refused[kind] += 1
                    logger.warning("the database refuses an entry of %s (%s)", kind, type(fault).__name__)
        return refused

    def _failed(self, error: Exception) -> None:
        self._failures += 1
        self._last_fault = code_of(error)
        if not self.fault:
            logger.warning(
                "the database takes no entries (%s); %d wait, and are written when it is back",
                self._last_fault,
                len(self._backlog),
            )
        self.fault = self._last_fault
