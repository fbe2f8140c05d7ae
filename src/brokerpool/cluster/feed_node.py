"""FeedNode: holds accounts by lease, merges what gateways want of them, and tells what their brokers send."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias

from brokerpool.cluster.bus import Bus
from brokerpool.cluster.subjects import Subjects
from brokerpool.cluster.timing import SHARDS, Timing
from brokerpool.feed.sending_permission import Permission
from brokerpool.feed.upstream_interface import Upstream


class HeldUpstream(Upstream, Protocol):
    """What a node makes of an account that it holds: a pool, or a router."""

    def dialled(self) -> tuple[float, ...]:
        """Return how many seconds ago each dial left that counts in one of the broker's windows."""
        ...


#: Makes the upstream of an account; it dials and sends only as the permission says. Called on the loop.
Opened: TypeAlias = Callable[[Permission], HeldUpstream]


class FeedNode:
    """One of several processes that can hold the accounts; at no moment do two of them hold the same one.

    Everything happens on one event loop. `start` returns at once; accounts are taken when their leases are
    free. `close` hands every account over, as far as others can take them, within `Timing.hand_over` and a
    few seconds; cancelled, it lets go of everything at once.
    """

    def __init__(
        self,
        bus: Bus,
        accounts: Mapping[str, Opened],
        *,
        node: str,
        timing: Timing | None = None,
        subjects: Subjects = Subjects(),
        shards: int = SHARDS,
        wall_clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        """`node` must be the name of this process alone, also of one that was here before it.

        `accounts` are those for which it has credentials, by the names that they have all over the cluster.
        `monotonic` is the loop's clock by default, and must go on while the process is stopped.
        """
        raise NotImplementedError

    def start(self) -> None:
        """Take part from now on."""
        raise NotImplementedError

    async def close(self) -> None:
        """Hand over what is held, close every socket and leave."""
        raise NotImplementedError
