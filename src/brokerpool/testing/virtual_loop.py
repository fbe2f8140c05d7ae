"""An event loop in virtual time: one thread, no I/O, the same order of events in every run."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any, NoReturn, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Monotonic seconds at which each run begins; not 0, so that nothing may take the beginning for "never".
START = 1_000.0
#: Epoch seconds at the same moment: Monday, 5 January 2026, 10:00 in India, well within market hours.
EPOCH = 1_767_587_400.0

#: What a simulated party must not ask for: each of these would bring in the real world, and its timing.
_REAL_WORLD = (
    *("add_reader", "remove_reader", "add_writer", "remove_writer", "add_signal_handler"),
    *("create_connection", "create_server", "create_unix_connection", "create_unix_server"),
    *("create_datagram_endpoint", "connect_read_pipe", "connect_write_pipe", "connect_accepted_socket"),
    *("sock_recv", "sock_recv_into", "sock_sendall", "sock_connect", "sock_accept", "sock_sendfile"),
    *("start_tls", "sendfile", "subprocess_exec", "subprocess_shell"),
    *("getaddrinfo", "getnameinfo", "run_in_executor", "set_default_executor"),
)


class NotSimulatedError(RuntimeError):
    """Something asked the loop for real I/O, a thread, a signal or a process."""


class DeadlockError(AssertionError):
    """The main task waits for something that cannot happen any more; the text says who waits where."""


class TooManyStepsError(AssertionError):
    """More callbacks ran than the scenario can need: something spins, or starts itself again and again."""


class LeakError(AssertionError):
    """The main task ended and left something behind; the text lists all of it."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Runs what is ready in the order in which it became so; when nothing is, time jumps to the next timer.

    Timers of the same moment run in the order in which they were set. No order depends on hashes, addresses
    or a clock, so that a scenario with a seeded Random runs the same way every time.
    """

    _ready: deque[asyncio.Handle]  # made by the base class, which puts there what `call_soon` gets

    def __init__(self, max_steps: int = 2_000_000) -> None:
        super().__init__()
        self._now = START
        self._thread = threading.get_ident()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._sequence = itertools.count()
        self._cancelled_timers = 0
        self._max_steps = max_steps
        self._tasks: list[asyncio.Task[Any]] = []
        #: Callbacks run so far; one wake-up of a task is one of them.
        self.steps = 0
        #: Called before each step with the handle that is about to run.
        self.before_step: Callable[[asyncio.Handle], None] | None = None
        #: What was raised where nobody could catch it: in callbacks, timers and forgotten tasks.
        self.raised: list[dict[str, Any]] = []
        self.set_exception_handler(lambda _, context: self.raised.append(context))

    # -- time ---------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._now

    def wall_clock(self) -> float:
        """Return the epoch seconds that go with the virtual time."""
        return EPOCH + self._now - START

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        # The base class keeps timers in a heap by time only, where equal times have no order of their own.
        heapq.heappush(self._timers, (when, next(self._sequence), timer))
        return timer

    def timers(self) -> list[asyncio.TimerHandle]:
        """Return the timers that are still to fire, the earliest first."""
        return [timer for _, _, timer in sorted(self._timers, key=lambda t: t[:2]) if not timer.cancelled()]

    # -- tasks --------------------------------------------------------------------------------------------

    def create_task(self, *args: Any, **kwargs: Any) -> asyncio.Task[Any]:  # noqa: ANN401  (asyncio's)
        task = super().create_task(*args, **kwargs)
        self._tasks.append(task)
        if len(self._tasks) % 1024 == 0:
            self._tasks = [task for task in self._tasks if not task.done() or _unseen(task)]
        return task

    def pending(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that have not ended, in the order in which they were made."""
        return [task for task in self._tasks if not task.done()]

    def unseen(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that failed and whose exception nobody has looked at."""
        return [task for task in self._tasks if task.done() and _unseen(task)]

    # -- turns --------------------------------------------------------------------------------------------

    def _run_once(self) -> None:
        """Run one turn; called by `run_forever` of the base class until the loop is stopped."""
        timers, ready = self._timers, self._ready
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not ready:
            if not timers:
                raise DeadlockError(self._deadlock())
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            ready.append(heapq.heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle.cancelled():
                continue
            if self.steps >= self._max_steps:
                raise TooManyStepsError(
                    f"{self.steps} steps by second {self._now - START:.3f}, about to run {handle!r}"
                )
            self.steps += 1
            if self.before_step is not None:
                self.before_step(handle)
                if handle.cancelled():
                    continue
            handle._run()

    def settle(self) -> None:
        """Run what is ready until nothing is, without letting time pass."""
        self.call_soon(self.stop)
        self.run_forever()
        while self._ready:
            self.call_soon(self.stop)
            self.run_forever()

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Like `call_soon`: there is one thread only, though some of asyncio asks as if there were more."""
        if threading.get_ident() != self._thread:
            raise NotSimulatedError("call_soon_threadsafe from another thread: the simulation has only one")
        return self.call_soon(callback, *args, context=context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        # A time-out that is set and cancelled for each message must not fill the heap.
        self._cancelled_timers += 1
        if self._cancelled_timers > 200 and self._cancelled_timers * 2 > len(self._timers):
            self._timers[:] = [entry for entry in self._timers if not entry[2].cancelled()]
            heapq.heapify(self._timers)
            self._cancelled_timers = 0

    def _deadlock(self) -> str:
        waiting = "\n".join(f"  {whereabouts(task)}" for task in self.pending())
        return f"nothing is ready and no timer is set, but these wait:\n{waiting or '  (no task)'}"


def _refuse(name: str) -> Callable[..., NoReturn]:
    def refused(*args: object, **kwargs: object) -> NoReturn:
        raise NotSimulatedError(f"{name}: the simulation has no real I/O, threads, signals or processes")

    return refused


for _name in _REAL_WORLD:
    setattr(VirtualLoop, _name, _refuse(_name))


def _unseen(task: asyncio.Task[Any]) -> bool:
    # The flag that makes asyncio complain when the task is collected; read here, so that it is never late.
    return bool(getattr(task, "_log_traceback", False))


def task_of(handle: asyncio.Handle) -> asyncio.Task[Any] | None:
    """Return the task that the handle wakes up, None when it is a plain callback."""
    owner = getattr(handle._callback, "__self__", None)  # type: ignore[attr-defined]
    return owner if isinstance(owner, asyncio.Task) else None


def whereabouts(task: asyncio.Task[Any]) -> str:
    """Say where a task waits: its name, and file, line and function from the outermost await inwards."""
    places = [
        f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}"
        for frame in _frames(task.get_coro())
    ]
    return f"{task.get_name()}: {' > '.join(places) or 'not started'}"


def _frames(awaited: object) -> Iterator[Any]:
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is None:
            return
        yield frame
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)


def run(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    max_steps: int = 2_000_000,
    prepare: Callable[[VirtualLoop], object] | None = None,
) -> T:
    """Run a coroutine function to its end in virtual time and return its result.

    Whatever it raises comes out. When it raises nothing, a task or timer that it left behind, and an
    exception that nobody has seen, raise LeakError; waiting for what cannot happen raises DeadlockError.
    `prepare` gets the loop before the start.
    """
    loop = VirtualLoop(max_steps)
    if prepare is not None:
        prepare(loop)
    try:
        try:
            result = loop.run_until_complete(main())
        except BaseException as error:
            for context in loop.raised:
                error.add_note(f"raised out of sight before: {_told(context)}")
            raise
        loop.settle()
        if left := _left_behind(loop):
            raise LeakError("left behind:\n" + "\n".join(f"  {line}" for line in left))
        return result
    finally:
        clear_away(loop)


async def until(condition: Callable[[], object], seconds: float = 100.0, what: str = "") -> float:
    """Return how long it took until the condition held; raises AssertionError when it is too long."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    while not condition():
        assert loop.time() - begun < seconds, f"{what or 'it was'} not within {seconds:g} s"
        await asyncio.sleep(0.05)
    return loop.time() - begun


def _left_behind(loop: VirtualLoop) -> list[str]:
    left = [f"task {whereabouts(task)}" for task in loop.pending()]
    left += [f"timer due in {timer.when() - loop.time():.3f} s: {timer!r}" for timer in loop.timers()]
    left += [f"exception out of sight: {_told(context)}" for context in loop.raised]
    left += [f"task {task.get_name()} failed unseen: {task.exception()!r}" for task in loop.unseen()]
    return left


def _told(context: dict[str, Any]) -> str:
    return f"{context.get('message')}: {context.get('exception')!r}"


def clear_away(loop: VirtualLoop) -> None:
    """End what is left, so that one failing run cannot disturb the next with warnings of its own."""
    loop.before_step = None
    loop._max_steps = loop.steps + 100_000
    for timer in loop.timers():
        timer.cancel()
    for task in loop.pending():
        task.cancel()
    try:
        loop.settle()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        for task in loop.unseen():
            task.exception()  # looked at now, and reported above if that was called for
        loop.close()
