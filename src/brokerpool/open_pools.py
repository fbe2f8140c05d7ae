"""The open pools of this process, and their numbers together in the form that dashboards of OpenAlgo know."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from brokerpool.fork_guard import ForkGuard

Kind: TypeAlias = Literal["websocket", "http", "database"]
Numbers: TypeAlias = dict[str, Any]

#: So many pools of a kind are told one by one; the sums are over all.
MOST_TOLD = 100
#: A pool whose loop does not answer within so many seconds is counted as silent.
ANSWER_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Open:
    kind: Kind
    read: weakref.WeakMethod[Callable[[], Numbers]]
    guard: ForkGuard


_lock = threading.Lock()
_open: weakref.WeakKeyDictionary[object, _Open] = weakref.WeakKeyDictionary()


def add(kind: Kind, pool: object, read: Callable[[], Numbers], guard: ForkGuard) -> None:
    """Count the pool among the open ones until it is closed or nobody has it; `read` is a method of it."""
    with _lock:
        _open[pool] = _Open(kind, weakref.WeakMethod(read), guard)


def remove(pool: object) -> None:
    """The pool is closed; one that is not there is ignored."""
    with _lock:
        _open.pop(pool, None)


def get_pool_stats() -> dict[str, Numbers]:
    """Return the numbers of all open pools of this process: `websocket`, `http` and `database`.

    Each has the members of its kind summed up, `capacity_used` from 0 to 1 over all places, and in `pools`
    what the first hundred of its pools tell themselves. May be called anywhere, on a loop or in any
    thread: a pool is asked on its own loop. One that does not answer within a second is left out and counted
    in `silent`. Pools that were closed, or that nobody has any more, are gone.
    """
    with _lock:
        there = list(_open.values())
    found: dict[Kind, list[Numbers]] = {"websocket": [], "http": [], "database": []}
    silent = dict.fromkeys(found, 0)
    for pool in there:
        read = pool.read()
        if read is None or pool.guard.elsewhere:
            continue
        try:
            found[pool.kind].append(_on_its_loop(read, pool.guard.loop))
        except TimeoutError:
            silent[pool.kind] += 1
    web, http, database = found.values()
    places = _sum(web, "capacity")
    sums: dict[Kind, Numbers] = {
        "websocket": {
            "connections": _sum(web, "connections"),
            "total_symbols": _sum(web, "total_symbols"),
            "capacity_used": _sum(web, "total_symbols") / places if places else 0.0,
        },
        "http": {key: _sum(http, key) for key in ("pool_size", "active_connections")},
        "database": {
            key: _sum(database, key) for key in ("pool_size", "checked_out", "overflow", "checked_in")
        },
    }
    return {kind: {**sums[kind], "silent": silent[kind], "pools": found[kind][:MOST_TOLD]} for kind in found}


def _sum(pools: Iterable[Numbers], key: str) -> Any:  # noqa: ANN401  (whole numbers all)
    return sum(pool[key] for pool in pools)


def _on_its_loop(read: Callable[[], Numbers], loop: asyncio.AbstractEventLoop | None) -> Numbers:
    """Read where nothing changes meanwhile. Raises TimeoutError."""
    if loop is None or not loop.is_running() or loop is _here():
        return read()

    async def on_the_loop() -> Numbers:
        return read()

    asked = asyncio.run_coroutine_threadsafe(on_the_loop(), loop)
    try:
        return asked.result(ANSWER_SECONDS)
    except TimeoutError:
        asked.cancel()
        raise


def _here() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
