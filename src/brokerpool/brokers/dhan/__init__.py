"""Dhan (DhanHQ v2): its feed, its wire format, its HTTP API and its instrument list."""

from brokerpool.brokers.dhan.account import DhanFeed
from brokerpool.brokers.dhan.codec import DhanWire
from brokerpool.brokers.dhan.instruments import fetch_instruments, load_instruments
from brokerpool.brokers.dhan.rest import DhanRest

__all__ = ["DhanFeed", "DhanRest", "DhanWire", "fetch_instruments", "load_instruments"]
