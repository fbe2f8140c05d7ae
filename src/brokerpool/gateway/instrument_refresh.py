"""Keeps the broker's instrument list that of the day, and the good one in use while a newer one is worse."""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Sized
from random import Random
from typing import Any, Protocol

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.retry_pacing import RetryPacing
from brokerpool.callback_isolation import Fence
from brokerpool.errors import BrokerError
from brokerpool.gateway.instrument_counts import Counts, by_exchange, counted, lost
from brokerpool.instruments import TokenBook

logger = logging.getLogger("brokerpool.gateway")

#: What fetching and reading a list may take together.
REFRESH_SECONDS = 120.0
#: The day's list is read within so many seconds after it can be had, lest all ask in the same one.
_SPREAD_SECONDS = 120.0
#: Between two looks at the wall clock, which may jump.
_LOOK_SECONDS = 60.0
_DAY = 86_400
#: Entries of an old list that are freed before the event loop has its turn: a tenth of a millisecond.
_FREED_AT_ONCE = 500


class Relisted(Protocol):
    """Where a newer list has to be made use of: a pool."""

    @property
    def unlisted(self) -> Sized:
        """What is wanted and stands in the list no more."""
        ...

    def relist(self) -> int:
        """Use the tokens of the feed's present list; return how many wanted instruments have another one."""
        ...


class InstrumentRefresh:
    """Reads the list when there are new credentials, once a day, when asked to, and again after failures.

    One at a time, in slices, and within 120 s. A list that cannot be had, or has lost most of its rows or a
    whole kind of them, changes nothing: it is asked for again after 4 s, 8 s ... 15 minutes, and `fault` says
    what was wrong.
    """

    def __init__(
        self,
        pool: Relisted,
        feed: FullAccount,
        *,
        fault: BrokerError | None = None,
        random: Random | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """The feed's present list counts as read just now; with a `fault` there is none yet, which is why."""
        random = random or Random()
        self._pool = pool
        self._feed = feed
        self._wall_clock = wall_clock
        self._loop = asyncio.get_running_loop()
        self._pacing = RetryPacing(random)
        self._ready = feed.list_ready + random.uniform(0.0, _SPREAD_SECONDS)
        self._counts: Counts = {}
        self._outcomes = Counter(dict.fromkeys(("taken", "refused", "failed"), 0))
        #: Why the last list that was asked for is not in use; empty when it is.
        self.fault = "" if fault is None else str(fault)
        self._asked = asyncio.Event()
        self._version = feed.login.version
        self._task: asyncio.Task[None] | None = None
        self._freeing: set[asyncio.Task[None]] = set()
        self._read, self._read_at = self._note_read()
        if fault is not None:
            self._read_at = None  # there is none in use
            self._outcomes["failed"] += 1
            self._pacing.failed(self._loop.time(), fault.retry_after or 0.0)

    def start(self) -> None:
        """Begin to look after the list."""
        self._feed.login.watch(self._login_changed)
        fence = Fence("instrument list")
        running = fence.supervise(self._run, lambda: _LOOK_SECONDS, name="refreshing")
        self._task = asyncio.create_task(running, name="brokerpool instrument list")

    def request(self) -> None:
        """Have the list read again soon; returns at once. What is being read now may be too old for it."""
        self._asked.set()

    async def stop(self) -> None:
        """Give up what is being read; the list in use stays."""
        self._feed.login.unwatch(self._login_changed)
        tasks = [task for task in (self._task, *self._freeing) if task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    @property
    def exchanges(self) -> Iterable[str]:
        """The exchanges of the list in use."""
        return by_exchange(self._counts)

    def stats(self) -> dict[str, Any]:
        """Return the list's size, age and fortunes; see `monitor.metric_vocabulary`."""
        return {
            "instruments": len(self._feed.book),
            "instruments_by_exchange": by_exchange(self._counts),
            "instruments_read_at": None if self._read_at is None else round(self._read_at, 3),
            "instruments_age_seconds": None
            if self._read_at is None
            else round(self._loop.time() - self._read, 1),
            "instruments_reads": dict(self._outcomes),
            "instruments_unlisted": len(self._pool.unlisted),
            "instruments_fault": self.fault,
        }

    # -- when ---------------------------------------------------------------------------------------------

    def _login_changed(self) -> None:
        if self._feed.login.version != self._version:
            self._version = self._feed.login.version
            self.request()

    async def _run(self) -> None:
        self._counts = await counted(self._feed.book)
        while True:
            while (wait := self._wait()) > 0:
                try:
                    async with asyncio.timeout(min(wait, _LOOK_SECONDS)):
                        await self._asked.wait()
                except TimeoutError:
                    continue
            self._asked.clear()
            self._day = self._today()
            await self._refresh()

    def _wait(self) -> float:
        """Return the seconds until the list is to be read; 0 when that is now."""
        if self._asked.is_set() or self._today() != self._day:
            return 0.0
        if self.fault:
            return self._pacing.rest(self._loop.time())
        return _DAY - (self._wall_clock() - self._ready) % _DAY

    def _today(self) -> int:
        """Return the number of the day, which begins when its list can be had."""
        return int((self._wall_clock() - self._ready) // _DAY)

    # -- what ---------------------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        try:
            async with asyncio.timeout(REFRESH_SECONDS):
                book = await self._feed.instruments()
                counts = await counted(book)
            if missing := lost(self._counts, counts):
                self._free(book)
                self._failed("refused", f"the broker's new list is not used: {missing}")
            else:
                self._free(self._feed.book)
                self._take(book, counts)
        except BrokerError as error:
            self._failed("failed", str(error), error.retry_after or 0.0)
        except TimeoutError:
            self._failed("failed", f"it was not read within {REFRESH_SECONDS:g} s")
        except Exception as error:  # an adapter's or a listener's; it must not end the refreshing
            logger.exception("the instrument list could not be read")
            self._failed("failed", f"reading it failed with {type(error).__name__}")

    def _take(self, book: TokenBook, counts: Counts) -> None:
        self._feed.relist(book)
        moved = self._pool.relist()
        self._counts = counts
        self._outcomes["taken"] += 1
        self.fault = ""
        self._pacing.reset()
        self._read, self._read_at = self._note_read()
        unlisted = len(self._pool.unlisted)
        text = "%d instruments are listed; of those wanted, %d have new tokens and %d are listed no more"
        logger.info(text, len(book), moved, unlisted)

    def _failed(self, outcome: str, fault: str, at_least: float = 0.0) -> None:
        self._outcomes[outcome] += 1
        self.fault = fault
        self._pacing.failed(self._loop.time(), at_least)
        rest = self._pacing.rest(self._loop.time())
        logger.warning("the instrument list in use stays, and is read again in %.0f s: %s", rest, fault)

    def _note_read(self) -> tuple[float, float | None]:
        """Note that the list of the day is in use, and return when it was read, by the loop and the wall."""
        self._day = self._today()
        return self._loop.time(), self._wall_clock()

    def _free(self, book: TokenBook) -> None:
        task = asyncio.create_task(_freed(book), name="brokerpool old instrument list")
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)


def _freed(book: TokenBook) -> Coroutine[Any, Any, None]:
    """Free a list once nobody holds it any more, a little at a time: at once it would take 25 ms and more."""
    gone = asyncio.Event()
    # What is returned must not hold the book, or it would wait for itself.
    return _taken_apart(book.parts(), weakref.finalize(book, gone.set), gone)


async def _taken_apart(
    parts: tuple[dict[Any, Any], ...], finalizer: weakref.finalize[Any, Any], gone: asyncio.Event
) -> None:
    finalizer.atexit = False
    try:
        await gone.wait()
    finally:
        finalizer.detach()
    for part in parts:
        while part:
            for _ in range(min(len(part), _FREED_AT_ONCE)):
                part.popitem()
            await asyncio.sleep(0)
