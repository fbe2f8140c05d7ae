"""A gateway put together: the accounts as one upstream, what is asked of them besides, and the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.rest import RestCodec
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.router import Router
from brokerpool.feed.router_accounts import Route
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.account_assembly import AccountServices
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.instrument_refresh import InstrumentRefresh
from brokerpool.gateway.orders.forwarding import OrderCarrier
from brokerpool.gateway.server import Gateway
from brokerpool.http.broker_api import BrokerApi
from brokerpool.monitor import traces
from brokerpool.settings import AccountSettings, Settings


def compose(
    settings: Settings,
    *feeds: FullAccount,
    persistence: Persistence | None = None,
    certificate: Certificate | None = None,
    unlisted: Mapping[str, BrokerError] | None = None,
) -> Gateway:
    """Return a gateway for the accounts, which is still to be started.

    `feeds` are those of `settings.accounts()`, in the same order. `persistence` is the opened database side;
    without it only the settings' key is valid. `unlisted` says by name which accounts have no list yet, and
    why.
    """
    accounts = [
        account_services(settings, account, feed, persistence)
        for account, feed in zip(settings.accounts(), feeds, strict=True)
    ]
    grace = settings.failover_seconds
    upstream = _joined([Route(a.name, a.open(), a.exchanges) for a in accounts], grace)
    deep = [Route(a.name, pool, a.exchanges) for a in accounts if (pool := a.open_deep()) is not None]
    deep_feed = _joined(deep, grace) if deep else None
    faults = unlisted or {}
    lists = {a.name: InstrumentRefresh(a, a.feed, fault=faults.get(a.name)) for a in accounts}
    apis = AccountApis(
        [AccountApi(account.name, account.api, account.lists) for account in accounts],
        upstream.account,
    )
    orders = order_carrier(settings, {a.name: (a.codec, a.api) for a in accounts}, upstream.journal)
    rest = persistence, certificate, orders
    return Gateway(settings, upstream, apis, InstrumentLists(lists), *rest, deep_feed=deep_feed)


def account_services(
    settings: Settings, account: AccountSettings, feed: FullAccount, persistence: Persistence | None
) -> AccountServices:
    """Return the account's parts, whose calls are kept and traced where that is set up."""
    trace = traces.tracer(account.name) if traces.INSTALLED else None

    def carried(call: str, status: int | None, seconds: float, attempts: int) -> None:
        if persistence is not None:
            persistence.note_call(call, status, seconds, attempts)
        if trace is not None:
            trace(call, status, seconds, attempts)

    return AccountServices(settings, account, feed, carried)


def _joined(routes: Sequence[Route], grace: float) -> Upstream:
    """Return what makes one feed of the accounts' pools: of one account its pool."""
    return routes[0].pool if len(routes) == 1 else Router(routes, grace=grace)


def within_exchanges(account: AccountServices, pool: WebSocketPool) -> Upstream:
    """Return what has the pool serve no other exchanges than those of the account's settings."""
    return Router([Route(account.name, pool, account.exchanges)]) if account.exchanges else pool


def order_carrier(
    settings: Settings, accounts: Mapping[str, tuple[RestCodec, BrokerApi]], journal: Journal
) -> OrderCarrier | None:
    """Return what carries orders over the account that the settings name for it, None where they name none.

    Raises BrokerpoolError (ORDERS_NOT_CARRIED) for an account whose broker has no REST of OpenAlgo's kind.
    """
    name = settings.orders_account
    if not name:
        return None
    codec, api = accounts[name]
    if not codec.carries_orders:
        text = f"The account {name} is at {codec.name}, whose calls are not those of OpenAlgo's REST."
        raise BrokerpoolError(text, code=ErrorCode.ORDERS_NOT_CARRIED)
    # The rest of the places is for orders, which are never many.
    most = max(1, settings.max_clients * 9 // 10)
    return OrderCarrier(api.client, codec.order_key, journal, most_queries=most)
