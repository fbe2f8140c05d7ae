"""Cancels a caller at every step of a scenario, one run for each, to find what is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeAlias

from brokerpool.testing.virtual_loop import VirtualLoop, run, task_of

#: More than any scenario of one call needs; what spins shall fail soon.
_MAX_STEPS = 50_000


class Caller:
    """Makes one call in a task of its own, and cancels it before the step that this run is about."""

    def __init__(self, cancel_at: int | None, *, wake_ups_only: bool) -> None:
        self._cancel_at = cancel_at
        self._wake_ups_only = wake_ups_only
        self._task: asyncio.Task[Any] | None = None
        #: Steps at which the call could have been cancelled so far.
        self.steps = 0
        #: True once the call was cancelled.
        self.cancelled = False

    async def call(self, coroutine: Coroutine[Any, Any, object]) -> bool:
        """Await the call and tell whether it came to its own end; what it raises comes out.

        A call that was cancelled and goes on as if nothing had happened fails the run.
        """
        assert self._task is None, "one call in each scenario"
        self._task = asyncio.create_task(coroutine, name="the caller")
        await asyncio.wait({self._task})
        if self.cancelled:
            assert self._task.cancelled(), f"the cancellation was swallowed: {self._task!r}"
            return False
        await self._task
        return True

    def before_step(self, handle: asyncio.Handle) -> None:
        task = self._task
        if task is None or task.done() or (self._wake_ups_only and task_of(handle) is not task):
            return
        if self.steps == self._cancel_at:
            self.cancelled = task.cancel()
        self.steps += 1


#: Sets the stage, makes one call through the Caller, clears up, and checks that the counts are right.
Scenario: TypeAlias = Callable[[Caller], Awaitable[None]]


def cancel_at_every_step(scenario: Scenario, *, wake_ups_only: bool = False) -> int:
    """Run the scenario once without and once for each step with a cancellation; return the number of steps.

    By default every callback of the loop during the call is such a step, whoever it belongs to: so the
    cancellation meets the call while it sleeps and in the very turn in which it would have gone on. With
    `wake_ups_only` only the latter. Each run fails as `run` says: nothing may be left behind.
    """
    steps = _play(scenario, Caller(None, wake_ups_only=wake_ups_only))
    for cancel_at in range(steps):
        caller = Caller(cancel_at, wake_ups_only=wake_ups_only)
        try:
            _play(scenario, caller)
            assert caller.cancelled, "the scenario took another course than in the run before"
        except BaseException as error:
            error.add_note(f"with the caller cancelled before step {cancel_at + 1} of {steps}")
            raise
    return steps


def _play(scenario: Scenario, caller: Caller) -> int:
    def prepare(loop: VirtualLoop) -> None:
        loop.before_step = caller.before_step

    async def main() -> None:
        await scenario(caller)

    run(main, prepare=prepare, max_steps=_MAX_STEPS)
    return caller.steps
