"""Large messages of a broker on their way to the decoder: a part in each turn of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from brokerpool.callback_isolation import Fence
from brokerpool.transport import Link

#: A whole message, or a part of one.
Message: TypeAlias = str | bytes | memoryview
Parts: TypeAlias = Callable[[Any], Iterable[Message]]


class Backlog:
    """Keeps messages in order, and has their link not read for as long as one of them waits.

    What can wait is one message and what was read with it.
    """

    def __init__(self, take: Callable[[Message], None], fence: Fence) -> None:
        """`take` decodes a part; it must not raise."""
        self._take = take
        self._fence = fence
        #: What has begun to wait, part by part; to be read only, it is never replaced.
        self.waiting: deque[Iterator[Message]] = deque()
        self._part: Message | None = None  # that the next turn takes
        self._next: asyncio.Handle | None = None
        self._link: Link | None = None

    def put(self, parts: Parts, message: Message, link: Link | None) -> None:
        """Take the first part now, unless others wait, and the next ones in the turns that follow.

        A message of one part is done with that, for to stop reading costs as much as a hundred ticks.
        """
        nothing: Iterable[Message] = ()
        self.waiting.append(iter(self._fence.call(parts, message, otherwise=nothing)))
        self._link = link
        if self._next is None:
            self._turn()
            if self._next is not None and link is not None:
                link.pause_reading()

    def clear(self) -> None:
        """Drop what waits, because its socket has ended."""
        self.waiting.clear()
        self._part = None
        self._link = None
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _turn(self) -> None:
        self._next = None
        part = self._following() if self._part is None else self._part
        self._part = None
        if part is not None:
            self._take(part)
            self._part = self._following()
        if self._part is not None:
            self._next = asyncio.get_running_loop().call_soon(self._turn)
        elif self._link is not None:
            self._link.resume_reading()

    def _following(self) -> Message | None:
        while self.waiting:
            part: Message | None = self._fence.call(next, self.waiting[0], None, otherwise=None, name="parts")
            if part is not None:
                return part
            self.waiting.popleft()
        return None
