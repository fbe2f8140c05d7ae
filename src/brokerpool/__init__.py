"""brokerpool keeps the connections between trading programs and their brokers."""

from typing import TYPE_CHECKING

from brokerpool.brokers.base import RateWindow
from brokerpool.brokers.login import Credentials, Login
from brokerpool.brokers.rest import Candle, Ohlc
from brokerpool.brokers.zerodha import ZerodhaFeed, ZerodhaRest, fetch_instruments
from brokerpool.egress import Egress
from brokerpool.errors import (
    BrokerError,
    BrokerpoolError,
    CallFailedError,
    CallRefusedError,
    DatabaseUnavailableError,
    ErrorCode,
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
from brokerpool.feed.filler import Filler
from brokerpool.feed.gaps import Gap
from brokerpool.feed.pool import WebSocketPool
from brokerpool.feed.refusals import Subscribed
from brokerpool.feed.states import ConnectionState, SymbolState
from brokerpool.feed.stream import PoolListener, TickStream
from brokerpool.hours import MarketHours
from brokerpool.http.api import BrokerApi, Quoted
from brokerpool.http.client import BrokerClient
from brokerpool.http.coalesce import Batcher
from brokerpool.http.ratelimit import RateLimits
from brokerpool.http.response import Response
from brokerpool.http.slots import Lane
from brokerpool.instruments import Instrument, TokenBook
from brokerpool.monitor.journal import Journal
from brokerpool.ticks import DepthLevel, DepthTick, Mode, QuoteTick, Tick

if TYPE_CHECKING:
    from brokerpool.db.pool import DatabasePool

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


def __getattr__(name: str) -> object:
    """Import the database pool when it is asked for: SQLAlchemy takes a third of a second."""
    if name == "DatabasePool":
        from brokerpool.db.pool import DatabasePool

        return DatabasePool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
