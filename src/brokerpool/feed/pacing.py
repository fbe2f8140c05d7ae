"""How fast something may leave: never more than so many within any so many seconds; told the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from brokerpool.brokers.limits import FeedLimits, RateWindow


class Pacer:
    """Keeps to several windows at once; with none it lets everything pass."""

    def __init__(self, windows: Iterable[RateWindow] = ()) -> None:
        """Raises ValueError for a window that would never let anything pass, or everything."""
        self._windows = tuple(windows)
        if any(window.most < 1 or window.seconds <= 0 for window in self._windows):
            raise ValueError("a window must let at least 1 pass in a positive time")
        # As many times as the largest count: older ones stand in no window's way.
        self._left_at: deque[float] = deque(maxlen=max((w.most for w in self._windows), default=0))

    def delay(self, now: float) -> float:
        """Return the seconds until one more may leave; 0 means now."""
        return self.delay_after(0, now)

    def delay_after(self, more: int, now: float) -> float:
        """Return the same, had so many more left just now."""
        delay = 0.0
        for most, seconds in self._windows:
            if most <= more:
                delay = max(delay, seconds)
            elif len(self._left_at) >= most - more:
                delay = max(delay, self._left_at[more - most] + seconds - now)
        # A hair of rounding must not turn into a wake-up that finds the window 1e-17 short.
        return delay if delay > 1e-9 else 0.0

    def spend(self, now: float) -> None:
        """Count one that leaves at `now`."""
        self._left_at.append(now)


class Allowance:
    """What one socket may send: as much as its own windows and those of its account allow together."""

    def __init__(self, limits: FeedLimits, account: Pacer) -> None:
        """`account` is shared with the other sockets of the account; the socket's own windows begin empty."""
        self._own = Pacer(limits.control_messages)
        self._account = account
        self._pings_counted = limits.pings_counted

    def delay(self, now: float) -> float:
        """Return the seconds until one more message may leave; 0 means now."""
        return max(self._own.delay(now), self._account.delay(now))

    def own_delay(self, now: float) -> float:
        """Return the seconds until the socket's own windows let one more message pass; 0 means now."""
        return self._own.delay(now)

    def spend(self, now: float) -> None:
        """Count a message that leaves at `now`."""
        self._own.spend(now)
        self._account.spend(now)

    def may_ping(self, now: float, next_due: float) -> bool:
        """Tell whether a ping may leave now, which some brokers count as a message.

        After it, and an answer to one of the broker's, the message that is `next_due` must leave in time.
        """
        if not self._pings_counted:
            return True
        after = max(pacer.delay_after(2, now) for pacer in (self._own, self._account))
        return not self.delay(now) and now + after <= next_due

    def spend_control_frame(self, now: float) -> None:
        """Count a ping or a pong that leaves at `now`, where the broker does."""
        if self._pings_counted:
            self.spend(now)
