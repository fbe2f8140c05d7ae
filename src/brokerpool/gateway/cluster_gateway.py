"""A gateway of a cluster put together: its ticks, its calls and its list come from feed nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from brokerpool.cluster.account_preference import Roll
from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.node_name import node_name
from brokerpool.cluster.nodes_and_holders import Directory
from brokerpool.cluster.remote_market_data import RemoteMarketData
from brokerpool.cluster.remote_upstream import RemoteUpstream
from brokerpool.cluster.statistics import cluster_statistics
from brokerpool.cluster.subjects import Subjects
from brokerpool.errors import PoolClosedError
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.cluster_instrument_list import RemoteList
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings

#: What a gateway that starts waits for the first feed node, and then for the lists of its accounts.
_WAIT_SECONDS = 30.0
#: Between two looks at which accounts the cluster has.
_LOOK_SECONDS = 1.0
#: What a question about market data has beyond the time of a call: the way there, and the wait for its turn.
_WAY_SECONDS = 5.0


@asynccontextmanager
async def joined(
    settings: Settings, persistence: Persistence, certificate: Certificate | None
) -> AsyncIterator[Gateway]:
    """Give a gateway of the cluster, which is still to be started and closed, until the block ends.

    Raises BusError where no NATS server answers, and BrokerpoolError (FEED_UNREACHABLE) where no feed node
    has the list of an account.
    """
    name, subjects = node_name(settings), Subjects(settings.cluster)
    bus = NatsBus(settings, f"brokerpool gateway {name}")
    await bus.open()
    directory = Directory(bus)
    following: asyncio.Task[None] | None = None
    try:
        directory.start()
        roll = await directory.accounts(_WAIT_SECONDS)
        grace = settings.failover_seconds
        upstream = RemoteUpstream(bus, roll.accounts, gateway=name, subjects=subjects, grace=grace)
        await upstream.start(_WAIT_SECONDS)
        seconds = settings.http_timeout + _WAY_SECONDS

        def api(account: str) -> AccountApi:
            calls = RemoteMarketData(bus, subjects.rest(account), timeout=seconds)
            return AccountApi(account, calls, partial(upstream.lists, account))

        apis = AccountApis([api(account) for account in roll.accounts], upstream.account)
        following = asyncio.create_task(_follow(directory, roll, upstream, apis, api), name="accounts")
        yield Gateway(
            settings,
            upstream,
            apis,
            InstrumentLists({"": RemoteList(lambda: upstream.book)}),
            persistence,
            certificate,
            cluster=partial(cluster_statistics, name, "gateway", bus, directory, upstream.hearing),
        )
    finally:
        if following is not None:
            following.cancel()
        directory.close()
        await bus.close()


async def _follow(
    directory: Directory,
    known: Roll,
    upstream: RemoteUpstream,
    apis: AccountApis,
    api: Callable[[str], AccountApi],
) -> None:
    """Have the gateway use the accounts that the cluster has, whenever those are others."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        roll = directory.roll()
        if roll != known:
            known = roll
            try:
                upstream.have(*roll)
            except PoolClosedError:
                return  # the gateway ends
            apis.use(roll.accounts, api)
