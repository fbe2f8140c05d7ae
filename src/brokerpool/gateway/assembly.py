"""A gateway put together: for each account its pool, its calls to the broker and its instrument list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.rest import RestCodec
from brokerpool.errors import BrokerError, BrokerpoolError, ErrorCode
from brokerpool.event_journal import Journal
from brokerpool.feed.gap_filler import Filler, Snapshots
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.router import Router
from brokerpool.feed.router_accounts import Route
from brokerpool.feed.upstream_interface import Upstream
from brokerpool.gateway.account_market_data import AccountApi, AccountApis
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.gateway_database import Persistence
from brokerpool.gateway.instrument_lists import InstrumentLists
from brokerpool.gateway.instrument_refresh import InstrumentRefresh
from brokerpool.gateway.orders.forwarding import ORDER_CONNECTIONS, OrderCarrier
from brokerpool.gateway.server import Gateway
from brokerpool.http.broker_api import BrokerApi
from brokerpool.http.ratelimit import RateLimits
from brokerpool.instruments import Instrument
from brokerpool.monitor import traces
from brokerpool.settings import AccountSettings, Settings
from brokerpool.ticks import Tick

#: A tick of the feed that is no older answers for the broker's quote.
_LIVE_SECONDS = 2.0


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
        _account(settings, account, feed, persistence)
        for account, feed in zip(settings.accounts(), feeds, strict=True)
    ]
    faults = unlisted or {}
    lists = {a.name: InstrumentRefresh(a.pool, a.feed, fault=faults.get(a.name)) for a in accounts}
    upstream = _upstream(accounts, settings.failover_seconds)
    apis = AccountApis(
        [AccountApi(account.name, account.api, account.lists) for account in accounts],
        upstream.account,
    )
    orders = order_carrier(settings, {a.name: (a.codec, a.api) for a in accounts}, upstream.journal)
    return Gateway(settings, upstream, apis, InstrumentLists(lists), persistence, certificate, orders)


class _Account(NamedTuple):
    """One account with all that it is used by."""

    name: str
    feed: FullAccount
    pool: WebSocketPool
    codec: RestCodec
    api: BrokerApi
    exchanges: frozenset[str]

    def lists(self, instrument: Instrument) -> bool:
        """Tell whether the account can be asked about the instrument."""
        served = not self.exchanges or instrument.exchange in self.exchanges
        return served and self.feed.book.token(instrument) is not None


def _upstream(accounts: Sequence[_Account], grace: float) -> Upstream:
    """Return what makes one feed of the accounts: of one account its pool."""
    if len(accounts) == 1:
        return accounts[0].pool
    return Router([Route(a.name, a.pool, a.exchanges) for a in accounts], grace=grace)


def _account(
    settings: Settings, account: AccountSettings, feed: FullAccount, persistence: Persistence | None
) -> _Account:
    trace = traces.tracer(account.name) if traces.INSTALLED else None

    def carried(call: str, status: int | None, seconds: float, attempts: int) -> None:
        if persistence is not None:
            persistence.note_call(call, status, seconds, attempts)
        if trace is not None:
            trace(call, status, seconds, attempts)

    def live(instrument: Instrument) -> Tick | None:
        return pool.fresh(instrument, _LIVE_SECONDS)

    async def snapshots(instruments: Sequence[Instrument]) -> Sequence[Tick]:
        return [quoted.tick for quoted in (await api.quotes(instruments)).values()]

    codec = feed.rest()
    api = BrokerApi(
        codec,
        live=live,
        name=account.name,
        pool_connections=settings.pool_connections,
        pool_maxsize=settings.pool_maxsize,
        order_connections=min(ORDER_CONNECTIONS, settings.pool_maxsize - 1) if account.orders else 0,
        max_retries=settings.max_retries,
        backoff_factor=settings.backoff_factor,
        timeout=settings.http_timeout,
        egress=settings.egress,
        carried=carried,
    )
    feed.ask = api.ask
    pool = WebSocketPool(
        feed,
        name=account.name,
        max_symbols=account.max_symbols_per_websocket,
        max_connections=account.max_websocket_connections,
        linger=settings.linger_seconds,
        placement=settings.placement,
        redundancy=settings.redundancy,
        grace=settings.failover_seconds,
        hours=settings.market_hours,
        filler=quote_filler(codec, snapshots),
        egress=settings.egress,
    )
    return _Account(account.name, feed, pool, codec, api, frozenset(account.exchanges))


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


def quote_filler(codec: RestCodec, snapshots: Snapshots) -> Filler:
    """Return a filler with half of the calls that the broker allows for quotes; clients have the rest."""
    share = RateLimits(codec.limits.windows, share=0.5, margin=0.0)
    calls = share.windows(codec.quotes(()).group)
    return Filler(snapshots, batch=codec.limits.batch["quote"], calls=calls)
