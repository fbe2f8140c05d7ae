"""The blocking twin of the WebSocket pool."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from functools import partial
from types import TracebackType
from typing import Any, Self

from brokerpool import argument_checks
from brokerpool.argument_checks import Instruments
from brokerpool.brokers.account import Account
from brokerpool.brokers.login import Credentials
from brokerpool.egress import Egress
from brokerpool.errors import PoolClosedError
from brokerpool.feed import pool as asynchronous
from brokerpool.feed.gaps import Gap
from brokerpool.feed.lifecycle_states import SymbolState
from brokerpool.feed.listeners import PoolListener
from brokerpool.feed.pool_argument_checks import NO_FEED, check, check_parts
from brokerpool.feed.refusals import Subscribed
from brokerpool.instruments import Instrument
from brokerpool.market_calendar import ALWAYS_OPEN, MarketHours
from brokerpool.sync.loop import LoopThread
from brokerpool.ticks import Mode, Tick


class WebSocketPool:
    """`brokerpool.WebSocketPool` with blocking methods; safe to use from any number of threads."""

    def __init__(
        self,
        feed: Account = NO_FEED,
        *,
        max_symbols: int = 1000,
        max_connections: int = 3,
        linger: float = 30.0,
        placement: str = "fill-first",
        redundancy: int = 1,
        grace: float = 5.0,
        hours: MarketHours = ALWAYS_OPEN,
        egress: Egress | None = None,
    ) -> None:
        sizes = {"max_symbols": max_symbols, "max_connections": max_connections, "redundancy": redundancy}
        check(feed, **sizes, linger=linger, grace=grace, placement=placement)
        check_parts(hours, None, egress)
        self._feed = feed
        self._make = partial(
            asynchronous.WebSocketPool,
            feed,
            max_symbols=max_symbols,
            max_connections=max_connections,
            linger=linger,
            placement=placement,
            redundancy=redundancy,
            grace=grace,
            hours=hours,
            egress=egress,
        )
        self._loop = LoopThread(f"pool {feed.name}")
        try:
            self._pool = self._loop.call(self._make)
        except BaseException:
            self._loop.close()  # a wrong argument leaves no thread behind
            raise
        self._inboxes: list[_Inbox] = []

    def subscribe(
        self,
        instruments: Instruments,
        mode: Mode = Mode.QUOTE,
        *,
        owner: str = "default",
        priority: int = 0,
        partial: bool = False,
    ) -> Subscribed:
        """Want the instruments in the mode; raises as the asynchronous method does."""
        given = argument_checks.instruments(
            instruments
        )  # here, for an iterator may take its time, or take locks
        return self._loop.call(
            lambda: self._pool.subscribe(given, mode, owner=owner, priority=priority, partial=partial)
        )

    def unsubscribe(
        self, instruments: Instruments, mode: Mode | None = None, *, owner: str = "default"
    ) -> tuple[Instrument, ...]:
        """Give up the mode (all modes by default) and return what the owner did hold."""
        given = argument_checks.instruments(instruments)
        return self._loop.call(lambda: self._pool.unsubscribe(given, mode, owner=owner))

    def release(self, owner: str) -> int:
        """Give up everything that the owner holds and return how many instruments that were."""
        return self._loop.call(partial(self._pool.release, owner))

    def state(self, instrument: Instrument | str) -> SymbolState | None:
        """Tell how far a wanted instrument has come; None when nobody wants it."""
        return self._loop.call(lambda: self._pool.state(instrument))

    def wait_live(self, instruments: Instruments, timeout: float = 10.0) -> None:
        """Return once each instrument has had a tick. Raises NotLiveError after `timeout` seconds."""
        given = argument_checks.instruments(instruments)
        argument_checks.seconds("timeout", timeout)
        self._loop.run(self._pool.wait_live(given, timeout), timeout)

    def ticks(self, timeout: float | None = None, size: int = 10_000) -> Iterator[Tick]:
        """Yield every tick from now on; ends when the pool closes or none comes for `timeout` seconds.

        Holds up to `size` ticks for a consumer that is behind; the oldest go first.
        """
        if timeout is not None:
            argument_checks.seconds("timeout", timeout)
        inbox = _Inbox(argument_checks.whole("size", size, 1))
        self._inboxes.append(inbox)
        self._loop.call(lambda: self._pool.listen(inbox))
        return self._drain(inbox, timeout)

    def renew(self, credentials: Credentials) -> bool:
        """Use the credentials of a new login; tell whether they differ from the present ones."""
        argument_checks.instance("credentials", credentials, Credentials)
        return self._loop.call(lambda: self._feed.login.renew(credentials))

    def gap(self, instrument: Instrument | str) -> Gap | None:
        """Return the instrument's open gap, in which its last value is stale; None when there is none."""
        return self._loop.call(lambda: self._pool.gap(instrument))

    def fresh(self, instrument: Instrument | str, within: float) -> Tick | None:
        """Return the last tick if it came within so many seconds and no gap is open, else None."""
        return self._loop.call(partial(self._pool.fresh, instrument, within))

    def get_pool_stats(self) -> dict[str, dict[str, Any]]:
        """Return the numbers of the pool."""
        return self._loop.call(self._pool.get_pool_stats)

    def close(self) -> None:
        """Close every connection and end the thread; a second call does nothing."""
        if self._loop.closed:
            return
        for inbox in self._inboxes:
            inbox.end()
        self._loop.run(self._pool.close())
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _drain(self, inbox: _Inbox, timeout: float | None) -> Iterator[Tick]:
        try:
            while True:
                self._loop.guard.enter()  # in a forked child neither a tick would come nor the end
                tick = inbox.take(timeout)
                if tick is None:
                    return
                yield tick
        finally:
            self._inboxes.remove(inbox)
            if not self._loop.closed:
                with contextlib.suppress(PoolClosedError):  # just now
                    self._loop.call(lambda: self._pool.unlisten(inbox))


class _Inbox(PoolListener):
    """Hands ticks from the loop's thread to a consumer's."""

    def __init__(self, size: int) -> None:
        self._ticks: deque[Tick] = deque(maxlen=size)
        self._changed = threading.Condition()
        self._ended = False

    def ticked(self, ticks: list[Tick]) -> None:
        with self._changed:
            self._ticks.extend(ticks)
            self._changed.notify()

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()

    def take(self, timeout: float | None) -> Tick | None:
        """Return the next tick; None when there is none within `timeout` seconds, or ever again."""
        with self._changed:
            self._changed.wait_for(lambda: self._ticks or self._ended, timeout)
            return self._ticks.popleft() if self._ticks else None
