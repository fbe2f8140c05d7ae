"""RemoteUpstream: the accounts of a cluster's feed nodes as the one upstream of a gateway."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from brokerpool.cluster.bus import Bus
from brokerpool.cluster.subjects import Subjects
from brokerpool.cluster.timing import SHARDS, Timing


class RemoteUpstream:
    """Brings ticks of accounts that other processes hold, as an `Upstream` does.

    Everything happens on one event loop; what is asked of it is answered from what is known here.
    """

    def __init__(
        self,
        bus: Bus,
        accounts: Sequence[str],
        *,
        gateway: str,
        timing: Timing | None = None,
        subjects: Subjects = Subjects(),
        shards: int = SHARDS,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`gateway` must be the name of this process alone, also of one that was here before it.

        `accounts` are in order of preference: a symbol is wanted of the first that lists it and has room.
        """
        raise NotImplementedError

    async def start(self, timeout: float = 30.0) -> None:
        """Return once the instrument list of each account is here.

        Raises BrokerpoolError (FEED_UNREACHABLE) after `timeout` seconds, with the accounts that are missing;
        it goes on to be of use then, once they come.
        """
        raise NotImplementedError
