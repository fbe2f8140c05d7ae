"""Whether an account's sockets may dial and send at this moment, and what others have sent before."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from brokerpool.brokers.limits_file import RateWindow


def _always() -> bool:
    return True


def _nothing(age: float) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Permission:
    """Given to a pool by whoever lets it have the account; by default it has it alone and for good."""

    #: Asked before each dial and each message: while it returns False nothing leaves, and what was to leave
    #: is dropped. Sockets that are closed then are aborted, for a close frame would be one message more.
    holds: Callable[[], bool] = _always
    #: Told how many seconds ago a dial left: 0 for one that leaves now, more for each that is assumed.
    dialling: Callable[[float], object] = _nothing
    #: How many seconds ago others dialled for the account, as far as that was told.
    dialled: tuple[float, ...] = ()
    #: For how many seconds they may have dialled besides, and how many seconds ago they sent their last.
    untold_seconds: float = 0.0
    quiet_seconds: float = math.inf
    #: Tells how many sockets of others may still be open at the broker.
    left_open: Callable[[], int] = int

    def dials_before(self, windows: Iterable[RateWindow]) -> Iterator[float]:
        """Give how many seconds ago others dialled at worst, the longest first."""
        most = [w.most * math.ceil(self.untold_seconds / w.seconds) for w in windows]
        yield from sorted(self.dialled, reverse=True)
        yield from (self.quiet_seconds for _ in range(min(most, default=0)))

    def messages_before(self, windows: Iterable[RateWindow]) -> Iterator[float]:
        """Give how many seconds ago others sent messages at worst: as many as any window allows."""
        if self.quiet_seconds < math.inf:
            yield from (self.quiet_seconds for _ in range(max((w.most for w in windows), default=0)))


#: Of a pool that has its account for itself.
ALONE = Permission()
