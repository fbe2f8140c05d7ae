"""When a call may leave: several windows at once for each group of endpoints, and holds after a 429."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from brokerpool.brokers.limits_file import RateWindow
from brokerpool.http.recent_sum import ROUNDING, SlidingSum
from brokerpool.retry_after import LONGEST_SECONDS

#: After a hold the calls leave one by one, first at this share of the full rate ...
RAMP_START = 0.2
#: ... and after so many seconds at all of it.
RAMP_SECONDS = 10.0

#: What a 429 without Retry-After holds; doubled each time until an answer comes that is none.
HOLD_SECONDS = 1.0
MAX_HOLD_SECONDS = 60.0

# Calls a second at which a group without a known limit counts as being at its full rate.
_RATE_WITHOUT_LIMITS = 10.0


@dataclass(frozen=True, slots=True)
class RateLimits:
    """What a broker allows one account, and how much of it this client may use."""

    #: Group of endpoints ("quote", "order") -> its windows; a group that is not named has no limit.
    groups: Mapping[str, tuple[RateWindow, ...]] = field(default_factory=dict)
    #: How much longer than the broker's each window is taken, because the network squeezes calls together.
    margin: float = 0.05
    #: Share of the account's limit for this client, above 0 and at most 1; the rest is for other programs.
    share: float = 1.0

    def __post_init__(self) -> None:
        if not isinstance(self.groups, Mapping) or not all(
            isinstance(windows, tuple | list) and all(isinstance(window, RateWindow) for window in windows)
            for windows in self.groups.values()
        ):
            raise TypeError('rate limits are {"quote": (RateWindow(10, 1.0),)}: groups with their windows')
        if not 0 < self.share <= 1 or not 0 <= self.margin < math.inf:
            raise ValueError("the share is above 0 and at most 1, the margin at least 0")
        if any(
            not w.most >= 1 or not 0 < w.seconds < math.inf
            for windows in self.groups.values()
            for w in windows
        ):
            raise ValueError("a window allows at least 1 in more than 0 seconds")

    def windows(self, group: str) -> tuple[RateWindow, ...]:
        """Return the windows that are kept for a group; a share below one call makes the window longer."""
        return tuple(self._own(window) for window in self.groups.get(group, ()))

    def _own(self, window: RateWindow) -> RateWindow:
        allowed = window.most * self.share
        stretch = (1 + self.margin) / min(1.0, allowed)
        return RateWindow(max(1, math.floor(allowed + 1e-9)), window.seconds * stretch)


class RateLimiter:
    """Permissions to call, never more in any window than it allows, whenever the calls really leave.

    A call reserves first, and the reservation counts however long the dial takes; `sent` then puts it into
    the windows at the time when it left, and `give_back` undoes one that never did.
    """

    def __init__(self, limits: RateLimits) -> None:
        self._groups = {name: _Group(limits.windows(name)) for name in limits.groups}
        self._lengths = {name: [f"{w.seconds:g} s" for w in limits.groups[name]] for name in limits.groups}

    def unlimited(self, group: str, now: float) -> bool:
        """Tell whether a call of the group needs no reservation now: it has no limit, and no hold lately."""
        known = self._groups.get(group)
        return known is None or known.unlimited(now)

    def delay(self, group: str, weight: int, now: float) -> float:
        """Return the seconds until `weight` may leave if nothing else does; 0 means now.

        Infinity means that only the sending or giving back of reservations can make room. Raises ValueError
        for a weight that no window would ever hold.
        """
        return self._group(group).delay(weight, now)

    def reserve(self, group: str, weight: int, now: float) -> None:
        """Take a permission; to be called only when `delay` is 0."""
        self._group(group).reserve(weight, now)

    def sent(self, group: str, weight: int, now: float) -> None:
        """Count a reservation in the windows, now that its call leaves."""
        self._group(group).sent(weight, now)

    def give_back(self, group: str, weight: int) -> None:
        """Forget a reservation whose call was not sent."""
        self._group(group).pending -= weight

    def hold(self, group: str, now: float, *, sent_at: float, retry_after: float | None) -> float:
        """Let nothing of the group leave, because a call sent at `sent_at` was answered "too fast".

        Returns the seconds of the hold: what the broker asked for, else ever longer ones. Several such
        answers to one burst count as one.
        """
        return self._group(group).hold(now, sent_at, retry_after)

    def accepted(self, group: str) -> None:
        """Note an answer that was not "too fast": the next hold starts small again."""
        known = self._groups.get(group)
        if known is not None:
            known.strikes = 0

    def held(self, group: str, now: float) -> float:
        """Return the seconds for which the group is still held; 0 when it is not."""
        return max(0.0, self._group(group).held_until - now)

    def left(self, now: float) -> dict[str, dict[str, int]]:
        """Return what each limited group has left: length of the window as the broker states it -> calls."""
        return {
            name: dict(zip(self._lengths.get(name, ()), group.left(now), strict=True))
            for name, group in self._groups.items()
        }

    def _group(self, name: str) -> _Group:
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = _Group(())
        return group


class _Group:
    """The windows of one group, what is reserved in them, and its hold."""

    def __init__(self, windows: tuple[RateWindow, ...]) -> None:
        self._windows = [(window.most, SlidingSum(window.seconds)) for window in windows]
        self._full_rate = min((w.most / w.seconds for w in windows), default=_RATE_WITHOUT_LIMITS)
        self._most = min((window.most for window in windows), default=None)
        self.pending = 0
        self.strikes = 0
        self.held_until = -math.inf
        self._held_from = -math.inf
        self._last_reserved = -math.inf
        self._last_weight = 1

    def unlimited(self, now: float) -> bool:
        return not self._windows and now - self.held_until >= RAMP_SECONDS

    def delay(self, weight: int, now: float) -> float:
        if weight < 1 or (self._most is not None and weight > self._most):
            raise ValueError(f"a weight of {weight} does not fit into a window of {self._most}")
        wait = 0.0
        if now - self.held_until < RAMP_SECONDS:
            wait = max(0.0, self.held_until - now, self._ramp_gap(now))
        for limit, used in self._windows:
            wait = max(wait, used.frees(used.total(now) + self.pending + weight - limit, now))
        return wait if wait > ROUNDING else 0.0

    def reserve(self, weight: int, now: float) -> None:
        self.pending += weight
        self._last_reserved, self._last_weight = now, weight

    def sent(self, weight: int, now: float) -> None:
        self.pending -= weight
        for _, used in self._windows:
            used.add(weight, now)

    def hold(self, now: float, sent_at: float, retry_after: float | None) -> float:
        if sent_at >= self._held_from:
            self.strikes += 1
            self._held_from = now
        if retry_after is None:
            retry_after = min(MAX_HOLD_SECONDS, HOLD_SECONDS * 2.0 ** min(self.strikes - 1, 30))
        self.held_until = max(self.held_until, now + min(retry_after, LONGEST_SECONDS))
        return self.held_until - now

    def left(self, now: float) -> list[int]:
        held = now < self.held_until
        return [0 if held else limit - used.total(now) - self.pending for limit, used in self._windows]

    def _ramp_gap(self, now: float) -> float:
        """Return the seconds until the next call of a ramp may leave; 0 when there is no ramp."""
        ramped = now - self.held_until
        if self._last_reserved < self.held_until:
            return 0.0
        pace = RAMP_START + (1 - RAMP_START) * max(0.0, ramped) / RAMP_SECONDS
        return self._last_reserved + self._last_weight / (self._full_rate * pace) - now
