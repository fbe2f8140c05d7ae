"""A third upstream: a pool that a feed node in this process holds, and a gateway's end of the bus to it."""

from __future__ import annotations

from brokerpool import WebSocketPool
from brokerpool.cluster.durations import Timing
from brokerpool.cluster.feed_node import FeedNode
from brokerpool.cluster.messages import FORMAT, LeaseValue, encode
from brokerpool.cluster.remote_upstream import RemoteUpstream
from brokerpool.cluster.subjects import LEASES, lease_key
from brokerpool.gateway.server import Gateway
from tests.virtual_bus import VirtualBus, VirtualServer

ACCOUNT = "acc"
#: A lease that no busy machine lets run out: there is but one node, and one pool.
LASTING = Timing(lease=60.0, margin=20.0, gateway_life=60.0, dark=30.0, gateway_renewal=0.2)


class ClusteredUpstream(RemoteUpstream):
    """What a gateway has of a pool over a bus that is quick and faultless; it closes all of it."""

    def __init__(self, pool: WebSocketPool) -> None:
        self.pool = pool
        self.server = VirtualServer()
        # Somebody has let go of the account before, so that nobody has to wait for a lease to run out.
        free = encode(LeaseValue(FORMAT, "", 1, 1))
        self.server.values[LEASES] = {lease_key(ACCOUNT): (free, 1)}
        self.server.revision = 1
        self.node = FeedNode(
            VirtualBus(self.server, "node"), {ACCOUNT: lambda _: pool}, node="node", timing=LASTING, shards=4
        )
        self.node.start()
        super().__init__(
            VirtualBus(self.server, "gateway"), [ACCOUNT], gateway="gateway", timing=LASTING, shards=4
        )

    @property
    def untold(self) -> bool:
        """True while something is on its way from the pool to the gateway."""
        return any(held.waiting for held in self.node.held.values()) or self.server.under_way > 0

    async def close(self) -> None:
        await super().close()
        await self.node.close()
        await self.pool.close()


class ClusteredGateway(Gateway):
    """Starts once the list is there, as one does that is composed for a cluster."""

    async def start(self) -> None:
        assert isinstance(self.upstream, ClusteredUpstream)
        await self.upstream.start(5)
        await super().start()
