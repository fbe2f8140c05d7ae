"""One account with all that it is used by: its pool, its calls to the broker, and its instrument list."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized

from brokerpool.brokers.account import FullAccount
from brokerpool.brokers.rest import RestCodec
from brokerpool.feed.gap_snapshots import Filler, Snapshots
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.sending_permission import ALONE, Permission
from brokerpool.gateway.orders.forwarding import ORDER_CONNECTIONS
from brokerpool.http.broker_api import BrokerApi
from brokerpool.http.ratelimit import RateLimits
from brokerpool.instruments import Instrument
from brokerpool.settings import AccountSettings, Settings
from brokerpool.ticks import Tick

#: A tick of the feed that is no older answers for the broker's quote.
_LIVE_SECONDS = 2.0

#: Is told of each call to the broker: which, its status, its seconds, and how many attempts it took.
Carried = Callable[[str, int | None, float, int], None]


class _Pool(WebSocketPool):
    """A pool that tells when it is closed."""

    closing: Callable[[], object] = staticmethod(lambda: None)

    async def close(self) -> None:
        self.closing()
        await super().close()


class AccountServices:
    """An account's calls and its list, and its pool while this process has it open."""

    def __init__(
        self, settings: Settings, account: AccountSettings, feed: FullAccount, carried: Carried
    ) -> None:
        self.name = account.name
        self.feed = feed
        self.codec: RestCodec = feed.rest()
        self.exchanges = frozenset(account.exchanges)
        #: The pool that was opened last, closed or not; None before.
        self.pool: WebSocketPool | None = None
        #: That of the account's deeper order book, while it has one and this process has it open.
        self.deep_pool: WebSocketPool | None = None
        self._settings = settings
        self._account = account
        self.api = BrokerApi(
            self.codec,
            live=self._live,
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
        feed.ask = self.api.ask

    def open(
        self, permission: Permission = ALONE, closing: Callable[[], object] = lambda: None
    ) -> WebSocketPool:
        """Return a new pool, which dials and sends only as the permission says, and calls `closing` first."""
        settings, account = self._settings, self._account
        pool = _Pool(
            self.feed,
            name=account.name,
            max_symbols=account.max_symbols_per_websocket,
            max_connections=account.max_websocket_connections,
            linger=settings.linger_seconds,
            placement=settings.placement,
            redundancy=settings.redundancy,
            grace=settings.failover_seconds,
            hours=settings.market_hours,
            filler=quote_filler(self.codec, self._snapshots),
            egress=settings.egress,
            permission=permission,
        )
        pool.closing = closing
        self.pool = pool
        return pool

    def open_deep(self) -> WebSocketPool | None:
        """Return a new pool over the account's deeper order book, None where it has none.

        It has the connections that the broker allows for that, and dials none before a client wants a book.
        """
        settings, feed = self._settings, self.feed.deep_book
        if feed is None:
            return None
        self.deep_pool = WebSocketPool(
            feed,
            name=f"{self.name}-depth{feed.limits.depth_levels}",
            max_symbols=feed.limits.symbols_per_connection,
            max_connections=feed.limits.max_connections,
            linger=settings.linger_seconds,
            placement=settings.placement,
            grace=settings.failover_seconds,
            hours=settings.market_hours,
            egress=settings.egress,
        )
        return self.deep_pool

    def lists(self, instrument: Instrument) -> bool:
        """Tell whether the account can be asked about the instrument."""
        served = not self.exchanges or instrument.exchange in self.exchanges
        return served and self.feed.book.token(instrument) is not None

    @property
    def unlisted(self) -> Sized:
        """What is wanted of the pool and stands in the list no more."""
        return self.pool.unlisted if self.pool is not None else ()

    def relist(self) -> int:
        """Have the pool use the tokens of the feed's present list; see `Relisted`."""
        if self.deep_pool is not None:
            self.deep_pool.relist()
        return self.pool.relist() if self.pool is not None else 0

    def _live(self, instrument: Instrument) -> Tick | None:
        return self.pool.fresh(instrument, _LIVE_SECONDS) if self.pool is not None else None

    async def _snapshots(self, instruments: Sequence[Instrument]) -> Sequence[Tick]:
        return [quoted.tick for quoted in (await self.api.quotes(instruments)).values()]


def quote_filler(codec: RestCodec, snapshots: Snapshots) -> Filler:
    """Return a filler with half of the calls that the broker allows for quotes; clients have the rest."""
    share = RateLimits(codec.limits.windows, share=0.5, margin=0.0)
    calls = share.windows(codec.quotes(()).group)
    return Filler(snapshots, batch=codec.limits.batch["quote"], calls=calls)
