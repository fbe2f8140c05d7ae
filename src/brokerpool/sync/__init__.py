"""The blocking twins, for plain scripts and threads: each on an event loop in a thread of its own."""

from typing import TYPE_CHECKING

from brokerpool.lazy_imports import attributes

if TYPE_CHECKING:
    from brokerpool.sync.broker_api import BrokerApi
    from brokerpool.sync.database import DatabasePool
    from brokerpool.sync.feed import WebSocketPool
    from brokerpool.sync.http import BrokerClient
    from brokerpool.sync.instruments import fetch_instruments

__all__ = ["BrokerApi", "BrokerClient", "DatabasePool", "WebSocketPool", "fetch_instruments"]

_HOMES = {
    "BrokerApi": "broker_api",
    "BrokerClient": "http",
    "DatabasePool": "database",
    "WebSocketPool": "feed",
    "fetch_instruments": "instruments",
}
if not TYPE_CHECKING:  # who checks types sees the imports above, and a wrong name
    __getattr__ = attributes(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
