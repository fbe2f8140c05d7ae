"""A feed node as a process: its accounts with their logins and lists, the bus, and its end."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from brokerpool import garbage_collection
from brokerpool.cluster.feed_node import FeedNode
from brokerpool.cluster.market_data_service import MarketDataService
from brokerpool.cluster.nats_bus import NatsBus
from brokerpool.cluster.node_name import node_name
from brokerpool.cluster.subjects import Subjects
from brokerpool.errors import SettingsError
from brokerpool.event_journal import Journal
from brokerpool.feed.sending_permission import Permission
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.account_assembly import AccountServices
from brokerpool.gateway.assembly import account_services, within_exchanges
from brokerpool.gateway.feed_status_server import FeedStatusServer
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.gateway_process import check, follow, until_stopped
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.instrument_refresh import InstrumentRefresh
from brokerpool.gateway.reload import SettingsWatch
from brokerpool.gateway.started_account import StartedAccount, started
from brokerpool.settings import Settings

logger = logging.getLogger("brokerpool.cluster")

#: What calls to the broker have left when the node stops.
_CALLS_SECONDS = 0.5


async def run(settings: Settings, files: Sequence[Path], read: Callable[[], Settings]) -> None:
    """Hold accounts until SIGTERM or Ctrl-C, then hand them over; prints one line of JSON once it takes part.

    New logins are taken over as a gateway does. Raises SettingsError without a NATS server or a key of an
    account, BusError where no server answers, and what a gateway's start raises.
    """
    if not settings.in_cluster:
        raise SettingsError("BROKERPOOL_NATS_URL is not set; a feed node needs a NATS server.")
    for account in settings.accounts():
        if not account.broker_api_key.get_secret_value():
            raise SettingsError(f"{account.setting('api_key')} is not set; a feed node needs it.")
    await until_stopped(settings, files, read, lambda watch: _feed(settings, watch))


async def _feed(settings: Settings, watch: SettingsWatch) -> None:
    name = node_name(settings)
    persistence = Persistence(settings, has_clients=False)
    bus = NatsBus(settings, f"brokerpool feed {name}")
    try:
        await persistence.open()
        accounts = await asyncio.gather(*(started(a, settings, persistence) for a in settings.accounts()))
        check(accounts)
        await bus.open()
        await _take_part(settings, name, bus, accounts, persistence, watch)
    finally:
        await bus.close()
        await persistence.close()


async def _take_part(
    settings: Settings,
    name: str,
    bus: NatsBus,
    accounts: Sequence[StartedAccount],
    persistence: Persistence,
    watch: SettingsWatch,
) -> None:
    subjects = Subjects(settings.cluster)
    parts = [account_services(settings, a.settings, a.feed, persistence) for a in accounts]
    lists = InstrumentLists(
        {
            part.name: InstrumentRefresh(part, part.feed, fault=account.unlisted)
            for part, account in zip(parts, accounts, strict=True)
        }
    )
    journal = Journal()
    opened = {part.name: functools.partial(_opened, bus, subjects, journal, part) for part in parts}
    node = FeedNode(bus, opened, node=name, subjects=subjects)
    apis = {part.name: part.api for part in parts}
    logins = {part.name: part.feed.login for part in parts}
    status = FeedStatusServer(settings, node, bus, apis, logins, lists, journal, persistence)
    await status.start()
    try:
        lists.start()
        garbage_collection.started()
        node.start()
        print(json.dumps({"node": name, "status_url": status.url}), flush=True)
        await asyncio.gather(
            follow(accounts, watch, lists.request),
            *(account.trial.follow(account.stored.newer()) for account in accounts),
        )
    finally:
        logger.info("stopping: %d accounts are handed over", len(node.held))
        status.stop()
        await node.close()
        await asyncio.gather(
            lists.stop(), status.close(), *(part.api.drain(_CALLS_SECONDS) for part in parts)
        )


def _opened(
    bus: NatsBus, subjects: Subjects, journal: Journal, part: AccountServices, permission: Permission
) -> Upstream:
    """Return the account's pool, or what lets it serve its exchanges alone.

    Its calls are answered from here while it is open, and from nowhere else.
    """
    service = MarketDataService(bus, subjects.rest(part.name), part.api)
    pool = part.open(permission, service.close)
    pool.journal.pass_on(journal, part.name)
    return within_exchanges(part, pool)
