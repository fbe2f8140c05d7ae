"""Upstox (market data feed v3): its feed, its wire format, its HTTP API and its instrument list."""

from brokerpool.brokers.upstox.account import UpstoxFeed
from brokerpool.brokers.upstox.codec import UpstoxWire
from brokerpool.brokers.upstox.instruments import fetch_instruments, load_instruments
from brokerpool.brokers.upstox.rest import UpstoxRest

__all__ = ["UpstoxFeed", "UpstoxRest", "UpstoxWire", "fetch_instruments", "load_instruments"]
