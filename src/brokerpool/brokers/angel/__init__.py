"""Angel One (SmartAPI): its feed SmartStream, its wire format, its HTTP API and its instrument list."""

from brokerpool.brokers.angel.account import AngelFeed
from brokerpool.brokers.angel.codec import SmartStreamWire
from brokerpool.brokers.angel.instruments import fetch_instruments, load_instruments
from brokerpool.brokers.angel.rest import AngelRest

__all__ = ["AngelFeed", "AngelRest", "SmartStreamWire", "fetch_instruments", "load_instruments"]
