"""Clients that have left are cleared away a slice in each turn, however many of them leave at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator

#: Seconds of a turn of the event loop that go into it.
_SHARE_SECONDS = 0.001
_DONE = object()


class DeferredCleanup:
    """Works off what is left to do of those who are gone, in the order in which they went.

    A proxy that restarts, or a network that goes, takes hundreds of clients along in one moment; those that
    stay must not wait until all of their symbols are given up.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Iterator[None]] = deque()
        self._turn: asyncio.Handle | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, steps: Iterator[None]) -> None:
        """Take the steps one by one, each a small piece of work, from the next turn on."""
        self._waiting.append(steps)
        if self._turn is None:
            self._turn = self._loop.call_soon(self._work)

    def close(self) -> None:
        """Leave the rest undone: what it would be taken out of ends as well."""
        self._waiting.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None

    def _work(self) -> None:
        self._turn = None
        until = self._loop.time() + _SHARE_SECONDS
        try:
            while self._waiting and self._loop.time() < until:
                steps = self._waiting[0]
                if next(steps, _DONE) is _DONE:
                    self._waiting.popleft()
        except BaseException:
            self._waiting.popleft()  # one that fails must not stand in the way of the others
            raise
        finally:
            if self._waiting:
                self._turn = self._loop.call_soon(self._work)
