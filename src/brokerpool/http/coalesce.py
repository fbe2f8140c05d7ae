"""Fewer calls for the same answers: equal reads in flight share one, single keys leave together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Mapping
from functools import partial
from typing import Any, Generic, TypeAlias, TypeVar

from brokerpool import argument_checks
from brokerpool.errors import CallFailedError, ErrorCode

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SharedCalls(Generic[K, T]):
    """Lets callers who want the same at the same time wait for one call.

    A caller who is cancelled leaves the others their call; when the last one is, the call is cancelled too. A
    call that is cancelled by itself, without that, raises CallFailedError for all: none of them was.
    """

    def __init__(self) -> None:
        self._calls: dict[K, _Shared[T]] = {}
        #: Calls that were not made because another one's answer served.
        self.saved = 0

    async def run(self, key: K, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return what the call for `key` returns, or raise what it raises; `make` begins it if none runs."""
        shared = self._calls.get(key)
        if shared is None:
            shared = self._calls[key] = _Shared(make(), lambda: self._forget(key, shared))
        else:
            self.saved += 1
        return await shared.wait()

    def _forget(self, key: K, shared: _Shared[T] | None) -> None:
        if self._calls.get(key) is shared:
            del self._calls[key]

    def __len__(self) -> int:
        return len(self._calls)


class _Shared(Generic[T]):
    """One call and how many wait for it."""

    def __init__(self, call: Coroutine[Any, Any, T], on_end: Callable[[], None]) -> None:
        self._task = asyncio.create_task(call)
        self._on_end = on_end
        self._waiting = 0
        self._task.add_done_callback(self._ended)

    async def wait(self) -> T:
        self._waiting += 1
        try:
            await asyncio.wait({self._task})
            if self._task.cancelled():
                raise CallFailedError(
                    "The call was cancelled from within.", code=ErrorCode.CALL_FAILED, sent=True
                )
            return self._task.result()
        finally:
            self._waiting -= 1
            if not self._waiting and not self._task.done():
                # Nobody may join a call that is being cancelled.
                self._on_end()
                self._task.cancel()

    def _ended(self, task: asyncio.Task[T]) -> None:
        self._on_end()
        if not task.cancelled():
            task.exception()  # its waiters may all have been cancelled in this very moment


#: Gives the keys of a batch, which are settled at the first call: to be called when the request leaves.
Keys: TypeAlias = Callable[[], tuple[str, ...]]


class Batcher(Generic[T]):
    """Answers requests for single keys with few calls for many.

    Keys gather for `window` seconds, and then for as long as the call waits in the queue or for the rate
    limit: the batch is settled only when it leaves. Equal keys are asked for once. A caller who is cancelled
    leaves the others their call; when the last one is, the call is cancelled too.
    """

    def __init__(
        self, call: Callable[[Keys], Awaitable[Mapping[str, T]]], *, most: int, window: float = 0.003
    ) -> None:
        """Make a batcher; `call` gets the function that settles and returns up to `most` keys.

        Raises ValueError for `most` below 1.
        """
        argument_checks.whole("most", most, 1)
        if not callable(call):
            raise TypeError("call is a coroutine function that takes the function of the keys")
        argument_checks.seconds("window", window)
        self._call = call
        self._most = most
        self._window = window
        self._calls: SharedCalls[_Batch, Mapping[str, T]] = SharedCalls()
        #: The batch that still takes keys.
        self._open: _Batch | None = None
        #: Every batch whose answer has not come, by the keys that it asks for.
        self._asked: dict[str, _Batch] = {}

    @property
    def saved(self) -> int:
        """Single requests that needed no call of their own."""
        return self._calls.saved

    async def get(self, key: str) -> T:
        """Return the answer for one key. Raises KeyError when the broker's answer does not have it."""
        return (await self.get_many((key,)))[key]

    async def get_many(self, keys: Iterable[str]) -> dict[str, T]:
        """Return the answers for the keys; one that the broker's answer does not have is left out."""
        batches: dict[_Batch, list[str]] = {}
        for key in tuple(keys):  # whole, before the first of them is in a batch
            batches.setdefault(self._batch(key), []).append(key)
        calls = [self._calls.run(batch, partial(self._run, batch)) for batch in batches]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        found: dict[str, T] = {}
        for asked, answer in zip(batches.values(), answers, strict=True):
            if isinstance(answer, BaseException):
                raise answer
            found.update((key, answer[key]) for key in asked if key in answer)
        return found

    def _batch(self, key: str) -> _Batch:
        batch = self._asked.get(key)
        if batch is None:
            if self._open is None or not self._open.add(key):
                self._open = _Batch(key, self._most)
            batch = self._asked[key] = self._open
        return batch

    async def _run(self, batch: _Batch) -> Mapping[str, T]:
        try:
            await asyncio.sleep(self._window)
            return await self._call(batch.settle)
        finally:
            for key in batch.settle():
                if self._asked.get(key) is batch:
                    del self._asked[key]


class _Batch:
    """Keys for one call; it takes more until it is full or settled."""

    def __init__(self, key: str, most: int) -> None:
        self._keys = [key]
        self._most = most
        self._settled: tuple[str, ...] | None = None

    def add(self, key: str) -> bool:
        """Take one more key; False when that is too late or too many."""
        if self._settled is not None or len(self._keys) >= self._most:
            return False
        self._keys.append(key)
        return True

    def settle(self) -> tuple[str, ...]:
        """Return the keys, which no longer change."""
        if self._settled is None:
            self._settled = tuple(self._keys)
        return self._settled
