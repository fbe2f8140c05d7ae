"""The fence around strangers' code: what a listener or hook raises is told, counted, and goes no further."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger("brokerpool.callback_isolation")

#: So many names are told apart; what is beyond them is counted as OTHERS.
MOST_NAMES = 100
OTHERS = "others"
#: So many calls of one hook may go on after they were given up; until one ends, the hook is not called again.
MOST_GIVEN_UP = 10


class HookFailed(Exception):  # noqa: N818  (inside of the pools only; callers see what they make of it)
    """A hook raised, which is the `__cause__` then, or did not answer in its time."""


class Fence:
    """Catches what is raised by code that is not ours, and by tasks of ours that must not end by it.

    The first fault of a name is logged with its stack, and after that the tenth, the hundredth and so on; all
    are counted. What is to end the process, or was asked of the task that calls, is let through.
    """

    def __init__(self, owner: str, tell: Callable[[str], object] = lambda reason: None) -> None:
        """`owner` is named in the log; `tell` gets a line, without secrets, for each fault that is logged."""
        #: Faults by the name of what raised; to be read only.
        self.faults: Counter[str] = Counter()
        self._owner = owner
        self._tell = tell
        self._given_up: dict[asyncio.Task[object], str] = {}

    def caught(self, name: str, error: BaseException, *, secret: bool = False) -> None:
        """Tell and count a fault; to be called where it was caught, with whatever that was.

        `secret` leaves texts and source lines out of the log. Raises the error again when it is the end of
        the process, or the cancellation of the running task.
        """
        if _goes_on(error):
            raise error
        self._count(name, f"raised {type(error).__name__}", error, secret=secret)

    def call(self, hook: Callable[..., T], *args: object, otherwise: T, name: str = "") -> T:
        """Return what the hook returns, and `otherwise` when it raises; without a `name` its own is told."""
        try:
            return hook(*args)
        except BaseException as error:
            self.caught(name or name_of(hook), error)
            return otherwise

    async def ask(
        self,
        hook: Callable[[], Awaitable[T]],
        *,
        name: str,
        seconds: float,
        passes: tuple[type[Exception], ...] = (),
    ) -> T:
        """Return what the hook answers within `seconds`, also when it ignores its cancellation.

        Raises HookFailed, and what `passes` names, which is no fault. Cancelled, it cancels the hook.
        """
        if sum(known == name for known in self._given_up.values()) >= MOST_GIVEN_UP:
            raise self._failed(name, f"was not called: {MOST_GIVEN_UP} calls of it have not ended")
        # In a task of its own: what ignores its cancellation is left behind, and whose cancellation comes out
        # of it is known.
        task = asyncio.create_task(_outcome(hook), name=f"brokerpool {name}")
        try:
            await asyncio.wait({task}, timeout=seconds)
        finally:
            if not task.done():
                task.cancel()
                self._given_up[task] = name
                task.add_done_callback(self._given_up.pop)
        if not task.done():
            raise self._failed(name, f"did not answer within {seconds:g} s")
        answer, error = task.result()
        if error is None:
            return answer  # type: ignore[return-value]  # without an error there is an answer
        if isinstance(error, passes):
            raise error
        if _goes_on(error):
            raise error
        raise self._failed(name, f"raised {type(error).__name__}", error) from error

    async def supervise(
        self, run: Callable[[], Awaitable[None]], rest: Callable[[], float], *, name: str
    ) -> None:
        """Run until it returns; when it raises, tell it, rest for so many seconds and begin anew."""
        while True:
            try:
                return await run()
            except GeneratorExit:  # a coroutine that is closed has to end
                raise
            except BaseException as error:
                self.caught(name, error)
            await asyncio.sleep(rest())

    def _failed(self, name: str, what: str, error: BaseException | None = None) -> HookFailed:
        self._count(name, what, error, secret=True)
        return HookFailed(f"{name} {what}")

    def _count(self, name: str, what: str, error: BaseException | None, *, secret: bool) -> None:
        if name not in self.faults and len(self.faults) >= MOST_NAMES:
            name = OTHERS
        self.faults[name] += 1
        count = self.faults[name]
        if not _is_told(count):
            return
        place = _place(error) if secret and error is not None else ""
        logger.error(
            "%s: %s %s%s (%d so far); nothing else is affected",
            *(self._owner, name, what, place, count),
            exc_info=None if secret else error,
        )
        self._tell(f"{name} {what} ({count} so far); see the log")

    def __repr__(self) -> str:
        return f"<Fence of {self._owner}, {self.faults.total()} faults>"


def name_of(hook: Callable[..., object]) -> str:
    """Return what a hook is called in its owner's code, as in `Watcher.ticked`."""
    owner = getattr(hook, "__self__", None)
    if owner is not None and not inspect.ismodule(owner):
        name = f"{type(owner).__qualname__}.{getattr(hook, '__name__', '?')}"
    else:
        name = str(getattr(hook, "__qualname__", type(hook).__qualname__))
    return name.rpartition("<locals>.")[2]


def check_plain(**hooks: object) -> None:
    """Raise TypeError for a hook that cannot be called, or is a coroutine function: nobody would await it."""
    for name, hook in hooks.items():
        if not callable(hook):
            raise TypeError(f"{name} has to be a function, and is {type(hook).__name__}")
        if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
            raise TypeError(f"{name} has to be a plain function: {name_of(hook)} is a coroutine function")


async def _outcome(hook: Callable[[], Awaitable[T]]) -> tuple[T | None, BaseException | None]:
    try:
        return await hook(), None
    except BaseException as error:  # told by whoever waits for it; nothing reaches the loop from here
        return None, error


def _goes_on(error: BaseException) -> bool:
    if isinstance(error, KeyboardInterrupt | SystemExit):
        # In another thread these would end nothing but the loop of a blocking twin.
        return threading.current_thread() is threading.main_thread()
    if not isinstance(error, asyncio.CancelledError):
        return False
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop: nothing that could be cancelled
        return False
    return task is not None and task.cancelling() > 0


def _place(error: BaseException) -> str:
    """Say where it was raised, without the source, in which a password may stand."""
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return ""
    frame, line = frames[-1]
    return f" in {frame.f_code.co_name}, {frame.f_code.co_filename}:{line}"


def _is_told(count: int) -> bool:
    while count % 10 == 0:
        count //= 10
    return count == 1
