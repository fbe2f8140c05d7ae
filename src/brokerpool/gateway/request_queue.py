"""One client's messages, worked off in order, and a bounded part of them in a turn of the event loop."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol, TypeAlias

#: What a client's messages may take in one turn: so many of them, and so many bytes.
_REQUESTS_A_TURN = 32
_BYTES_A_TURN = 64 * 1024
#: Memory that may wait: more than one read of the socket brings, and nothing is read while anything waits.
_MOST_BYTES = 4 * 1024 * 1024

#: A request under way. A step of it is what fits into a turn; one that gives a future goes on when that is
#: done, or when it has been waited for long enough.
Steps: TypeAlias = Iterator[asyncio.Future[Any] | None]

_DONE = object()
_NOTHING: Iterator[None] = iter(())


class Source(Protocol):
    """Where the messages come from: a link."""

    @property
    def closed(self) -> bool: ...

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class RequestQueue:
    """Works off what a client sends, in order: nothing is begun before the request before it is through.

    The client is read only while nothing waits, so that who sends faster than it is served, or does not read
    the answers, is slowed down by TCP and costs no memory.
    """

    def __init__(
        self,
        source: Source,
        carry_out: Callable[[str | bytes], Steps],
        delay: Callable[[], float],
        overflow: Callable[[], None],
        patience: float,
    ) -> None:
        """`delay` counts a request and returns 0, or returns the seconds after which it may come;
        `overflow` is called when more waits than may be; a future is waited for `patience` seconds.
        """
        self._source = source
        self._carry_out = carry_out
        self._delay = delay
        self._overflow = overflow
        self._patience = patience
        self._waiting: deque[str | bytes] = deque()
        self._waiting_bytes = 0
        self._first = _NOTHING  # goes before everything else
        self._present: Steps | None = None  # what is left of the present request
        self._awaited: asyncio.Future[Any] | None = None  # without which it does not go on
        self._until: asyncio.TimerHandle
        self._held = False
        self._turn: asyncio.Handle | None = None  # when it goes on

    def put(self, message: str | bytes) -> None:
        """Have a message carried out after those before it, from the next turn of the event loop on."""
        self._waiting.append(message)
        self._waiting_bytes += sys.getsizeof(message)
        if self._waiting_bytes > _MOST_BYTES:
            self._overflow()
        elif self._turn is None and not self._held:
            self._turn = asyncio.get_running_loop().call_soon(self._work)

    def hold(self) -> None:
        """Do nothing, and read nothing, until `go_on`."""
        self._held = True
        self._first = _NOTHING
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._source.pause_reading()

    def go_on(self, first: Iterator[None] = _NOTHING) -> None:
        """Work again, and carry `first` out before what was left."""
        self._held = False
        self._first = first
        self._work()

    def close(self) -> None:
        """Carry nothing out any more, and keep nothing."""
        self.hold()
        self._await_no_more()
        self._present = None
        self._waiting.clear()
        self._waiting_bytes = 0

    def _work(self) -> None:
        self._turn = None
        wait = self._share()
        if self._held:
            return
        if wait is None and not self._waiting:
            self._source.resume_reading()
            return
        self._source.pause_reading()
        if wait is None:
            return
        loop = asyncio.get_running_loop()
        self._turn = loop.call_later(wait, self._work) if wait else loop.call_soon(self._work)

    def _share(self) -> float | None:
        """Work for one turn; return the seconds after which it goes on, None when there is nothing to do."""
        if next(self._first, _DONE) is not _DONE:
            return 0.0
        if self._awaited is not None:
            return None
        spent = 0
        for _ in range(_REQUESTS_A_TURN):
            if self._held or self._source.closed or spent >= _BYTES_A_TURN:
                break
            if self._present is None:
                if not self._waiting:
                    return None
                if wait := self._delay():
                    return wait
                message = self._waiting.popleft()
                size = sys.getsizeof(message)
                self._waiting_bytes -= size
                spent += size
                self._present = self._carry_out(message)
            step = next(self._present, _DONE)
            if isinstance(step, asyncio.Future):
                self._await(step)
                return None
            if step is not _DONE:
                return 0.0
            self._present = None
        if self._source.closed:
            self.close()
        return 0.0 if self._waiting or self._present else None

    def _await(self, future: asyncio.Future[Any]) -> None:
        self._awaited = future
        self._until = asyncio.get_running_loop().call_later(self._patience, self._awaited_enough)
        future.add_done_callback(self._awaited_enough)

    def _awaited_enough(self, _: object = None) -> None:
        self._await_no_more()
        if self._turn is None and not self._held:
            self._work()

    def _await_no_more(self) -> None:
        if self._awaited is not None:
            self._awaited.remove_done_callback(self._awaited_enough)
            self._awaited = None
            self._until.cancel()
