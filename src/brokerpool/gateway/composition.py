"""A gateway put together for one account: its pool, its calls to the broker and its instrument list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from brokerpool.brokers.base import RateWindow
from brokerpool.brokers.rest import RestCodec
from brokerpool.feed.filler import Filler
from brokerpool.feed.pool import WebSocketPool
from brokerpool.gateway.certificate import Certificate
from brokerpool.gateway.instrument_refresh import InstrumentRefresh, ListedFeed
from brokerpool.gateway.persistence import Persistence
from brokerpool.gateway.server import Gateway
from brokerpool.http.api import BrokerApi
from brokerpool.instruments import Instrument
from brokerpool.monitor import traces
from brokerpool.settings import Settings
from brokerpool.ticks import Tick

#: A tick of the feed that is no older answers for the broker's quote.
_LIVE_SECONDS = 2.0

#: Fillers may use half of the one call a second that Kite allows for quotes; clients have the rest.
_FILLS = (RateWindow(1, 2.0),)


class AccountFeed(ListedFeed, Protocol):
    """A feed whose account has an HTTP API as well."""

    def rest(self) -> RestCodec:
        """Return the HTTP API under the same login and instrument list."""
        ...


def compose(
    settings: Settings,
    feed: AccountFeed,
    persistence: Persistence | None = None,
    certificate: Certificate | None = None,
) -> Gateway:
    """Return a gateway for the feed's account, which is still to be started.

    `persistence` is the opened database side; without it only the settings' key is valid.
    """
    trace = traces.tracer(feed.name) if traces.INSTALLED else None

    def carried(call: str, status: int | None, seconds: float, attempts: int) -> None:
        if persistence is not None:
            persistence.note_call(call, status, seconds, attempts)
        if trace is not None:
            trace(call, status, seconds, attempts)

    def live(instrument: Instrument) -> Tick | None:
        return pool.fresh(instrument, _LIVE_SECONDS)

    async def snapshots(instruments: Sequence[Instrument]) -> Sequence[Tick]:
        return [quoted.tick for quoted in (await api.quotes(instruments)).values()]

    api = BrokerApi(
        feed.rest(),
        live=live,
        pool_connections=settings.pool_connections,
        pool_maxsize=settings.pool_maxsize,
        max_retries=settings.max_retries,
        backoff_factor=settings.backoff_factor,
        timeout=settings.http_timeout,
        egress=settings.egress,
        carried=carried,
    )
    pool = WebSocketPool(
        feed,
        max_symbols=settings.max_symbols_per_websocket,
        max_connections=settings.max_websocket_connections,
        linger=settings.linger_seconds,
        placement=settings.placement,
        redundancy=settings.redundancy,
        grace=settings.failover_seconds,
        hours=settings.market_hours,
        filler=Filler(snapshots, calls=_FILLS),
        egress=settings.egress,
    )
    return Gateway(settings, pool, api, InstrumentRefresh(pool, feed), persistence, certificate)
