"""One snapshot for all who look: built twice a second at most, encoded once, and not at all for nobody."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from brokerpool.errors import BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.gateway.dashboard.snapshot import Sources, journal, snapshot

logger = logging.getLogger("brokerpool.gateway")

PERIOD_SECONDS = 0.5
MAX_VIEWERS = 16
#: Messages that may wait for one viewer; who has not taken any for so long is dropped.
WAITING = 4
#: Entries of the journal that a new viewer gets.
BACKLOG = 300

_encode = msgspec.json.Encoder().encode


class Viewer:
    """One open dashboard: what waits for it, and whether it is to go."""

    def __init__(self, allowed: Callable[[], bool], who: str = "") -> None:
        """`allowed` tells whether it may see more; it is asked before each snapshot; `who` is for the log."""
        self.who = who
        self.allowed = allowed
        self._waiting: deque[bytes] = deque()
        self._woken = asyncio.Event()
        self._ended = False
        self._limit = asyncio.timeout(None)

    def put(self, message: bytes) -> bool:
        """Queue a message and return True; False when too many wait already."""
        if len(self._waiting) >= WAITING:
            return False
        self._waiting.append(message)
        self._woken.set()
        return True

    def end(self) -> None:
        """Send what waits, and then no more."""
        self._ended = True
        self._woken.set()

    def drop(self) -> None:
        """Send nothing more, though a message may be on its way."""
        self.end()
        if self._limit.when() is None:
            with contextlib.suppress(RuntimeError):  # not begun yet, or over
                self._limit.reschedule(asyncio.get_running_loop().time())

    async def carry(self, send: Send, start: Message) -> None:
        """Write the start and what is queued until the end. Raises TimeoutError when it is dropped."""
        async with self._limit:
            await send(start)
            while True:
                while self._waiting:
                    body = self._waiting.popleft()
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                if self._ended:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
                self._woken.clear()
                await self._woken.wait()


class Broadcast:
    """Pushes lines of JSON to all viewers; a slow one is dropped, and nobody waits for it."""

    def __init__(self, sources: Sources, journal: Journal, *, period: float = PERIOD_SECONDS) -> None:
        self._sources = sources
        self._journal = journal
        self._period = period
        self._viewers: set[Viewer] = set()
        self._task: asyncio.Task[None] | None = None
        self._latest = b""
        self._told = 0  # the number of the last entry of the journal that was sent
        self._closed = False
        #: Snapshots since the start.
        self.built = 0

    @property
    def viewers(self) -> int:
        """How many dashboards are open."""
        return len(self._viewers)

    @contextlib.contextmanager
    def viewer(self, allowed: Callable[[], bool], who: str = "") -> Iterator[Viewer]:
        """Give a viewer that gets the journal so far, and then every snapshot as long as it is `allowed`.

        Raises BrokerpoolError with TOO_MANY_DASHBOARDS.
        """
        self.check_room()
        viewer = Viewer(allowed, who)
        entries = self._journal.entries()[-BACKLOG:]
        viewer.put(_line({"kind": "journal", "entries": journal(entries)}))
        self._viewers.add(viewer)
        if self._closed:
            viewer.end()
        elif self._task is None:
            self._told = entries[-1].number if entries else 0
            self._task = asyncio.create_task(self._run(), name="brokerpool dashboard")
        elif self._latest:
            viewer.put(self._latest)
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._stop()

    def check_room(self) -> None:
        """Raise BrokerpoolError with TOO_MANY_DASHBOARDS when one more viewer is one too many."""
        if len(self._viewers) >= MAX_VIEWERS:
            text = f"{len(self._viewers)} dashboards are open, and no more than {MAX_VIEWERS} are served."
            raise BrokerpoolError(text, code=ErrorCode.TOO_MANY_DASHBOARDS)

    def close(self) -> None:
        """End all streams."""
        self._closed = True
        self._stop()
        for viewer in self._viewers:
            viewer.end()

    # -- inside -------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self._latest = b""

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        built_at = loop.time() - self._period
        while True:
            since, built_at = built_at, loop.time()
            try:
                moment = self._moment(since)
                await asyncio.sleep(0)  # ticks pass before it is encoded
                self._latest = _line(moment)
            except Exception:  # a fault of ours: the page says that it is cut off, and tries again
                logger.exception("the dashboard has no snapshot")
                self._task = None
                for viewer in self._viewers:
                    viewer.end()
                return
            for viewer in self._viewers:
                if not viewer.allowed():
                    viewer.drop()
                elif not viewer.put(self._latest):
                    text = "a dashboard %s was dropped: it did not take %d messages"
                    logger.info(text, viewer.who, WAITING)
                    viewer.drop()
            await asyncio.sleep(self._period)

    def _moment(self, since: float) -> dict[str, Any]:
        entries = self._journal.entries(self._told)
        if entries:
            self._told = entries[-1].number
        self.built += 1
        return snapshot(self._sources, since=since, entries=entries[-BACKLOG:])


class Stream(Response):
    """The answer that goes on until the viewer leaves, is dropped or not allowed, or the gateway stops."""

    media_type = "application/x-ndjson"

    def __init__(
        self, broadcast: Broadcast, headers: Mapping[str, str], allowed: Callable[[], bool], who: str = ""
    ) -> None:
        broadcast.check_room()
        super().__init__(headers=dict(headers))
        del self.headers["content-length"]
        self._broadcast = broadcast
        self._allowed = allowed
        self._who = who

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._broadcast.viewer(self._allowed, self._who) as viewer:
            leaving = asyncio.create_task(_left(receive, viewer), name="brokerpool dashboard viewer")
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            try:
                with contextlib.suppress(TimeoutError):
                    await viewer.carry(send, start)
            finally:
                leaving.cancel()


async def _left(receive: Receive, viewer: Viewer) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    viewer.end()


def _line(message: dict[str, Any]) -> bytes:
    return _encode(message) + b"\n"
