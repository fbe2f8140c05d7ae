"""A gateway put together for one account: its pool, its calls to the broker and its instrument list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.rest import RestCodec
from brokerpool.errors import BrokerpoolError, ErrorCode, SettingsError
from brokerpool.event_journal import Journal
from brokerpool.feed.gap_filler import Filler, Snapshots
from brokerpool.feed.pool import WebSocketPool
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.instrument_refresh import InstrumentRefresh
from brokerpool.gateway.orders.carrier import ORDER_CONNECTIONS, OrderCarrier
from brokerpool.gateway.persistence import Persistence
from brokerpool.gateway.server import Gateway
from brokerpool.http.api import BrokerApi
from brokerpool.http.ratelimit import RateLimits
from brokerpool.instruments import Instrument
from brokerpool.monitor import traces
from brokerpool.settings import Settings
from brokerpool.ticks import Tick

#: A tick of the feed that is no older answers for the broker's quote.
_LIVE_SECONDS = 2.0


def compose(
    settings: Settings,
    account: FullAccount,
    persistence: Persistence | None = None,
    certificate: Certificate | None = None,
) -> Gateway:
    """Return a gateway for the account, which is still to be started.

    `persistence` is the opened database side; without it only the settings' key is valid.
    """
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

    codec = account.rest()
    carries = settings.orders_account == account.name
    api = BrokerApi(
        codec,
        live=live,
        pool_connections=settings.pool_connections,
        pool_maxsize=settings.pool_maxsize,
        order_connections=min(ORDER_CONNECTIONS, settings.pool_maxsize - 1) if carries else 0,
        max_retries=settings.max_retries,
        backoff_factor=settings.backoff_factor,
        timeout=settings.http_timeout,
        egress=settings.egress,
        carried=carried,
    )
    pool = WebSocketPool(
        account,
        max_symbols=settings.max_symbols_per_websocket,
        max_connections=settings.max_websocket_connections,
        linger=settings.linger_seconds,
        placement=settings.placement,
        redundancy=settings.redundancy,
        grace=settings.failover_seconds,
        hours=settings.market_hours,
        filler=quote_filler(codec, snapshots),
        egress=settings.egress,
    )
    orders = order_carrier(settings, {account.name: (codec, api)}, pool.journal)
    return Gateway(settings, pool, api, InstrumentRefresh(pool, account), persistence, certificate, orders)


def order_carrier(
    settings: Settings, accounts: Mapping[str, tuple[RestCodec, BrokerApi]], journal: Journal
) -> OrderCarrier | None:
    """Return what carries orders over the account that the settings name for it, None where they name none.

    Raises SettingsError for a name that no account has, BrokerpoolError (ORDERS_NOT_CARRIED) for an account
    whose broker has no REST of OpenAlgo's kind.
    """
    name = settings.orders_account
    if not name:
        return None
    if name not in accounts:
        known = ", ".join(accounts)
        raise SettingsError(f"BROKERPOOL_ORDERS_ACCOUNT names no account; there are {known}.")
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
