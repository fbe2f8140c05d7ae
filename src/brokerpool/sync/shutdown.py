"""How a blocking twin ends: drained on its loop, and then without a thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self

from brokerpool import argument_checks
from brokerpool.sync.loop import LoopThread


class Twin:
    """The end of what can be drained; used in a `with` block it drains at the end of it."""

    def __init__(self, owner: str, drained: Callable[[float], Coroutine[Any, Any, None]]) -> None:
        """`owner` is its name in errors, `drained` the asynchronous method."""
        self._loop = LoopThread(owner)
        self._drained = drained

    def drain(self, deadline: float = 10.0) -> None:
        """Refuse newcomers, give the others `deadline` seconds, close everything and end the thread.

        A second call does nothing.
        """
        argument_checks.seconds("deadline", deadline)
        if self._loop.closed:
            return
        self._loop.run(self._drained(deadline), deadline)
        self._loop.close()

    def close(self) -> None:
        """Drain without waiting for anybody."""
        self.drain(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.drain()
