"""brokerpool keeps the connections between trading programs and their brokers."""

from typing import TYPE_CHECKING

from brokerpool.lazy_imports import attributes

if TYPE_CHECKING:
    from brokerpool import sync as sync
    from brokerpool.brokers.limits_file import RateWindow
    from brokerpool.brokers.login import Credentials, Login
    from brokerpool.brokers.rest import Candle, Ohlc
    from brokerpool.brokers.zerodha import ZerodhaFeed, ZerodhaRest, fetch_instruments
    from brokerpool.db.pool import DatabasePool
    from brokerpool.egress import Egress
    from brokerpool.error_codes import ErrorCode
    from brokerpool.errors import (
        BrokerError,
        BrokerpoolError,
        CallFailedError,
        CallRefusedError,
        DatabaseUnavailableError,
        NotLiveError,
        OutcomeUnknown,
        PoolClosedError,
        PoolExhaustedError,
        PoolForkedError,
        Refused,
        SettingsError,
        SubscriptionError,
        UnknownInstrumentError,
    )
    from brokerpool.event_journal import Journal
    from brokerpool.feed.gap_snapshots import Filler
    from brokerpool.feed.gaps import Gap
    from brokerpool.feed.lifecycle_states import ConnectionState, SymbolState
    from brokerpool.feed.listeners import PoolListener, TickStream
    from brokerpool.feed.pool import WebSocketPool
    from brokerpool.feed.refusals import Subscribed
    from brokerpool.feed.router import Router
    from brokerpool.feed.router_accounts import Route
    from brokerpool.http.broker_api import BrokerApi, Quoted
    from brokerpool.http.call_queue import Lane
    from brokerpool.http.client import BrokerClient
    from brokerpool.http.coalesce import Batcher
    from brokerpool.http.ratelimit import RateLimits
    from brokerpool.http.response import Response
    from brokerpool.instruments import Instrument, TokenBook
    from brokerpool.market_calendar import MarketHours
    from brokerpool.open_pools import get_pool_stats
    from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

    __version__: str

__all__ = [  # noqa: RUF022  (grouped by topic, not by the alphabet)
    # what flows
    "Instrument",
    "TokenBook",
    "Mode",
    "Tick",
    "QuoteTick",
    "DepthTick",
    "DepthLevel",
    # the WebSocket pool
    "WebSocketPool",
    "Subscribed",
    "PoolListener",
    "TickStream",
    "ConnectionState",
    "SymbolState",
    "Gap",
    "Filler",
    "RateWindow",
    "MarketHours",
    # several accounts
    "Router",
    "Route",
    # the numbers of all pools
    "get_pool_stats",
    # what happened
    "Journal",
    # the HTTP pool
    "BrokerClient",
    "BrokerApi",
    "Quoted",
    "Ohlc",
    "Candle",
    "Response",
    "Lane",
    "RateLimits",
    "Batcher",
    # the database pool
    "DatabasePool",
    # brokers
    "Credentials",
    "Egress",
    "Login",
    "ZerodhaFeed",
    "ZerodhaRest",
    "fetch_instruments",
    # errors
    "BrokerpoolError",
    "ErrorCode",
    "BrokerError",
    "CallFailedError",
    "CallRefusedError",
    "DatabaseUnavailableError",
    "NotLiveError",
    "OutcomeUnknown",
    "PoolClosedError",
    "PoolForkedError",
    "PoolExhaustedError",
    "Refused",
    "SettingsError",
    "SubscriptionError",
    "UnknownInstrumentError",
]

#: The names of each module. They are loaded when they are asked for: ticks alone do without the HTTP client
#: (aiohttp) and the database (SQLAlchemy).
_HOMES = {
    "brokers.limits_file": "RateWindow",
    "brokers.login": "Credentials Login",
    "brokers.rest": "Candle Ohlc",
    "brokers.zerodha": "ZerodhaFeed ZerodhaRest fetch_instruments",
    "db.pool": "DatabasePool",
    "egress": "Egress",
    "error_codes": "ErrorCode",
    "errors": (
        "BrokerError BrokerpoolError CallFailedError CallRefusedError "
        "DatabaseUnavailableError NotLiveError OutcomeUnknown PoolClosedError "
        "PoolExhaustedError PoolForkedError Refused SettingsError SubscriptionError "
        "UnknownInstrumentError"
    ),
    "event_journal": "Journal",
    "feed.gap_snapshots": "Filler",
    "feed.gaps": "Gap",
    "feed.listeners": "PoolListener TickStream",
    "feed.pool": "WebSocketPool",
    "feed.refusals": "Subscribed",
    "feed.router": "Router",
    "feed.router_accounts": "Route",
    "feed.lifecycle_states": "ConnectionState SymbolState",
    "http.broker_api": "BrokerApi Quoted",
    "http.call_queue": "Lane",
    "http.client": "BrokerClient",
    "http.coalesce": "Batcher",
    "http.ratelimit": "RateLimits",
    "http.response": "Response",
    "instruments": "Instrument TokenBook",
    "market_calendar": "MarketHours",
    "open_pools": "get_pool_stats",
    "ticks": "DepthLevel DepthTick Mode QuoteTick Tick",
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
_loaded = attributes(__name__, {"sync": "sync", **_HOME_OF})


if not TYPE_CHECKING:  # who checks types sees the imports above, and a wrong name

    def __getattr__(name: str) -> object:
        if name == "__version__":
            from importlib.metadata import version

            return version(__name__)
        return _loaded(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "sync", "__version__"})
