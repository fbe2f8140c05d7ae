"""A gateway of a cluster put together: its ticks, its calls and its list come from feed nodes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from brokerpool.cluster.directory import Directory
from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.node_name import node_name
from brokerpool.cluster.remote_market_data import RemoteMarketData
from brokerpool.cluster.remote_upstream import RemoteUpstream
from brokerpool.cluster.statistics import cluster_statistics
from brokerpool.cluster.subjects import Subjects
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.remote_list import RemoteList
from brokerpool.gateway.server import Gateway
from brokerpool.settings import Settings

#: What a gateway that starts waits for the first feed node, and then for the lists of its accounts.
_WAIT_SECONDS = 30.0
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
    try:
        directory.start()
        accounts = await directory.accounts(_WAIT_SECONDS)
        upstream = RemoteUpstream(bus, accounts, gateway=name, subjects=subjects)
        await upstream.start(_WAIT_SECONDS)
        seconds = settings.http_timeout + _WAY_SECONDS
        apis = [
            AccountApi(
                account,
                RemoteMarketData(bus, subjects.rest(account), timeout=seconds),
                partial(upstream.lists, account),
            )
            for account in accounts
        ]
        yield Gateway(
            settings,
            upstream,
            AccountApis(apis, upstream.account),
            InstrumentLists({"": RemoteList(lambda: upstream.book)}),
            persistence,
            certificate,
            cluster=partial(cluster_statistics, name, "gateway", bus, directory, upstream.hearing),
        )
    finally:
        directory.close()
        await bus.close()
