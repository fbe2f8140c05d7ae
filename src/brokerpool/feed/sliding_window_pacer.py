"""How fast something may leave: never more than so many within any so many seconds; told the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from brokerpool.brokers.limits_file import FeedLimits, RateWindow

#: Rounding must not turn into a wake-up that finds the window 1e-17 short.
_HAIR = 1e-9


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
        return delay if delay > _HAIR else 0.0

    def spend(self, now: float) -> None:
        """Count one that leaves at `now`."""
        self._left_at.append(now)


class ReservingPacer(Pacer):
    """The same, with room kept for the signs of life that sockets owe.

    Other messages leave one place of each window free for every socket whose sign of life has to leave while
    they count in it, though half of the window at most: the messages of two sockets that open at once would
    otherwise take the turn that a third one needs. Where answers to pings count, each of these sockets may
    have to give one as well.
    """

    def __init__(self, windows: Iterable[RateWindow] = (), *, pings_counted: bool = False) -> None:
        super().__init__(windows)
        self._pings_counted = pings_counted
        #: Socket -> by when its next sign of life has to leave.
        self._owed: dict[object, float] = {}

    def owes(self, socket: object, by: float) -> None:
        """Keep room for the next sign of life of this socket, which has to leave by that time."""
        self._owed[socket] = by

    def owes_no_more(self, socket: object) -> None:
        """Forget a socket that is gone; one that owes nothing is ignored."""
        self._owed.pop(socket, None)

    def delay_of_others(self, now: float) -> float:
        """Return the seconds until a message that is no sign of life may leave; 0 means now."""
        if not self._owed:
            return self.delay(now)
        delay = 0.0
        for most, seconds in self._windows:
            owing = sum(by < now + seconds for by in self._owed.values())
            if self._pings_counted:
                owing += len(self._owed)
            free = most - min(owing, most // 2)
            if len(self._left_at) >= free:
                delay = max(delay, self._left_at[-free] + seconds - now)
        return delay if delay > _HAIR else 0.0


class Allowance:
    """What one socket may send: as much as its own windows and those of its account allow together."""

    def __init__(self, limits: FeedLimits, account: ReservingPacer) -> None:
        """`account` is shared with the other sockets of the account; the socket's own windows begin empty."""
        self._own = ReservingPacer(limits.control_messages, pings_counted=limits.pings_counted)
        self._account = account
        self._pings_counted = limits.pings_counted

    def owes(self, by: float) -> None:
        """Keep room for the socket's next sign of life, which has to leave by that time."""
        self._own.owes(self, by)
        self._account.owes(self, by)

    def owes_no_more(self) -> None:
        """Note that the socket is gone."""
        self._own.owes_no_more(self)
        self._account.owes_no_more(self)

    def delay(self, now: float) -> float:
        """Return the seconds until one more message may leave; 0 means now."""
        return max(self._own.delay_of_others(now), self._account.delay_of_others(now))

    def own_delay(self, now: float) -> float:
        """Return the seconds until the socket's own windows let one more message pass; 0 means now."""
        return self._own.delay_of_others(now)

    def delay_of_beat(self, now: float) -> float:
        """Return the seconds until a sign of life may leave, for which others leave room; 0 means now."""
        return max(self._own.delay(now), self._account.delay(now))

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
