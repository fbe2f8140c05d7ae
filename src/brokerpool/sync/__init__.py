"""The blocking twins, for plain scripts and threads: each on an event loop in a thread of its own."""

from brokerpool.sync.api import BrokerApi
from brokerpool.sync.database import DatabasePool
from brokerpool.sync.feed import WebSocketPool
from brokerpool.sync.http import BrokerClient

__all__ = ["BrokerApi", "BrokerClient", "DatabasePool", "WebSocketPool"]
