"""How often a client may call the simulated broker's HTTP API; pure, clock injected.

The broker publishes numbers and no more, so this is assumed: the windows slide, a call over the limit is
refused and does not count itself, and what counts is the time of the call, not of its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence

from brokerpool.brokers.limits_file import RateWindow


class RequestRates:
    """Admits no more calls of a group in any window, wherever it begins, than the window allows.

    A group without windows has no limit. The clock, in seconds, is expected not to go back.
    """

    def __init__(self, groups: Mapping[str, Sequence[RateWindow]], clock: Callable[[], float]) -> None:
        self._clock = clock
        # Of each window the last calls, as many as it allows: it is full while the eldest is inside it.
        self._groups: dict[str, list[tuple[float, deque[float]]]] = {
            group: [(window.seconds, deque(maxlen=window.most)) for window in windows]
            for group, windows in groups.items()
        }

    def admit(self, group: str) -> bool:
        """Count a call and return True; with a full window in its group count nothing and return False."""
        windows = self._groups.get(group)
        if not windows:
            return True
        now = self._clock()
        if any(len(calls) == calls.maxlen and now < calls[0] + seconds for seconds, calls in windows):
            return False
        for _, calls in windows:
            calls.append(now)
        return True
