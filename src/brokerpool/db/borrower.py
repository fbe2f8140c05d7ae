"""Who has a connection: the task and the line of the program that asked for it."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from types import CodeType, FrameType

_OURS = ("brokerpool.", "contextlib")


@dataclass(slots=True)
class Borrower:
    """A caller; its names are put together only when somebody wants to read them."""

    code: CodeType
    line: int
    #: The task that has to return the connection; None when that is not a task's business.
    task: asyncio.Task[object] | None
    name: str = ""

    @property
    def site(self) -> str:
        """File and line outside of this library at which the connection was asked for."""
        return f"{self.code.co_filename}:{self.line}"

    @property
    def holder(self) -> str:
        """The name of the task or thread."""
        return self.task.get_name() if self.task is not None else self.name

    @property
    def gone(self) -> bool:
        """True when the task has ended."""
        return self.task is not None and self.task.done()

    def __str__(self) -> str:
        return f"{self.site} by {self.holder}"


def call_site() -> tuple[CodeType, int]:
    """Return where the nearest caller outside of this library is; costs about a microsecond.

    When all of the stack is ours, as in a task of the store, it is the outermost function.
    """
    frame: FrameType = sys._getframe(1)
    while frame.f_globals.get("__name__", "").startswith(_OURS) and frame.f_back is not None:
        outer = frame.f_back
        if outer.f_globals.get("__name__", "").startswith("asyncio"):
            break
        frame = outer
    return frame.f_code, frame.f_lineno
