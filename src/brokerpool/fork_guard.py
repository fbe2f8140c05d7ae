"""A pool belongs to the process that used it first: a forked child is told so, and touches nothing of it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import weakref

from brokerpool.errors import PoolForkedError

#: What a child must not finalize, of every guard that has been entered.
_in_use: weakref.WeakSet[object] = weakref.WeakSet()


class ForkGuard:
    """Says whether this process may use what is guarded, which is decided by the first use.

    A child has a copy of every socket, of TLS sessions and of locks on files, but no thread and no loop that
    serves them. What it wrote would reach the parent's server in the middle of the parent's words; even
    closing a copy can end the parent's session, or take the parent's sockets out of its event loop.
    """

    __slots__ = ("_guarded", "_name", "_pid", "loop")

    def __init__(self, guarded: object, name: str) -> None:
        """`name` is how the error calls it. What was never used before the fork is the child's own."""
        self._guarded = weakref.ref(guarded)
        self._name = name
        self._pid: int | None = None
        #: The event loop of the first use, which serves it; None before, and where there was none.
        self.loop: asyncio.AbstractEventLoop | None = None

    @property
    def elsewhere(self) -> bool:
        """True in a child of the process that it belongs to."""
        return self._pid is not None and self._pid != os.getpid()

    def enter(self) -> None:
        """Return in the process that it belongs to, which is this one if it was never used.

        Raises PoolForkedError in a forked child.
        """
        if self._pid is None:
            self._pid = os.getpid()
            with contextlib.suppress(RuntimeError):  # none runs here
                self.loop = asyncio.get_running_loop()
            _in_use.add(self._guarded())
        elif self.elsewhere:
            raise PoolForkedError(
                f"{self._name} was used by process {self._pid} before this process, {os.getpid()},"
                " was forked from it."
            )


def _keep_for_ever() -> None:
    """In a child: see to it that nothing of the parent's is finalized, at the child's end neither."""
    if not _in_use:
        return
    import ctypes  # only here, for a child that needs it

    for guarded in _in_use:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(guarded))


if hasattr(os, "register_at_fork"):  # not on Windows, where there is no fork
    os.register_at_fork(after_in_child=_keep_for_ever)
